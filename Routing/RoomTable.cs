using System.Collections.Concurrent;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>Holds the rooms of this node and their members. A room exists while it has members. Thread-safe.</summary>
internal sealed class RoomTable
{
    private readonly ConcurrentDictionary<string, Room> _rooms = [];

    /// <summary>The patterns that have members, by what is before their <c>*</c>.</summary>
    private readonly ConcurrentDictionary<string, Room> _patterns = [];
    private readonly ConcurrentDictionary<string, Room>.AlternateLookup<ReadOnlySpan<char>> _patternsBySpan;
    private volatile int _patternCount;

    public RoomTable(BrokerTelemetry telemetry)
    {
        _patternsBySpan = _patterns.GetAlternateLookup<ReadOnlySpan<char>>();
        telemetry.Meter.CreateObservableUpDownCounter(
            "dmb.rooms",
            () => (long)Count,
            "{room}",
            "Rooms that have subscribers on this node."
        );
    }

    /// <summary>Number of rooms.</summary>
    public int Count => _rooms.Count;

    /// <summary>The rooms, in no order.</summary>
    public IEnumerable<Room> All => _rooms.Values;

    /// <summary>Whether a pattern has members.</summary>
    public bool HasPatterns => _patternCount > 0;

    /// <summary>The pattern of what is before its <c>*</c>; null if it has no members.</summary>
    public Room? FindPattern(ReadOnlySpan<char> prefix) =>
        _patternsBySpan.TryGetValue(prefix, out var room) ? room : null;

    /// <summary>Whether a pattern that has members matches a room.</summary>
    public bool HasPatternOf(string name)
    {
        if (HasPatterns)
        {
            for (var colon = name.IndexOf(':'); colon >= 0; colon = name.IndexOf(':', colon + 1))
            {
                if (FindPattern(name.AsSpan(0, colon + 1)) is not null)
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>The room of a name; null if it has no members.</summary>
    public Room? Find(string name) => _rooms.GetValueOrDefault(name);

    /// <summary>Adds a subscriber to a room, which later messages reach; false if it is a member already.</summary>
    /// <param name="subscriber">The subscriber.</param>
    /// <param name="name">The room.</param>
    /// <param name="membership">Its membership.</param>
    /// <param name="isPlaced">The first value of <see cref="Membership.IsPlaced"/>.</param>
    public bool Join(Subscriber subscriber, string name, out Membership membership, bool isPlaced = false)
    {
        lock (subscriber.Memberships)
        {
            if (subscriber.Memberships.TryGetValue(name, out membership!))
            {
                return false;
            }

            for (var room = Get(name); !room.TryJoin(subscriber, out membership, isPlaced); room = Get(name))
            {
                // The room's last member is leaving concurrently, which closes the room.
                Remove(room);
            }

            return true;
        }
    }

    /// <summary>Whether a subscriber that joined these rooms too would be in more than the maximum.</summary>
    public static bool WouldExceed(Subscriber subscriber, IEnumerable<string> names, int max)
    {
        lock (subscriber.Memberships)
        {
            var rooms = subscriber.Memberships;
            return !(names.TryGetNonEnumeratedCount(out var asked) && rooms.Count + asked <= max)
                && rooms.Count + names.Distinct().Count(name => !rooms.ContainsKey(name)) > max;
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

    private Room Get(string name)
    {
        if (!Names.IsPattern(name))
        {
            return _rooms.GetOrAdd(name, static n => new Room(n));
        }

        var prefix = name[..^1];
        while (true)
        {
            if (_patterns.TryGetValue(prefix, out var room))
            {
                return room;
            }

            room = new Room(name);
            if (_patterns.TryAdd(prefix, room))
            {
                Interlocked.Increment(ref _patternCount);
                return room;
            }
        }
    }

    private void Remove(Room room)
    {
        if (!room.IsPattern)
        {
            _rooms.TryRemove(KeyValuePair.Create(room.Name, room));
        }
        else if (_patterns.TryRemove(KeyValuePair.Create(room.Name[..^1], room)))
        {
            Interlocked.Decrement(ref _patternCount);
        }
    }

    private void Leave(Membership membership)
    {
        if (membership.Room.Leave(membership))
        {
            Remove(membership.Room);
        }
    }
}
