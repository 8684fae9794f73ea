using System.Text.Json;

namespace Dmb.Client;

/// <summary>A session over a WebSocket (docs/protocol.md §4).</summary>
internal sealed class SocketSession : Session
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RenewBefore = TimeSpan.FromSeconds(30);

    private readonly Connection _connection;
    private bool _isReady;
    private Frame _last;
    private int _roomsPerSubscribe = 100;
    private Task _entering = Task.CompletedTask;

    public SocketSession(DmbClientOptions options, ClientState state, TimeProvider time, Uri node)
        : base(options, state, time, node) => _connection = new Connection(Ended);

    public override DmbTransport Transport => DmbTransport.WebSocket;

    public override Task<JsonElement> RequestAsync(
        string @event,
        Action<Utf8JsonWriter> data,
        CancellationToken cancellationToken
    ) => _connection.RequestAsync(@event, data, null, cancellationToken);

    public override async Task SubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken)
    {
        List<DmbException> refused = [];
        foreach (var some in rooms.Chunk(_roomsPerSubscribe))
        {
            try
            {
                await UntilAsync(
                        "subscribe",
                        writer => WriteRooms(writer, some),
                        State.Positions.Join,
                        cancellationToken
                    )
                    .ConfigureAwait(false);
            }
            catch (DmbException e) when (!e.Retry)
            {
                if (some.Length == 1)
                {
                    State.Forget(some[0]);
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

    public override Task UnsubscribeAsync(IReadOnlyList<string> rooms, CancellationToken cancellationToken) =>
        RequestAsync(
            "unsubscribe",
            writer =>
            {
                writer.WriteStartArray();
                foreach (var room in rooms)
                {
                    writer.WriteStringValue(room);
                }

                writer.WriteEndArray();
            },
            cancellationToken
        );

    public override Task EnterAsync(string service, string user, CancellationToken cancellationToken) =>
        UntilAsync(
            "dmb:connect",
            writer => WriteService(writer, service, user),
            State.Positions.Join,
            cancellationToken
        );

    public override Task ExitAsync(string service, CancellationToken cancellationToken) =>
        RequestAsync("dmb:disconnect", writer => Write(writer, "service"u8, service), cancellationToken);

    protected override async Task<Ending> ReadAsync(ITimer opening)
    {
        await _connection.OpenAsync(Node, Options.ConfigureSocket).ConfigureAwait(false);
        while (true)
        {
            var (text, code, reason) = await _connection.ReceiveAsync().ConfigureAwait(false);
            if (text is not { } bytes)
            {
                return Closed(code, reason);
            }

            if (_entering.IsCompleted && !_isReady)
            {
                opening.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            }

            Take(bytes.Span);
        }
    }

    protected override async Task CloseAsync()
    {
        await _connection.CloseAsync().ConfigureAwait(false);
        await base.CloseAsync().ConfigureAwait(false);
        _connection.Dispose();
        await _entering.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    protected override void Ask() =>
        _connection
            .RequestAsync("dmb:ping", null, null, Ended)
            .ContinueWith(asked => asked.Exception, TaskScheduler.Default);

    protected override void Receive(string @event, JsonElement data)
    {
        if (@event == "welcome")
        {
            Welcome(data);
        }

        base.Receive(@event, data);
    }

    // What can't be read changes nothing: it is told, and the connection goes on.
    private void Take(ReadOnlySpan<byte> text)
    {
        Watchdog.Heard();
        try
        {
            var frame = Frame.Read(text, _last);
            _last = frame.Names;
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
            TellUnreadable(e);
        }
    }

    private void Receive(Frame frame)
    {
        if (frame.Event == "dmb:uplink")
        {
            Uplink?.Signal();
        }
        else if (frame.Id is null)
        {
            Receive(frame.Event!, Json.Element(frame.Data));
        }
        else if (State.Positions.Take(frame))
        {
            State.Tell(new DmbMessage(frame.Event!, frame.Data, frame.Id, frame.Room, frame.Position));
        }
    }

    private void Welcome(JsonElement welcome)
    {
        var limits = welcome.Member("limits") ?? Json.Null;
        var ping = TimeSpan.FromSeconds(Math.Clamp(limits.Number("ping_s") ?? 25, 1, 600));
        var silent = TimeSpan.FromSeconds(Math.Clamp(limits.Number("silent_s") ?? 45, 1, 1200));
        _roomsPerSubscribe = (int)Math.Clamp(limits.Number("rooms_per_subscribe") ?? 100, 1, 10_000);
        State.WasWelcomed = true;
        Watchdog.Start(ping, silent > ping * 1.2 ? silent : ping * 1.2);
        if (_entering.IsCompleted)
        {
            _entering = Task.Run(EnterAsync);
        }
    }

    private async Task EnterAsync()
    {
        try
        {
            if (State.Credential is { Length: > 0 } credential)
            {
                await SignInAsync(credential).ConfigureAwait(false);
            }

            List<DmbException> refused = [];
            var (rooms, services) = State.Wanted();
            if (Options.Backend is { } backend)
            {
                await TryAsync(RegisterAsync(backend), refused).ConfigureAwait(false);
            }

            foreach (var (service, user) in services)
            {
                await TryAsync(EnterAsync(service, user, Ended), refused).ConfigureAwait(false);
            }

            await TryAsync(SubscribeAsync(rooms, Ended), refused).ConfigureAwait(false);
            _isReady = true;
            State.BeConnected(this);
            refused.ForEach(error => State.Tell(new DmbFailure(error)));
            Uplink?.Signal();
        }
        catch (DmbException e)
        {
            End(Refused(e));
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
            writer => Json.WriteBackend(writer, backend.Name, State.Bkid),
            data => State.Bkid = data.Text("bkid"),
            Ended
        );

    private async Task SignInAsync(string credential)
    {
        var answer = await _connection
            .RequestAsync("auth", writer => Write(writer, "token"u8, credential), null, Ended)
            .ConfigureAwait(false);
        State.Credential = credential;
        if (Options.Token is not null && DateTimeOffset.TryParse(answer.Text("expires"), out var expires))
        {
            // A token that was accepted has time left: if it has none by this clock, the clock is wrong.
            var left = expires - Time.GetUtcNow();
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
            for (var wait = Task.Delay(after < most ? after : most, Time, Ended); ; )
            {
                await wait.ConfigureAwait(false);
                try
                {
                    await SignInAsync(await Options.Token!(Ended).ConfigureAwait(false)).ConfigureAwait(false);
                    return;
                }
                catch (Exception e) when (!Ended.IsCancellationRequested)
                {
                    wait = Task.Delay(RenewBefore, Time, Ended);
                    State.Tell(new DmbFailure(e as DmbException ?? new DmbException("internal", e.Message)));
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
                await Task.Delay(RetryAfter * (1 + Random.Shared.NextDouble()), Time, cancellationToken)
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
            if (State.Positions.Of(room) is { } since)
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
            if (State.Positions.Of(room) is { } since)
            {
                writer.WriteString(room, since);
            }
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter writer, ReadOnlySpan<byte> name, string value)
    {
        writer.WriteStartObject();
        writer.WriteString(name, value);
        writer.WriteEndObject();
    }
}
