using System.Collections.Concurrent;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>Who is in which room on this node. A room exists while it has members.</summary>
internal sealed class RoomTable
{
    private readonly ConcurrentDictionary<string, Room> _rooms = [];

    public RoomTable(BrokerTelemetry telemetry) =>
        telemetry.Meter.CreateObservableUpDownCounter(
            "dmb.rooms",
            () => (long)Count,
            "{room}",
            "Rooms that have subscribers on this node."
        );

    /// <summary>How many rooms have members.</summary>
    public int Count => _rooms.Count;

    /// <summary>The rooms that have subscribers now, in no order.</summary>
    public IEnumerable<Room> All => _rooms.Values;

    /// <summary>The room of that name, or null when it has no member.</summary>
    public Room? Find(string name) => _rooms.GetValueOrDefault(name);

    /// <summary>
    /// Puts a subscriber in a room of this node; what is published after this reaches it. False if it was in it before.
    /// </summary>
    public bool Join(Subscriber subscriber, string name, out Membership membership)
    {
        lock (subscriber.Memberships)
        {
            if (subscriber.Memberships.TryGetValue(name, out membership!))
            {
                return false;
            }

            for (var room = Get(name); !room.TryJoin(subscriber, out membership); room = Get(name))
            {
                // The last one is leaving just now, and the room with it.
                _rooms.TryRemove(KeyValuePair.Create(name, room));
            }

            return true;
        }
    }

    /// <summary>How many rooms a subscriber would be in, were it in these as well.</summary>
    public static int CountWith(Subscriber subscriber, IEnumerable<string> names)
    {
        lock (subscriber.Memberships)
        {
            return subscriber.Memberships.Count
                + names.Distinct().Count(name => !subscriber.Memberships.ContainsKey(name));
        }
    }

    /// <summary>Takes a subscriber out of a room; nothing happens if it isn't in it.</summary>
    public void Leave(Subscriber subscriber, string name)
    {
        lock (subscriber.Memberships)
        {
            if (subscriber.Memberships.Remove(name, out var membership))
            {
                Leave(membership);
            }
        }
    }

    /// <summary>Takes a subscriber out of all its rooms.</summary>
    public void LeaveAll(Subscriber subscriber)
    {
        lock (subscriber.Memberships)
        {
            foreach (var membership in subscriber.Memberships.Values)
            {
                Leave(membership);
            }

            subscriber.Memberships.Clear();
        }
    }

    private Room Get(string name) => _rooms.GetOrAdd(name, static n => new Room(n));

    private void Leave(Membership membership)
    {
        if (membership.Room.Leave(membership))
        {
            _rooms.TryRemove(KeyValuePair.Create(membership.Room.Name, membership.Room));
        }
    }
}
