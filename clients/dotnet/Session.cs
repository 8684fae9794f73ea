using System.Text.Json;

namespace Dmb.Client;

/// <summary>
/// The life of one connection: opens it, signs in, joins what the client wants, and hands on what comes.
/// </summary>
internal sealed class Session : IDisposable
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RenewBefore = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan AfterMax = TimeSpan.FromMinutes(5);

    private readonly DmbClientOptions _options;
    private readonly ClientState _state;
    private readonly TimeProvider _time;
    private readonly Connection _connection = new();
    private readonly Watchdog _watchdog;
    private readonly UplinkReader? _uplink;
    private JsonElement? _bye;
    private int _roomsPerSubscribe = 100;
    private Task _entering = Task.CompletedTask;

    public Session(DmbClientOptions options, ClientState state, TimeProvider time, Uri node)
    {
        (_options, _state, _time, Node) = (options, state, time, node);
        _watchdog = new Watchdog(time, Ask, () => _connection.End(new Ending("silent")));
        _uplink = options.Backend is null ? null : new UplinkReader(node, state, time, _connection.Ended);
    }

    /// <summary>The node.</summary>
    public Uri Node { get; }

    /// <summary>Whether it is in its rooms.</summary>
    public bool IsReady { get; private set; }

    public Connection Connection => _connection;

    /// <summary>Runs until the connection ends.</summary>
    public async Task<Ending> RunAsync()
    {
        try
        {
            using var opening = _time.CreateTimer(
                _ => _connection.End(new Ending("no welcome")),
                null,
                _options.Timeout,
                Timeout.InfiniteTimeSpan
            );
            if (!await GetTokenAsync().ConfigureAwait(false))
            {
                return _connection.Ending!;
            }

            await _connection.OpenAsync(Node, _options.ConfigureSocket).ConfigureAwait(false);
            while (true)
            {
                var (text, code, reason) = await _connection.ReceiveAsync().ConfigureAwait(false);
                if (text is not { } bytes)
                {
                    return Closed(code, reason);
                }

                if (_entering.IsCompleted && !IsReady)
                {
                    opening.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                }

                Take(bytes.Span);
            }
        }
        catch (Exception e)
            when (e
                    is System.Net.WebSockets.WebSocketException
                        or OperationCanceledException
                        or IOException
                        or ObjectDisposedException
                        or InvalidOperationException
            )
        {
            return _connection.Ending ?? WithBye(e.InnerException?.Message ?? e.Message);
        }
        finally
        {
            IsReady = false;
            await _connection.CloseAsync().ConfigureAwait(false);
            _connection.Dispose();
            await _entering.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Dispose()
    {
        _watchdog.Dispose();
        _uplink?.Dispose();
        _connection.Dispose();
    }

    /// <summary>Joins rooms, resuming those that are known; one that is refused doesn't keep the others away.</summary>
    public async Task SubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken)
    {
        List<DmbException> refused = [];
        foreach (var some in rooms.Chunk(_roomsPerSubscribe))
        {
            try
            {
                await UntilAsync(
                        "subscribe",
                        writer => WriteRooms(writer, some),
                        _state.Positions.Join,
                        cancellationToken
                    )
                    .ConfigureAwait(false);
            }
            catch (DmbException e) when (!e.Retry)
            {
                if (some.Length == 1)
                {
                    _state.Forget(some[0]);
                    refused.Add(e);
                    continue;
                }

                // An array is joined whole or not at all: each room alone says which one it was.
                foreach (var room in some)
                {
                    try
                    {
                        await SubscribeAsync([room], cancellationToken).ConfigureAwait(false);
                    }
                    catch (DmbException one) when (!one.Retry)
                    {
                        refused.Add(one);
                    }
                }
            }
        }

        if (refused.Count > 0)
        {
            throw refused[0];
        }
    }

    /// <summary>Becomes a user of a backend service.</summary>
    public Task ServeAsync(string service, string user, CancellationToken cancellationToken) =>
        UntilAsync(
            "dmb:connect",
            writer => WriteService(writer, service, user),
            _state.Positions.Join,
            cancellationToken
        );

    private void Ask() =>
        _connection
            .RequestAsync("dmb:ping", null, null, _connection.Ended)
            .ContinueWith(asked => asked.Exception, TaskScheduler.Default);

    private async Task<bool> GetTokenAsync()
    {
        try
        {
            _state.Credential = _options.Token is { } token
                ? await token(_connection.Ended).AsTask().WaitAsync(_connection.Ended).ConfigureAwait(false)
                : _options.Key;
            return true;
        }
        catch (Exception e)
        {
            _connection.End(new Ending($"no token: {e.Message}"));
            return false;
        }
    }

    // What can't be read changes nothing: it is told, and the connection goes on.
    private void Take(ReadOnlySpan<byte> text)
    {
        _watchdog.Heard();
        try
        {
            var frame = Frame.Read(text);
            if (frame.Ack is not null)
            {
                _connection.Answer(frame);
            }
            else
            {
                Receive(frame);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            _state.Tell(new DmbFailure(new DmbException("bad_frame", e.Message)));
        }
    }

    private void Receive(Frame frame)
    {
        if (frame.Event == "dmb:uplink")
        {
            _uplink?.Signal();
        }
        else if (frame.Id is null)
        {
            ReceiveEvent(frame.Event!, Json.Element(frame.Data));
        }
        else if (_state.Positions.Take(frame))
        {
            _state.Tell(new DmbMessage(frame.Event!, frame.Data, frame.Id, frame.Room, frame.Position));
        }
    }

    private void ReceiveEvent(string @event, JsonElement data)
    {
        switch (@event)
        {
            case "welcome":
                Welcome(data);
                break;
            case "bye":
                _bye = data;
                break;
            case "gap":
                _state.Tell(new DmbGap(data.Text("room"), data.Number("lost"), data.Text("why")));
                return;
            default:
                break;
        }

        _state.Tell(new DmbBrokerEvent(@event, data));
    }

    private void Welcome(JsonElement welcome)
    {
        var limits = welcome.Member("limits") ?? Json.Null;
        var ping = TimeSpan.FromSeconds(Math.Clamp(limits.Number("ping_s") ?? 25, 1, 600));
        var silent = TimeSpan.FromSeconds(Math.Clamp(limits.Number("silent_s") ?? 45, 1, 1200));
        _roomsPerSubscribe = (int)Math.Clamp(limits.Number("rooms_per_subscribe") ?? 100, 1, 10_000);
        _watchdog.Start(ping, silent > ping * 1.2 ? silent : ping * 1.2);
        if (_entering.IsCompleted)
        {
            _entering = Task.Run(EnterAsync);
        }
    }

    private async Task EnterAsync()
    {
        try
        {
            if (_state.Credential is { Length: > 0 } credential)
            {
                await SignInAsync(credential).ConfigureAwait(false);
            }

            List<DmbException> refused = [];
            var (rooms, services) = _state.Wanted();
            if (_options.Backend is { } backend)
            {
                await TryAsync(RegisterAsync(backend), refused).ConfigureAwait(false);
            }

            foreach (var (service, user) in services)
            {
                await TryAsync(ServeAsync(service, user, _connection.Ended), refused).ConfigureAwait(false);
            }

            await TryAsync(SubscribeAsync(rooms, _connection.Ended), refused).ConfigureAwait(false);
            IsReady = true;
            _state.BeConnected(this);
            refused.ForEach(error => _state.Tell(new DmbFailure(error)));
            _uplink?.Signal();
        }
        catch (DmbException e)
        {
            var mayPass = e.Retry || (e.Code == "token_expired" && _options.Token is not null);
            _connection.End(new Ending(e.Message, mayPass ? null : e));
        }
        catch (OperationCanceledException)
        {
            // The connection ended.
        }
    }

    private static async Task TryAsync(Task step, List<DmbException> refused)
    {
        try
        {
            await step.ConfigureAwait(false);
        }
        catch (DmbException e) when (!e.Retry)
        {
            refused.Add(e);
        }
    }

    private Task RegisterAsync(DmbBackend backend) =>
        UntilAsync(
            "dmb:reconnect",
            writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("name"u8, backend.Name);
                writer.WriteString("bkid"u8, _state.Bkid);
                writer.WriteEndObject();
            },
            data => _state.Bkid = data.Text("bkid"),
            _connection.Ended
        );

    private async Task SignInAsync(string credential)
    {
        var answer = await _connection
            .RequestAsync("auth", writer => Write(writer, "token"u8, credential), null, _connection.Ended)
            .ConfigureAwait(false);
        _state.Credential = credential;
        if (_options.Token is not null && DateTimeOffset.TryParse(answer.Text("expires"), out var expires))
        {
            // A token that was accepted has time left: if it has none by this clock, the clock is wrong.
            var left = expires - _time.GetUtcNow();
            _ = RenewAsync(
                left > 2 * RenewBefore ? left - RenewBefore
                : left > TimeSpan.Zero ? left / 2
                : RenewBefore
            );
        }
    }

    private async Task RenewAsync(TimeSpan after)
    {
        var most = TimeSpan.FromMilliseconds(uint.MaxValue - 1);
        try
        {
            for (var wait = Task.Delay(after < most ? after : most, _time, _connection.Ended); ; )
            {
                await wait.ConfigureAwait(false);
                try
                {
                    await SignInAsync(await _options.Token!(_connection.Ended).ConfigureAwait(false))
                        .ConfigureAwait(false);
                    return;
                }
                catch (Exception e) when (!_connection.Ended.IsCancellationRequested)
                {
                    wait = Task.Delay(RenewBefore, _time, _connection.Ended);
                    _state.Tell(new DmbFailure(e as DmbException ?? new DmbException("internal", e.Message)));
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or DmbException or ObjectDisposedException)
        {
            // The connection ended.
        }
    }

    /// <summary>Asks again what may pass later: while Redis is away it is unknown what was missed.</summary>
    private async Task UntilAsync(
        string @event,
        Action<Utf8JsonWriter> data,
        Action<JsonElement> apply,
        CancellationToken cancellationToken
    )
    {
        while (true)
        {
            try
            {
                await _connection.RequestAsync(@event, data, apply, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (DmbException e) when (e.Retry && e.Code != "connection_lost")
            {
                await Task.Delay(RetryAfter * (1 + Random.Shared.NextDouble()), _time, cancellationToken)
                    .ConfigureAwait(false);
            }
        }
    }

    private void WriteRooms(Utf8JsonWriter writer, string[] rooms)
    {
        writer.WriteStartArray();
        foreach (var room in rooms)
        {
            writer.WriteStartObject();
            writer.WriteString("room"u8, room);
            if (_state.Positions.Of(room) is { } since)
            {
                writer.WriteString("since"u8, since);
            }

            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private void WriteService(Utf8JsonWriter writer, string service, string user)
    {
        writer.WriteStartObject();
        writer.WriteString("service"u8, service);
        writer.WriteString("user"u8, user);
        writer.WriteStartObject("since"u8);
        foreach (var room in (string[])[$"users {service}", $"user {service} {user}"])
        {
            if (_state.Positions.Of(room) is { } since)
            {
                writer.WriteString(room, since);
            }
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    internal static void Write(Utf8JsonWriter writer, ReadOnlySpan<byte> name, string value)
    {
        writer.WriteStartObject();
        writer.WriteString(name, value);
        writer.WriteEndObject();
    }

    private Ending Closed(int code, string reason)
    {
        var why = reason.Length > 0 ? $"closed {code}, {reason}" : $"closed {code}";
        return _bye is null && code is >= 4000 and < 4100
            ? new Ending(why, new DmbException("closed", why))
            : WithBye(why);
    }

    private Ending WithBye(string why)
    {
        var isFinal = _bye?.Member("reconnect") is { ValueKind: JsonValueKind.False };
        var after = TimeSpan.FromMilliseconds(
            Math.Clamp(_bye?.Number("after_ms") ?? 0, 0, (long)AfterMax.TotalMilliseconds)
        );
        return new Ending(why, isFinal ? new DmbException("closed", why) : null, after);
    }
}
