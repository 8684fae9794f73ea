using System.Net;
using System.Text;
using System.Text.Json;
using Dmb.Access;
using Dmb.Backends;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>What all clients of /ws need from the broker.</summary>
internal sealed record SocketBroker(
    IBackplane Backplane, RoomTable Rooms, RoomJoins Joins, EventTable Events, Publisher Publisher, BackendServices Backends, AccessRules Rules, Credentials Credentials,
    Limits Limits, BrokerOptions Options, TimeProvider Time)
{
    /// <summary>Refuses to join more rooms than one session may be in, before any of them is joined.</summary>
    public void CheckPlacesFor(Session session, IEnumerable<string> rooms)
    {
        if (RoomTable.CountWith(session, rooms) > Options.MaxRoomsPerSession)
        {
            throw new RefusedException(ErrorCode.TooManyRooms, $"A session may be in {Options.MaxRoomsPerSession} rooms.");
        }
    }
}

/// <summary>One client of /ws: what each of its frames does (docs/protocol.md §4).</summary>
internal sealed class SocketClient(Session session, SocketBroker broker, IPAddress? address)
{
    private const int BadFramesMax = 10;
    private const int RefusedMax = 100;
    private static readonly TimeSpan FailedInterval = TimeSpan.FromSeconds(1);

    private readonly DuplexClient _duplex = new(session, broker, address);
    private readonly Strikes _badFrames = new(BadFramesMax, broker.Time);
    private readonly Strikes _tooFast = new(RefusedMax, broker.Time);
    private long? _lastFailed;

    /// <summary>Does what one frame asks for. The text is borrowed until this completes.</summary>
    public async ValueTask HandleAsync(ReadOnlyMemory<byte> text)
    {
        ClientFrame frame = default;
        try
        {
            frame = ClientFrame.Read(text, broker.Publisher.ReaderOptions);
            await HandleAsync(frame);
        }
        catch (RefusedException refused) when (refused.Code == ErrorCode.TooBig)
        {
            session.Close(CloseReason.TooBig);
        }
        catch (RefusedException refused)
        {
            if (frame.Ack.IsEmpty)
            {
                Fail(refused);
            }
            else
            {
                session.Send(WebSocketFrames.Text(ServerFrames.Refused(frame.Ack.Span, refused)));
            }

            if (frame.Event is null && _badFrames.Add())
            {
                session.Close(CloseReason.Protocol);
            }
            else if (refused.Code == ErrorCode.RateLimited && _tooFast.Add())
            {
                session.Close(CloseReason.TooFast);
            }
        }
    }

    /// <summary>The client is gone.</summary>
    public ValueTask EndAsync() => _duplex.EndAsync();

    private ValueTask HandleAsync(ClientFrame frame)
    {
        switch (frame.Event)
        {
            case null:
                throw new RefusedException(ErrorCode.BadFrame, "A frame needs the member event, a string.");
            case "auth":
                return AuthenticateAsync(frame);
            case "subscribe" or "join":
                return SubscribeAsync(frame);
            case "unsubscribe" or "leave":
                Unsubscribe(frame);
                return ValueTask.CompletedTask;
            case "configure":
                return ConfigureAsync(frame);
            case "register":
                return RegisterAsync(frame);
            case "ping":
                return PublishToAsync("ping", broker.Options.HostBuses, frame.Data, frame);
            case "shout":
                byte[] shout = [.. "{\"id\":\""u8, .. Encoding.ASCII.GetBytes(session.Id), .. "\",\"data\":"u8, .. frame.Data.Span, .. "}"u8];
                return PublishToAsync("shouted", ["internal"], shout, frame);
            case "notify_users":
                return PublishToAsync("notify", ["internal", "everyone"], frame.Data, frame);
            case "dmb:reconnect" or "dmb:broadcast" or "dmb:direct" or "dmb:connect" or "dmb:message" or "dmb:disconnect":
                return DuplexAsync(frame);
            default:
                return PublishAsync(frame);
        }
    }

    /// <summary>Who the session is from now on. Of a session that was somebody before only the credentials can be renewed.</summary>
    private async ValueTask AuthenticateAsync(ClientFrame frame)
    {
        var shown = JsonMembers.Read(frame.Data, broker.Options.MaxJsonDepth, ErrorCode.BadFrame).Text("token")
            ?? throw new RefusedException(ErrorCode.BadFrame, "The member token is missing.");
        Caller caller;
        try
        {
            caller = await broker.Credentials.FindAsync(shown);
        }
        catch (RefusedException refused) when (session.Caller.IsAnonymous)
        {
            session.Close(CloseReason.Of(refused));
            return;
        }

        var before = session.Caller;
        if (!before.IsAnonymous && caller.LimitKey != before.LimitKey)
        {
            throw new RefusedException(ErrorCode.Unauthenticated, "A session stays who it is; open another one for somebody else.");
        }

        session.Caller = caller;
        if ((before.Scopes & ~caller.Scopes) != Scopes.None)
        {
            // What it may not do any more may be going on: it comes back and does what it may.
            session.Close(CloseReason.RightsGone);
            return;
        }

        LeaveForbidden(caller);
        Acknowledge(frame, ServerFrames.Caller(caller));
    }

