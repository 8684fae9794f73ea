using System.Net.Sockets;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The two connections to Redis: the uplink for commands and publishes, the downlink for what comes down. They are made
/// together and given up together at the first sign of trouble, since the client library neither notices a hung peer nor
/// keeps its subscriptions for sure.
/// </summary>
internal sealed class RedisLink : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(6);

    private readonly ConnectionMultiplexer _uplink;
    private readonly ConnectionMultiplexer _downlink;
    private readonly long _downlinkSockets;
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _gone = new();

    private RedisLink(ConnectionMultiplexer uplink, ConnectionMultiplexer downlink)
    {
        (_uplink, _downlink) = (uplink, downlink);
        Commands = uplink.GetDatabase();
        Downlink = downlink.GetSubscriber();
        _downlinkSockets = downlink.GetCounters().Subscription.SocketCount;
        Watch(uplink, "uplink");
        Watch(downlink, "downlink");
    }

    /// <summary>Commands and publishes. None of them is awaited without a timeout.</summary>
    public IDatabase Commands { get; }

    /// <summary>Subscriptions, and nothing else.</summary>
    public ISubscriber Downlink { get; }

    /// <summary>Takes what comes on a room's channel of this link. Made once, so that it can be unsubscribed.</summary>
    public Action<RedisChannel, RedisValue> OnMessage { get; set; } = (_, _) => { };

    /// <summary>
    /// Whether what came down by now came without a gap. The library reconnects by itself, and may say so only after it
    /// brought what came then.
    /// </summary>
    public bool IsWhole => !_lost.Task.IsCompleted && _downlink.GetCounters().Subscription.SocketCount == _downlinkSockets;

    /// <summary>Completes with the reason when one of the connections is in trouble.</summary>
    public Task<string> Lost => _lost.Task;

    /// <summary>Cancelled then: what was sent and not answered fails at once, which the library doesn't see to.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>Says that the link is no good.</summary>
    public void Lose(string why)
    {
        if (_lost.TrySetResult(why))
        {
            _gone.CancelAsync();
        }
    }

    /// <summary>Connects both, and has an answer of each.</summary>
    /// <exception cref="RedisConnectionException">Redis can't be reached, or doesn't let us in.</exception>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    /// <exception cref="TimeoutException">It was reached, and doesn't answer.</exception>
    public static async Task<RedisLink> ConnectAsync(ConfigurationOptions options, CancellationToken cancellationToken)
    {
        using (var socket = new Socket(SocketType.Stream, ProtocolType.Tcp))
        {
            // The library takes five seconds to find out that nobody listens.
            await socket.ConnectAsync(options.EndPoints[0], cancellationToken).AsTask().WaitAsync(Patience, TimeProvider.System, cancellationToken);
        }

        var connecting = new[] { ConnectionMultiplexer.ConnectAsync(options), ConnectionMultiplexer.ConnectAsync(options) };
        try
        {
            var both = await Task.WhenAll(connecting).WaitAsync(Patience, TimeProvider.System, cancellationToken);
            var link = new RedisLink(both[0], both[1]);
            await link.Commands.PingAsync().WaitAsync(Patience, TimeProvider.System, cancellationToken);
            return link;
        }
        catch
        {
            foreach (var connection in connecting)
            {
                _ = DisposeAsync(connection);
            }

            throw;
        }
    }

    /// <summary>Redis's clock, in ms since 1970.</summary>
    public async Task<long> TimeAsync()
    {
        var now = (RedisResult[])(await Commands.ExecuteAsync("TIME"))!;
        return ((long)now[0] * 1_000) + ((long)now[1] / 1_000);
    }

    /// <summary>Gives both up, elsewhere: the library waits for a hung peer.</summary>
    public void Dispose()
    {
        _ = DisposeAsync(Task.FromResult(_uplink));
        _ = DisposeAsync(Task.FromResult(_downlink));
    }

    private static async Task DisposeAsync(Task<ConnectionMultiplexer> connecting)
    {
        await Task.WhenAny(connecting).ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (connecting.IsCompletedSuccessfully)
        {
            await connecting.Result.CloseAsync(allowCommandsToComplete: false).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            connecting.Result.Dispose();
        }
    }

    private void Watch(ConnectionMultiplexer connection, string name)
    {
        connection.ConnectionFailed += (_, e) => Lose($"the {name} failed: {e.FailureType}");
        connection.InternalError += (_, e) => Lose($"the {name} had an error: {e.Exception?.Message}");
    }
}
