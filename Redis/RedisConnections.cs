using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The connections to a server of Redis: the client library's for commands, one for scripts
/// (<see cref="RedisPipeline"/>), and one for subscriptions (<see cref="RedisSubscriber"/>), which a publishing node
/// omits. All are opened and closed together, at the first failure; only the probes of <see cref="RedisSupervisor"/>
/// detect a hung peer. All groups on the server use them, each by a <see cref="RedisLink"/>.
/// </summary>
internal sealed class RedisConnections : IDisposable
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(6);

    private readonly ConnectionMultiplexer _commands;
    private readonly CancellationTokenSource _gone = new();
    private string? _why;

    private RedisConnections(ConnectionMultiplexer commands, Stream scripts, Stream? subscriptions)
    {
        (_commands, Database) = (commands, commands.GetDatabase());
        commands.ConnectionFailed += (_, e) => Lose($"the connection for commands failed: {e.FailureType}");
        commands.InternalError += (_, e) => Lose($"the connection for commands had an error: {e.Exception?.Message}");
        Scripts = new RedisPipeline(scripts, Database.Database, why =>
            Lose($"the connection for scripts failed: {why}")
        );
        if (subscriptions is not null)
        {
            Subscriber = new RedisSubscriber(subscriptions, why =>
                Lose($"the connection for subscriptions was cut: {why}")
            );
        }
    }

    /// <summary>Runs commands.</summary>
    public IDatabase Database { get; }

    /// <summary>Runs scripts.</summary>
    public RedisPipeline Scripts { get; }

    /// <summary>The connection for subscriptions; null on a publishing node.</summary>
    public RedisSubscriber? Subscriber { get; }

    /// <summary>The reason why they were lost; null while they are not.</summary>
    public string? Why => Volatile.Read(ref _why);

    /// <summary>Canceled when one of the connections fails.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>Opens the connections, and awaits a reply on each.</summary>
    /// <param name="redis">The server's endpoint.</param>
    /// <param name="isSubscribing">Whether to open the connection for subscriptions.</param>
    /// <param name="cancellationToken">Cancels connecting.</param>
    /// <exception cref="RedisUnavailableException">
    /// Redis is unreachable, does not answer, or denies access.
    /// </exception>
    public static async Task<RedisConnections> ConnectAsync(
        RedisEndpoint redis,
        bool isSubscribing,
        CancellationToken cancellationToken
    )
    {
        Stream? scripts = null;
        Stream? subscriptions = null;
        Task<ConnectionMultiplexer>? connecting = null;
        try
        {
            var password = redis.ReadPassword();
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(ConnectTimeout);
            (scripts, var address) = await RedisGreeting.AskAsync(redis, password, patience.Token);
            if (isSubscribing)
            {
                (subscriptions, _) = await RedisGreeting.AskAsync(redis, password, patience.Token);
            }

            connecting = ConnectionMultiplexer.ConnectAsync(redis.ToOptions(address, password));
            var commands = await connecting.WaitAsync(ConnectTimeout, TimeProvider.System, cancellationToken);
            return new RedisConnections(commands, scripts, subscriptions);
        }
        catch (Exception e)
        {
            if (connecting is not null)
            {
                _ = DisposeAsync(connecting);
            }

            foreach (var stream in (Stream?[])[scripts, subscriptions])
            {
                await (stream?.DisposeAsync() ?? default);
            }

            throw new RedisUnavailableException(RedisReason.Of(e), e);
        }
    }

    /// <summary>Loses the links of all groups.</summary>
    public void Lose(string why)
    {
        if (Interlocked.CompareExchange(ref _why, why, null) is null)
        {
            _gone.Cancel();
        }
    }

    /// <summary>Disposes all on the thread pool, since the library waits for a hung peer.</summary>
    public void Dispose()
    {
        Lose("it is not used any more");
        _ = DisposeAsync(Task.FromResult(_commands));
        _ = Scripts.DisposeAsync().AsTask();
        _ = Subscriber?.DisposeAsync().AsTask();
    }

    private static async Task DisposeAsync(Task<ConnectionMultiplexer> connecting)
    {
        await Task.WhenAny(connecting).ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (connecting.IsCompletedSuccessfully)
        {
            await connecting
                .Result.CloseAsync(allowCommandsToComplete: false)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            connecting.Result.Dispose();
        }
    }
}