    /// <summary>Leaves the rooms that are the caller's no more. Those of its services are its own whatever its token says.</summary>
    private void LeaveForbidden(Caller caller)
    {
        string[] rooms;
        lock (session.Memberships)
        {
            rooms = [.. session.Memberships.Keys.Where(room => Names.IsRoom(room) && !broker.Rules.May(caller, Operation.Join, room))];
        }

        var mustFlush = false;
        foreach (var room in rooms)
        {
            broker.Rooms.Leave(session, room);
            mustFlush |= session.Queue("left", JsonText.Quote(room));
        }

        FlushIf(mustFlush);
    }

    private async ValueTask DuplexAsync(ClientFrame frame)
    {
        AccessRules.DemandSomebody(session.Caller);
        var (data, joining) = await _duplex.HandleAsync(frame);
        Acknowledge(frame, data);
        await FollowAsync(joining, frame.Ack.IsEmpty);
    }

    private async ValueTask SubscribeAsync(ClientFrame frame)
    {
        if (ReadRooms(frame, out var isArray) is not { } rooms)
        {
            return;
        }

        CheckJoins([.. rooms.Select(request => request.Room)]);
        var joining = await broker.Joins.JoinAsync(session, rooms);
        var answer = ServerFrames.Joined(joining.Rooms, isArray);
        var mustFlush = false;
        foreach (var room in joining.Rooms)
        {
            mustFlush |= session.Queue("joined", JsonText.Quote(room.Room));
        }

        Acknowledge(frame, answer);
        FlushIf(mustFlush);
        await FollowAsync(joining, frame.Ack.IsEmpty);
    }

    /// <summary>Refuses to join any of the rooms where one may not be joined, or all are too many.</summary>
    private void CheckJoins(HashSet<string> rooms)
    {
        foreach (var room in rooms)
        {
            broker.Rules.Demand(session.Caller, Operation.Join, room);
        }

        broker.CheckPlacesFor(session, rooms);
        broker.Limits.Join(session.Caller, address, rooms.Count);
    }

    /// <summary>What follows the answer to who came back: whoever asked for none is told here what is missing.</summary>
    private async ValueTask FollowAsync(Joining? joining, bool mustTell)
    {
        if (joining is not null)
        {
            if (mustTell)
            {
                session.TellGaps(joining);
            }

            await joining.ReplayAsync();
        }
    }

    private void Unsubscribe(ClientFrame frame)
    {
        if (ReadRooms(frame, out var isArray) is not { } rooms)
        {
            return;
        }

        var mustFlush = false;
        foreach (var (room, _) in rooms)
        {
            broker.Rooms.Leave(session, room);
            mustFlush |= session.Queue("left", JsonText.Quote(room));
        }

        FlushIf(mustFlush);

        Acknowledge(frame, ServerFrames.Joined([.. rooms.Select(request => new JoinedRoom(request.Room, default))], isArray));
    }

    private async ValueTask ConfigureAsync(ClientFrame frame)
    {
        if (ReadBuses(frame) is not var (joining, leaving))
        {
            Ignore(frame, "configure takes an object of buses: {\"calls\":true,\"traces\":false}.");
            return;
        }

        CheckJoins(joining);
        var joined = await broker.Joins.JoinAsync(session, joining);
        await joined.ReplayAsync();
        foreach (var bus in leaving)
        {
            broker.Rooms.Leave(session, bus);
        }

        session.Send("configured", frame.Data.Span);
        Acknowledge(frame, frame.Data.Span);
    }

    /// <summary>The buses to join and to leave; null when the data is no object.</summary>
    private (HashSet<string> Joining, HashSet<string> Leaving)? ReadBuses(ClientFrame frame)
    {
        var reader = new Utf8JsonReader(frame.Data.Span, broker.Publisher.ReaderOptions);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return null;
        }

        var (joining, leaving) = (new HashSet<string>(), new HashSet<string>());
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var bus = JsonText.Read(ref reader);
            reader.Read();
            if (bus is not null && reader.TokenType is JsonTokenType.True or JsonTokenType.False && broker.Options.ConfigurableBuses.Contains(bus))
            {
                var isJoin = reader.TokenType == JsonTokenType.True;
                (isJoin ? joining : leaving).Add(bus);
                (isJoin ? leaving : joining).Remove(bus);
            }

