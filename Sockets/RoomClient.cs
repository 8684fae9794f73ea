using System.Net;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// Executes one client's <c>subscribe</c>, <c>unsubscribe</c> and <c>configure</c> frames (docs/protocol.md §4).
/// </summary>
internal readonly struct RoomClient(Session session, SocketBroker broker, IPAddress? address)
{
    /// <summary>
    /// <c>subscribe</c>: joins, sends <c>joined</c> per room, acknowledges, and replays missed messages.
    /// </summary>
    public async ValueTask SubscribeAsync(ClientFrame frame)
    {
        if (ReadRooms(frame, out var isArray) is not { } rooms)
        {
            return;
        }

        IReadOnlyCollection<string> names =
            rooms.Count == 1 ? [rooms[0].Room] : rooms.Select(request => request.Room).ToHashSet();
        await broker.Rules.AskAsync(session.Caller, names);
        CheckJoins(names);
        await using var join = await broker.Joins.JoinAsync(session, rooms);
        var answer = ServerEvents.Joined(join.Rooms, isArray);
        var mustFlush = false;
        foreach (var room in join.Rooms)
        {
            mustFlush |= session.Queue("joined", JsonText.Quote(room.Room));
        }

        session.Acknowledge(frame.Ack, answer);
        FlushIf(mustFlush);
        if (frame.Ack.IsEmpty)
        {
            // With an ack the gaps are in its data.
            join.SendGaps();
        }
    }

    /// <summary><c>unsubscribe</c>: leaves, sends <c>left</c> per room, and acknowledges.</summary>
    public void Unsubscribe(ClientFrame frame)
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
        JoinedRoom[] left = [.. rooms.Select(request => new JoinedRoom(request.Room, default))];
        session.Acknowledge(frame.Ack, ServerEvents.Joined(left, isArray));
    }

    /// <summary><c>configure</c>: joins and leaves configurable buses.</summary>
    public async ValueTask ConfigureAsync(ClientFrame frame)
    {
        var (data, options) = (frame.Data, broker.Publisher.ReaderOptions);
        if (RoomRequestReader.ReadBuses(data.Span, options, broker.Routing.ConfigurableBuses) is not var (join, leave))
        {
            frame.Ignore("configure takes an object of buses: {\"calls\":true,\"traces\":false}.");
            return;
        }

        await broker.Rules.AskAsync(session.Caller, join);
        CheckJoins(join);
        await (await broker.Joins.JoinAsync(session, join)).DisposeAsync();
        foreach (var bus in leave)
        {
            broker.Rooms.Leave(session, bus);
        }

        session.Send("configured", frame.Data.Span);
        session.Acknowledge(frame.Ack, frame.Data.Span);
    }

    /// <summary>Leaves the rooms that the caller may no longer join, except those of its backend services.</summary>
    public void LeaveForbidden(Caller caller)
    {
        var rules = broker.Rules;
        string[] rooms;
        lock (session.Memberships)
        {
            rooms =
            [
                .. session.Memberships.Keys.Where(room =>
                    (Names.IsRoom(room) || Names.IsPattern(room)) && !rules.May(caller, Operation.Join, room)
                ),
            ];
        }

        var mustFlush = false;
        foreach (var room in rooms)
        {
            broker.Rooms.Leave(session, room);
            mustFlush |= session.Queue("left", JsonText.Quote(room));
        }

        FlushIf(mustFlush);
    }

    /// <summary>Refuses a join as a whole if one room is forbidden or the limits are exceeded.</summary>
    private void CheckJoins(IReadOnlyCollection<string> rooms)
    {
        foreach (var room in rooms)
        {
            broker.Rules.Demand(session.Caller, Operation.Join, room);
        }

        broker.CheckRoomCount(session, rooms);
        broker.Limits.Join(session.Caller, address, rooms.Count);
    }

    /// <summary>The rooms that a frame names; null when its data is ignored.</summary>
    private List<RoomRequest>? ReadRooms(ClientFrame frame, out bool isArray)
    {
        var rooms = RoomRequestReader.ReadRooms(frame.Data.Span, broker.Publisher.ReaderOptions, out isArray);
        if (rooms is null)
        {
            frame.Ignore("The data is a room, {\"room\":…,\"since\":pos}, or an array of these.");
            return null;
        }

        if (rooms.Count > broker.Options.MaxRoomsPerSubscribe)
        {
            throw new RefusedException(
                ErrorCode.TooManyRooms,
                $"One frame may name {broker.Options.MaxRoomsPerSubscribe} rooms."
            );
        }

        foreach (var (room, since) in rooms)
        {
            if (Names.IsPattern(room) && since is not null)
            {
                throw new RefusedException(
                    ErrorCode.BadFrame,
                    $"{room} is a pattern: it has no position and no history. Subscribe without since."
                );
            }

            if (!Names.IsRoom(room) && !Names.IsPattern(room))
            {
                throw new RefusedException(ErrorCode.BadName, Names.SubscriptionForm);
            }
        }

        return rooms;
    }

    private void FlushIf(bool mustFlush)
    {
        if (mustFlush)
        {
            session.Flush();
        }
    }
}
