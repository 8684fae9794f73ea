using System.Collections.Concurrent;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>Holds the rooms of this node and their members. A room exists while it has members. Thread-safe.</summary>
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

    /// <summary>Number of rooms.</summary>
    public int Count => _rooms.Count;

    /// <summary>The rooms, in no order.</summary>
    public IEnumerable<Room> All => _rooms.Values;

    /// <summary>The room of a name; null if it has no members.</summary>
    public Room? Find(string name) => _rooms.GetValueOrDefault(name);

    /// <summary>Adds a subscriber to a room, which later messages reach; false if it is a member already.</summary>
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
                // The room's last member is leaving concurrently, which closes the room.
                _rooms.TryRemove(KeyValuePair.Create(name, room));
            }

            return true;
        }
    }

    /// <summary>Number of a subscriber's rooms if it joined these too.</summary>
    public static int CountWith(Subscriber subscriber, IEnumerable<string> names)
    {
        lock (subscriber.Memberships)
        {
            return subscriber.Memberships.Count
                + names.Distinct().Count(name => !subscriber.Memberships.ContainsKey(name));
        }
    }

    /// <summary>Removes a subscriber from a room; without effect if it is not a member.</summary>
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

    /// <summary>Removes a subscriber from all its rooms.</summary>
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