            reader.Skip();
        }

        return (joining, leaving);
    }

    private async ValueTask RegisterAsync(ClientFrame frame)
    {
        if (RegisterRequest.Read(frame.Data.Span, broker.Publisher.ReaderOptions) is not { } request)
        {
            Ignore(frame, "register takes {\"event\":…,\"default_room\":…}.");
            return;
        }

        broker.Rules.Demand(session.Caller, Operation.Register);
        var registration = broker.Events.Register(request.Event, request.DefaultRoom, out var alreadyRegistered);
        await broker.Backplane.ShareEventAsync(registration.Event);
        Acknowledge(frame, ServerFrames.Registered(registration, alreadyRegistered));
    }

    private async ValueTask PublishToAsync(string @event, string[] rooms, ReadOnlyMemory<byte> data, ClientFrame frame)
    {
        CheckPublish();
        var id = await broker.Publisher.PublishToAsync(@event, rooms, data);
        Acknowledge(frame, ServerFrames.Id(id));
    }

    private async ValueTask PublishAsync(ClientFrame frame)
    {
        CheckPublish();

        // A socket's `endpoint` is data like any other (docs/protocol.md §2).
        var address = frame.Address with { Endpoint = null };
        var published = await broker.Publisher.PublishAsync(broker.Events.Find(frame.Event!), frame.Data, address, key: null, id: null);
        if (!frame.Ack.IsEmpty)
        {
            Acknowledge(frame, published.Id is { } id
                ? ServerFrames.Id(id)
                : throw new RefusedException(ErrorCode.UnknownEvent, "Nobody registered this event."));
        }
    }

    /// <summary>
    /// <c>"room"</c>, <c>{"room":…,"since":pos}</c>, or an array of these; null when the data is none of them and is to be ignored.
    /// </summary>
    private RoomRequest[]? ReadRooms(ClientFrame frame, out bool isArray)
    {
        var rooms = new List<RoomRequest>();
        var reader = new Utf8JsonReader(frame.Data.Span, broker.Publisher.ReaderOptions);
        reader.Read();
        isArray = reader.TokenType == JsonTokenType.StartArray;
        if (!(isArray ? AddAll(ref reader, rooms) : Add(ref reader, rooms)))
        {
            Ignore(frame, "The data is a room, {\"room\":…,\"since\":pos}, or an array of these.");
            return null;
        }

        if (rooms.Count > broker.Options.MaxRoomsPerSubscribe)
        {
            throw new RefusedException(ErrorCode.TooManyRooms, $"One frame may name {broker.Options.MaxRoomsPerSubscribe} rooms.");
        }

        return rooms.TrueForAll(request => Names.IsRoom(request.Room))
            ? [.. rooms]
            : throw new RefusedException(ErrorCode.BadName, Names.RoomForm);
    }

    private static bool AddAll(ref Utf8JsonReader reader, List<RoomRequest> rooms)
    {
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (!Add(ref reader, rooms))
            {
                return false;
            }
        }

        return rooms.Count > 0;
    }

    private static bool Add(ref Utf8JsonReader reader, List<RoomRequest> rooms)
    {
        string? room = null;
        StreamPosition? since = null;
        if (reader.TokenType == JsonTokenType.String)
        {
            // What has no text is no room's name, and is refused as one.
            room = JsonText.Read(ref reader) ?? "";
        }
        else if (reader.TokenType == JsonTokenType.StartObject)
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var (isRoom, isSince) = (JsonText.Is(ref reader, "room"u8), JsonText.Is(ref reader, "since"u8));
                reader.Read();
                var text = reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) ?? "" : null;
                room = isRoom ? text : room;
                since = !isSince ? since : reader.TokenType == JsonTokenType.Null ? null : Place(text);
                reader.Skip();
            }
        }

        if (room is not null)
        {
            rooms.Add(new RoomRequest(room, since));
        }

        return room is not null;
    }

    private static StreamPosition Place(string? text) =>
        StreamPosition.TryParse(text, out var place) ? place : throw new RefusedException(ErrorCode.BadFrame, StreamPosition.Form);

    /// <summary>Data of a shape that says nothing is ignored, unless an answer was asked for (docs/protocol.md §4).</summary>
    private static void Ignore(ClientFrame frame, string why)
    {
        if (!frame.Ack.IsEmpty)
        {
            throw new RefusedException(ErrorCode.BadFrame, why);
        }
    }

    private void Acknowledge(ClientFrame frame, ReadOnlySpan<byte> data)
    {
        if (!frame.Ack.IsEmpty)
        {
            session.Send(WebSocketFrames.Text(ServerFrames.Ack(frame.Ack.Span, data)));
        }
    }

    private void FlushIf(bool mustFlush)
    {
        if (mustFlush)
        {
            session.Flush();
        }
    }

    private void Fail(RefusedException refused)
    {
        if (_lastFailed is { } last && broker.Time.GetElapsedTime(last) < FailedInterval)
        {
            return;
        }

        _lastFailed = broker.Time.GetTimestamp();
        session.Send("failed", ServerFrames.Failure(refused));
    }

    private void CheckPublish()
    {
        broker.Rules.Demand(session.Caller, Operation.Publish);
        broker.Limits.Publish(session.Caller, address);
    }
}
