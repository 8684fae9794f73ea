using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;

namespace Dmb.Client;

/// <summary>
/// A connection to DMB that comes back: it resumes its rooms, hands on each message once, and says what it missed.
/// Thread-safe.
/// </summary>
public sealed class DmbClient : IAsyncDisposable
{
    private static readonly TimeSpan Steady = TimeSpan.FromSeconds(10);

    private readonly DmbClientOptions _options;
    private readonly TimeProvider _time;
    private readonly ClientState _state;
    private readonly CancellationTokenSource _closed = new();
    private readonly Task _running;

    /// <summary>Makes a client, which connects at once.</summary>
    /// <param name="options">How, and as what.</param>
    /// <param name="time">The clock; null: the system's.</param>
    /// <exception cref="ArgumentException">The options name no node, or one by another URL than http(s).</exception>
    public DmbClient(DmbClientOptions options, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Urls.Count == 0)
        {
            throw new ArgumentException("The options name no node.", nameof(options));
        }

        if (options.Urls.FirstOrDefault(url => !IsNode(url)) is { } bad)
        {
            throw new ArgumentException($"'{bad}' is no URL such as http://localhost:8082.", nameof(options));
        }

        (_options, _time, _state) = (options, time ?? TimeProvider.System, new ClientState(options));
        _running = Task.Run(RunAsync);
    }

    private static bool IsNode(Uri url) =>
        url is { IsAbsoluteUri: true, Scheme: "http" or "https" or "ws" or "wss", Host.Length: > 0 };

    /// <summary>What it does now.</summary>
    public DmbState State => _state.State;

    /// <summary>Where each room stands, to go on from there in another client.</summary>
    public IReadOnlyDictionary<string, string> Positions => _state.Positions.Copy();

    /// <summary>Its identity, once it is a backend service.</summary>
    public string? Bkid => _state.Bkid;

    /// <summary>
    /// What it tells, in order, until it is closed. Each notice has one reader: of two, each gets a part.
    /// </summary>
    /// <exception cref="DmbException">The broker refused the client, which ended it.</exception>
    public IAsyncEnumerable<DmbNotice> ReadAllAsync(CancellationToken cancellationToken = default) =>
        _state.ReadAsync(cancellationToken);

    /// <summary>The messages alone: the rest of what it tells is left out.</summary>
    /// <exception cref="DmbException">The broker refused the client, which ended it.</exception>
    public async IAsyncEnumerable<DmbMessage> ReadMessagesAsync(
        [EnumeratorCancellation] CancellationToken cancellationToken = default
    )
    {
        await foreach (var notice in _state.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (notice is DmbMessage message)
            {
                yield return message;
            }
        }
    }

    /// <summary>Completes when it is connected and in its rooms.</summary>
    /// <exception cref="DmbException">It is closed.</exception>
    public Task ConnectedAsync(CancellationToken cancellationToken = default) =>
        _state.Connected.WaitAsync(cancellationToken);

    /// <summary>
    /// Sends an event once it is connected; gives the data of the ack. What timed out before is not sent.
    /// </summary>
    /// <exception cref="DmbException">It was refused, timed out, or the connection was lost before the ack.</exception>
    public Task<JsonElement> SendAsync(string @event, JsonNode? data, CancellationToken cancellationToken = default) =>
        RequestAsync(@event, writer => Write(writer, data), cancellationToken);

    /// <summary>The same, with an object of a type as data.</summary>
    /// <exception cref="DmbException">As above.</exception>
    public Task<JsonElement> SendAsync<T>(
        string @event,
        T data,
        JsonTypeInfo<T> type,
        CancellationToken cancellationToken = default
    ) => RequestAsync(@event, writer => JsonSerializer.Serialize(writer, data, type), cancellationToken);

    /// <summary>Joins rooms, now and after each reconnect.</summary>
    /// <exception cref="DmbException">One was refused.</exception>
    public Task JoinAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken = default)
    {
        _state.Want(rooms);
        return WithSessionAsync(
            async (session, ended) =>
            {
                await session.SubscribeAsync(rooms, ended).ConfigureAwait(false);
                return Json.Null;
            },
            cancellationToken
        );
    }

    /// <summary>Leaves rooms.</summary>
    public Task LeaveAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken = default)
    {
        foreach (var room in rooms)
        {
            _state.Forget(room);
        }

        return WithSessionAsync(
            async (session, ended) =>
            {
                await session.UnsubscribeAsync(rooms, ended).ConfigureAwait(false);
                return Json.Null;
            },
            cancellationToken
        );
    }

    /// <summary>Becomes a user of a backend service, now and after each reconnect.</summary>
    /// <exception cref="DmbException">It was refused.</exception>
    public Task EnterAsync(string service, string user, CancellationToken cancellationToken = default)
    {
        _state.Want(service, user);
        return WithSessionAsync(
            async (session, ended) =>
            {
                try
                {
                    await session.EnterAsync(service, user, ended).ConfigureAwait(false);
                    return Json.Null;
                }
                catch (DmbException e) when (!e.Retry)
                {
                    _state.Want(service, null);
                    throw;
                }
            },
            cancellationToken
        );
    }

    /// <summary>Leaves a backend service.</summary>
    public Task ExitAsync(string service, CancellationToken cancellationToken = default)
    {
        _state.Want(service, null);
        return WithSessionAsync(
            async (session, ended) =>
            {
                await session.ExitAsync(service, ended).ConfigureAwait(false);
                return Json.Null;
            },
            cancellationToken
        );
    }

    /// <summary>
    /// Says something to a backend service that was entered; which one is needed where there are several.
    /// </summary>
    public Task<JsonElement> SayAsync(
        JsonNode? data,
        string? service = null,
        CancellationToken cancellationToken = default
    ) => BackendAsync("dmb:message", data, "service", service, null, cancellationToken);

    /// <summary>As a backend: to all users. With the same id again it is delivered once.</summary>
    public Task<JsonElement> BroadcastAsync(
        JsonNode? data,
        string? id = null,
        CancellationToken cancellationToken = default
    ) => BackendAsync("dmb:broadcast", data, "user", null, id, cancellationToken);

    /// <summary>As a backend: to one user. With the same id again it is delivered once.</summary>
    public Task<JsonElement> DirectAsync(
        string user,
        JsonNode? data,
        string? id = null,
        CancellationToken cancellationToken = default
    ) => BackendAsync("dmb:direct", data, "user", user, id, cancellationToken);

    /// <summary>Ends it for good.</summary>
    public async ValueTask DisposeAsync()
    {
        await _closed.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task RunAsync()
    {
        try
        {
            await ComeBackAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _state.BeClosed(e.Message, new DmbException("internal", e.ToString()));
        }
    }

    private async Task ComeBackAsync()
    {
        var transport = _options.Transport ?? DmbTransport.WebSocket;
        for (var attempt = 0; ; )
        {
            var started = _time.GetTimestamp();
            _state.BeDisconnected(new DmbState(DmbConnectionState.Connecting, Transport: transport));
            using var session = NewSession(transport);
            await using var closing = _closed.Token.Register(() => session.End(new Ending("closed")));
            var ending = await session.RunAsync().ConfigureAwait(false);
            if (_closed.IsCancellationRequested || ending.Final is not null)
            {
                _state.BeClosed(ending.Why, _closed.IsCancellationRequested ? null : ending.Final);
                return;
            }

            if (ending.AtOnce)
            {
                continue;
            }

            // Where no socket ever opened, the way may be closed to them.
            var mayStream = _options.Transport is null && !_state.WasWelcomed && ending.After == TimeSpan.Zero;
            if (mayStream && transport == DmbTransport.WebSocket)
            {
                transport = DmbTransport.ServerSentEvents;
                continue;
            }

            // Full jitter: the clients of a node that went away must not come back in the same moment.
            var wasSteady = State.State == DmbConnectionState.Connected && _time.GetElapsedTime(started) > Steady;
            attempt = wasSteady ? 0 : attempt + 1;
            var most = Math.Min(_options.BackoffMax.TotalSeconds, _options.Backoff.TotalSeconds * Math.Pow(2, attempt));
            var wait = ending.After + TimeSpan.FromSeconds(Random.Shared.NextDouble() * most);
            _state.BeDisconnected(new DmbState(DmbConnectionState.Waiting, ending.Why, wait, transport));
            transport = _options.Transport ?? DmbTransport.WebSocket;
            try
            {
                await Task.Delay(wait, _time, _closed.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                _state.BeClosed("closed", null);
                return;
            }
        }
    }

    private Session NewSession(DmbTransport transport)
    {
        var node = _options.Urls[Random.Shared.Next(_options.Urls.Count)];
        return transport == DmbTransport.WebSocket
            ? new SocketSession(_options, _state, _time, node)
            : new StreamSession(_options, _state, _time, node);
    }

    private Task<JsonElement> RequestAsync(
        string @event,
        Action<Utf8JsonWriter> data,
        CancellationToken cancellationToken
    ) => WithSessionAsync((session, ended) => session.RequestAsync(@event, data, ended), cancellationToken);

    private async Task<JsonElement> WithSessionAsync(
        Func<Session, CancellationToken, Task<JsonElement>> act,
        CancellationToken cancellationToken
    )
    {
        using var late = new CancellationTokenSource(_options.Timeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        try
        {
            var session = await _state.Connected.WaitAsync(either.Token).ConfigureAwait(false);
            return await act(session, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
            when (late.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new DmbException("timeout", "No answer in time.", retry: true);
        }
    }

    private Task<JsonElement> BackendAsync(
        string @event,
        JsonNode? data,
        string name,
        string? value,
        string? id,
        CancellationToken cancellationToken
    ) =>
        RequestAsync(
            @event,
            writer =>
            {
                writer.WriteStartObject();
                if (id is not null)
                {
                    writer.WriteString("id"u8, id);
                }

                if (value is not null)
                {
                    writer.WriteString(name, value);
                }

                writer.WritePropertyName("data"u8);
                Write(writer, data);
                writer.WriteEndObject();
            },
            cancellationToken
        );

    private static void Write(Utf8JsonWriter writer, JsonNode? data)
    {
        if (data is null)
        {
            writer.WriteNullValue();
        }
        else
        {
            data.WriteTo(writer);
        }
    }
}
