using Dmb.Access;
using Dmb.Backends;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>The services of the broker that duplex clients use.</summary>
internal sealed record SocketBroker(
    IBackplane Backplane,
    RoomTable Rooms,
    RoomJoins Joins,
    EventTable Events,
    Publisher Publisher,
    BackendServices Backends,
    AccessRules Rules,
    Credentials Credentials,
    Limits Limits,
    SocketOptions Options,
    RoutingOptions Routing,
    TimeProvider Time
)
{
    /// <summary>Refuses a join that would exceed the session's limit of rooms.</summary>
    public void CheckRoomCount(Session session, IEnumerable<string> rooms)
    {
        if (RoomTable.WouldExceed(session, rooms, Options.MaxRoomsPerSession))
        {
            throw new RefusedException(
                ErrorCode.TooManyRooms,
                $"A session may be in {Options.MaxRoomsPerSession} rooms."
            );
        }
    }
}
