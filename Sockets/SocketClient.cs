using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>One client that sends as well: carries out its frames (docs/protocol.md §4), whatever their wire format.</summary>
internal sealed class SocketClient(Session session, SocketBroker broker, IPAddress? address)
{
    private const int BadFramesMax = 10;
    private const int RefusedMax = 100;
    private static readonly TimeSpan FailedInterval = TimeSpan.FromSeconds(1);

    private readonly DuplexClient _duplex = new(session, broker, address);
    private readonly ViolationCounter _badFrames = new(BadFramesMax, broker.Time);
    private readonly ViolationCounter _tooFast = new(RefusedMax, broker.Time);
    private long? _lastFailed;

    /// <summary>Carries out one frame. What it refuses is answered, and never thrown.</summary>
    public async ValueTask HandleAsync(ClientFrame frame)
    {
        try
        {
            await DispatchAsync(frame);
        }
        catch (RefusedException refused)
        {
            Refuse(frame, refused);
        }
    }

    /// <summary>
    /// Answers a frame that is refused: with a refusal if it asked for an ack, else with <c>failed</c>, at most once a
    /// second. Too many refusals in a minute close the session.
    /// </summary>
    /// <param name="frame">The frame; <c>default</c> for what can't be read as a frame.</param>
    /// <param name="refused">What is wrong with it.</param>
    public void Refuse(ClientFrame frame, RefusedException refused)
    {
        if (refused.Code == ErrorCode.TooBig)
        {
            session.Close(CloseReason.TooBig);
            return;
        }

        if (frame.Ack.IsEmpty)
        {
            Fail(refused);
        }
        else
        {
            session.Send(session.Wire.Refusal(frame.Ack.Span, refused));
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

    /// <summary>The client is gone.</summary>
    public ValueTask EndAsync() => _duplex.EndAsync();

    private ValueTask DispatchAsync(ClientFrame frame)
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
        Acknowledge(frame, ServerEvents.Caller(caller));
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
        var (data, join) = await _duplex.HandleAsync(frame);
        await using (join)
        {
            Acknowledge(frame, data);
            SendGapsUnlessAcked(frame, join);
        }
    }

    private async ValueTask SubscribeAsync(ClientFrame frame)
    {
        if (ReadRooms(frame, out var isArray) is not { } rooms)
        {
            return;
        }

        CheckJoins([.. rooms.Select(request => request.Room)]);
        await using var join = await broker.Joins.JoinAsync(session, rooms);
        var answer = ServerEvents.Joined(join.Rooms, isArray);
        var mustFlush = false;
        foreach (var room in join.Rooms)
        {
            mustFlush |= session.Queue("joined", JsonText.Quote(room.Room));
        }

        Acknowledge(frame, answer);
        FlushIf(mustFlush);
        SendGapsUnlessAcked(frame, join);
    }

    /// <summary>Refuses to join any of the rooms where one may not be joined, or all are too many.</summary>
    private void CheckJoins(HashSet<string> rooms)
    {
        foreach (var room in rooms)
        {
            broker.Rules.Demand(session.Caller, Operation.Join, room);
        }

        broker.CheckRoomCount(session, rooms);
        broker.Limits.Join(session.Caller, address, rooms.Count);
    }

    /// <summary>An ack has the gaps in it.</summary>
    private static void SendGapsUnlessAcked(ClientFrame frame, JoinOperation? join)
    {
        if (frame.Ack.IsEmpty)
        {
            join?.SendGaps();
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

        Acknowledge(frame, ServerEvents.Joined([.. rooms.Select(request => new JoinedRoom(request.Room, default))], isArray));
    }

    private async ValueTask ConfigureAsync(ClientFrame frame)
    {
        var (data, options) = (frame.Data, broker.Publisher.ReaderOptions);
        if (RoomRequestReader.ReadBuses(data.Span, options, broker.Options.ConfigurableBuses) is not var (join, leave))
        {
            Ignore(frame, "configure takes an object of buses: {\"calls\":true,\"traces\":false}.");
            return;
        }

        CheckJoins(join);
        await (await broker.Joins.JoinAsync(session, join)).DisposeAsync();
        foreach (var bus in leave)
        {
            broker.Rooms.Leave(session, bus);
        }

        session.Send("configured", frame.Data.Span);
        Acknowledge(frame, frame.Data.Span);
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
        Acknowledge(frame, ServerEvents.Registered(registration, alreadyRegistered));
    }

    private async ValueTask PublishToAsync(string @event, string[] rooms, ReadOnlyMemory<byte> data, ClientFrame frame)
    {
        CheckPublish();
        var id = await broker.Publisher.PublishToAsync(@event, rooms, data);
        Acknowledge(frame, ServerEvents.Id(id));
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
                ? ServerEvents.Id(id)
                : throw new RefusedException(ErrorCode.UnknownEvent, "Nobody registered this event."));
        }
    }

    /// <summary>The rooms that a frame names; null when its data is to be ignored.</summary>
    private List<RoomRequest>? ReadRooms(ClientFrame frame, out bool isArray)
    {
        var rooms = RoomRequestReader.ReadRooms(frame.Data.Span, broker.Publisher.ReaderOptions, out isArray);
        if (rooms is null)
        {
            Ignore(frame, "The data is a room, {\"room\":…,\"since\":pos}, or an array of these.");
            return null;
        }

        if (rooms.Count > broker.Options.MaxRoomsPerSubscribe)
        {
            throw new RefusedException(
                ErrorCode.TooManyRooms, $"One frame may name {broker.Options.MaxRoomsPerSubscribe} rooms.");
        }

        return rooms.TrueForAll(request => Names.IsRoom(request.Room))
            ? rooms
            : throw new RefusedException(ErrorCode.BadName, Names.RoomForm);
    }

    /// <summary>Data of a shape that says nothing is ignored, unless an answer was asked for (docs/protocol.md §4).</summary>
    private static void Ignore(ClientFrame frame, string why)
    {
        if (!frame.Ack.IsEmpty)
        {
            throw new RefusedException(ErrorCode.BadFrame, why);
        }
    }

    private void Acknowledge(ClientFrame frame, ReadOnlySpan<byte> data) => session.Acknowledge(frame.Ack, data);

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
        session.Send("failed", ServerEvents.Failure(refused));
    }

    private void CheckPublish()
    {
        broker.Rules.Demand(session.Caller, Operation.Publish);
        broker.Limits.Publish(session.Caller, address);
    }
}
