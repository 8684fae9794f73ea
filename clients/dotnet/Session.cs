using System.Text.Json;

namespace Dmb.Client;

/// <summary>
/// The life of one connection to a node: opens it, joins what the client wants, and hands on what comes.
/// </summary>
internal abstract class Session : IDisposable
{
    protected static readonly TimeSpan AfterMax = TimeSpan.FromMinutes(5);

    private readonly CancellationTokenSource _ended = new();
    private readonly Lock _lock = new();
    private JsonElement? _bye;

    protected Session(DmbClientOptions options, ClientState state, TimeProvider time, Uri node)
    {
        (Options, State, Time, Node, Ended) = (options, state, time, node, _ended.Token);
        Http = new NodeHttp(node, options, state);
        Watchdog = new Watchdog(time, Ask, () => End(new Ending("silent")));
        Uplink = options.Backend is null ? null : new UplinkReader(Http, state, time, Ended);
    }

    /// <summary>The way that it takes.</summary>
    public abstract DmbTransport Transport { get; }

    /// <summary>Cancelled when it ends.</summary>
    protected CancellationToken Ended { get; }

    protected DmbClientOptions Options { get; }

    protected ClientState State { get; }

    protected TimeProvider Time { get; }

    protected Uri Node { get; }

    protected NodeHttp Http { get; }

    protected Watchdog Watchdog { get; }

    protected UplinkReader? Uplink { get; }

    /// <summary>Why this side ended it; null: it did not.</summary>
    private Ending? Ending { get; set; }

    /// <summary>Runs until the connection ends.</summary>
    public async Task<Ending> RunAsync()
    {
        try
        {
            await using var opening = Time.CreateTimer(
                _ => End(new Ending("no welcome")),
                null,
                Options.Timeout,
                Timeout.InfiniteTimeSpan
            );
            return await GetTokenAsync().ConfigureAwait(false)
                ? await ReadAsync(opening).ConfigureAwait(false)
                : Ending!;
        }
        catch (Exception e)
            when (e
                    is System.Net.WebSockets.WebSocketException
                        or HttpRequestException
                        or OperationCanceledException
                        or IOException
                        or ObjectDisposedException
                        or InvalidOperationException
            )
        {
            return Ending ?? WithBye(e.InnerException?.Message ?? e.Message);
        }
        finally
        {
            await CloseAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Ends it from this side; the first reason counts.</summary>
    public void End(Ending ending)
    {
        lock (_lock)
        {
            Ending ??= ending;
        }

        try
        {
            _ended.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It is over.
        }
    }

    /// <summary>Sends an event; gives the data of its ack.</summary>
    /// <param name="event">Its name.</param>
    /// <param name="data">Writes its data.</param>
    /// <param name="cancellationToken">Ends the waiting; what was sent is not taken back.</param>
    /// <exception cref="DmbException">It was refused, or the connection was lost.</exception>
    public abstract Task<JsonElement> RequestAsync(
        string @event,
        Action<Utf8JsonWriter> data,
        CancellationToken cancellationToken
    );

    /// <summary>
    /// Joins rooms, resuming those that are known; one that is refused does not keep the others away.
    /// </summary>
    public abstract Task SubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken);

    /// <summary>Leaves rooms.</summary>
    public abstract Task UnsubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken);

    /// <summary>Becomes a user of a backend service.</summary>
    public abstract Task EnterAsync(string service, string user, CancellationToken cancellationToken);

    /// <summary>Leaves a backend service.</summary>
    public abstract Task ExitAsync(string service, CancellationToken cancellationToken);

    public void Dispose()
    {
        Watchdog.Dispose();
        Http.Dispose();
        _ended.Dispose();
    }

    /// <summary>Opens the connection and hands on what comes until it ends.</summary>
    /// <param name="opening">Ends it when it is not open in time.</param>
    protected abstract Task<Ending> ReadAsync(ITimer opening);

    /// <summary>Asks for an answer, by which the connection shows that it is alive.</summary>
    protected abstract void Ask();

    /// <summary>Lets go of the connection.</summary>
    protected virtual Task CloseAsync() => _ended.CancelAsync();

    /// <summary>Handles what the broker itself says, and tells it.</summary>
    protected virtual void Receive(string @event, JsonElement data)
    {
        switch (@event)
        {
            case "bye":
                _bye = data;
                break;
            case "gap":
                State.Tell(new DmbGap(data.Text("room"), data.Number("lost"), data.Text("why")));
                return;
            default:
                break;
        }

        State.Tell(new DmbBrokerEvent(@event, data));
    }

    /// <summary>Tells of a message that cannot be read, which changes nothing: the connection goes on.</summary>
    protected void TellUnreadable(Exception error) =>
        State.Tell(new DmbFailure(new DmbException("bad_frame", error.Message)));

    /// <summary>How it ended: lost, unless its <c>bye</c> says that it is not to come back.</summary>
    protected Ending WithBye(string why)
    {
        var isFinal = _bye?.Member("reconnect") is { ValueKind: JsonValueKind.False };
        var after = TimeSpan.FromMilliseconds(
            Math.Clamp(_bye?.Number("after_ms") ?? 0, 0, (long)AfterMax.TotalMilliseconds)
        );
        return new Ending(why, isFinal ? new DmbException("closed", why) : null, after);
    }

    /// <summary>How it ended, with a code of RFC 6455 or docs/protocol.md §4.</summary>
    protected Ending Closed(int code, string reason)
    {
        var why = reason.Length > 0 ? $"closed {code}, {reason}" : $"closed {code}";
        return _bye is null && code is >= 4000 and < 4100
            ? new Ending(why, new DmbException("closed", why))
            : WithBye(why);
    }

    /// <summary>How it ended, refused: for good, unless the same or another token may pass later.</summary>
    protected Ending Refused(DmbException error, TimeSpan after = default)
    {
        var mayPass = error.Retry || (error.Code == "token_expired" && Options.Token is not null);
        return new Ending(error.Message, mayPass ? null : error, after);
    }

    private async Task<bool> GetTokenAsync()
    {
        try
        {
            State.Credential = Options.Token is { } token
                ? await token(Ended).AsTask().WaitAsync(Ended).ConfigureAwait(false)
                : Options.Key;
            return true;
        }
        catch (Exception e)
        {
            End(new Ending($"no token: {e.Message}"));
            return false;
        }
    }
}

/// <summary>How a connection ended.</summary>
/// <param name="Why">For people.</param>
/// <param name="Final">What ends the client with it; null: it comes back.</param>
/// <param name="After">What the broker asks to wait for.</param>
/// <param name="AtOnce">Whether it comes back the same way without waiting.</param>
internal sealed record Ending(string Why, DmbException? Final = null, TimeSpan After = default, bool AtOnce = false);
