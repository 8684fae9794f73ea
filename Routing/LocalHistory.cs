namespace Dmb.Routing;

/// <summary>
/// Keeps the rooms' histories of a single node in memory: assigns positions to messages, and passes them to the fan-out
/// in that order.
/// </summary>
internal sealed class LocalHistory(
    HistoryPolicy policy,
    FanOut fanOut,
    RoomTable present,
    HistoryOptions options,
    TimeProvider time
)
{
    /// <summary>Maximum rooms with a position; past it the least recently used ones are removed.</summary>
    private const int RoomsMax = 1_000_000;

    /// <summary>Estimated bytes of a message besides its data.</summary>
    private const int OverheadBytes = 512;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Entry> _rooms = [];

    /// <summary>All kept messages, the oldest first, which is dropped first at the limit of bytes.</summary>
    private readonly LinkedList<Kept> _kept = [];
    private long _keptBytes;
    private long _published;
    private long _entries;

    /// <summary>The epoch of rooms that are added; a new one after any room was removed.</summary>
    private string _epoch = StreamPosition.NewEpoch();

    /// <summary>Keeps a message and delivers it. Completes when it was delivered or queued.</summary>
    public ValueTask PublishAsync(Envelope envelope)
    {
        if (!policy.KeepsAny(envelope.Rooms))
        {
            return fanOut.DeliverAsync(envelope);
        }

        envelope.Keep();
        var locked = AssignPositions(envelope);
        try
        {
            // DeliverAsync determines the order synchronously, before it returns.
            return fanOut.DeliverAsync(envelope);
        }
        finally
        {
            foreach (var turn in locked)
            {
                turn.Publishing.Exit();
            }
        }
    }

    /// <summary>Reads the rooms' current positions, and the kept messages after the requested positions.</summary>
    public RoomHistory[] Read(IReadOnlyList<RoomRequest> rooms)
    {
        lock (_lock)
        {
            return [.. rooms.Select(Read)];
        }
    }

    /// <summary>Counts the kept messages of each room.</summary>
    public int[] Count(IReadOnlyList<string> rooms)
    {
        lock (_lock)
        {
            return [.. rooms.Select(Count)];
        }

        int Count(string room)
        {
            if (!_rooms.TryGetValue(room, out var entry))
            {
                return 0;
            }

            Expire(entry, policy.Of(room));
            return entry.Messages.Count;
        }
    }

    /// <summary>Deletes a room's kept messages; its positions continue.</summary>
    public void Clear(string room)
    {
        lock (_lock)
        {
            if (_rooms.TryGetValue(room, out var entry))
            {
                while (entry.Messages.Count > 0)
                {
                    DropOldest(entry);
                }
            }
        }
    }

    /// <summary>Removes rooms, with their positions.</summary>
    public void Forget(Func<string, bool> isForgotten)
    {
        lock (_lock)
        {
            foreach (var (room, entry) in _rooms.Where(room => isForgotten(room.Key)).ToArray())
            {
                Forget(room, entry);
            }

            _epoch = StreamPosition.NewEpoch();
        }
    }

    private RoomHistory Read(RoomRequest request)
    {
        var limits = policy.Of(request.Room);
        if (limits.Size == 0)
        {
            return RoomHistory.None;
        }

        if (!_rooms.TryGetValue(request.Room, out var entry))
        {
            return new RoomHistory(new StreamPosition(_epoch, 0), [], IsExpired: false);
        }

        if (request.Since is not { } since)
        {
            return new RoomHistory(entry.Position, [], IsExpired: false);
        }

        Expire(entry, limits);
        var messages = entry
            .Messages.Select(node => node.Value.Envelope)
            .Where(envelope =>
                envelope.PositionIn(request.Room) is var position
                && (position.Epoch != since.Epoch || position.Seq > since.Seq)
            );
        return new RoomHistory(entry.Position, [.. messages], entry.IsLastExpired);
    }

    /// <summary>
    /// Assigns a message its positions, and keeps it. Publishes to a room with members are serialized, so that
    /// subscribers get them in the order of positions. Rooms without members are not locked: a later join reads the
    /// position afterwards.
    /// </summary>
    private Entry[] AssignPositions(Envelope envelope)
    {
        Entry[] locked = [];
        while (true)
        {
            Entry[] needed;
            lock (_lock)
            {
                var entries = Entries(envelope.Rooms);
                needed = Occupied(envelope.Rooms, entries);
                if (needed.AsSpan().SequenceEqual(locked))
                {
                    Keep(envelope, entries);
                    return locked;
                }
            }

            foreach (var turn in locked)
            {
                turn.Publishing.Exit();
            }

            locked = needed;
            foreach (var turn in locked)
            {
                turn.Publishing.Enter();
            }
        }
    }

    private Entry?[] Entries(string[] rooms)
    {
        var entries = new Entry?[rooms.Length];
        for (var i = 0; i < rooms.Length; i++)
        {
            entries[i] = policy.Of(rooms[i]).Size > 0 ? Get(rooms[i]) : null;
        }

        return entries;
    }

    /// <summary>The rooms with members, in a fixed order, in which they are locked.</summary>
    private Entry[] Occupied(string[] rooms, Entry?[] entries)
    {
        List<Entry>? occupied = null;
        for (var i = 0; i < rooms.Length; i++)
        {
            if (entries[i] is { } entry && present.Find(rooms[i]) is not null)
            {
                (occupied ??= []).Add(entry);
            }
        }

        occupied?.Sort(static (one, other) => one.Number.CompareTo(other.Number));
        return occupied is null ? [] : [.. occupied];
    }

    /// <summary>Keeps a message; called under the lock.</summary>
    private void Keep(Envelope envelope, Entry?[] entries)
    {
        var positions = new StreamPosition[entries.Length];

        // Its data, and one encoded frame of about the same size.
        var bytes = OverheadBytes + (2 * envelope.Data.Length);
        var now = time.GetTimestamp();
        for (var i = 0; i < entries.Length; i++)
        {
            if (entries[i] is not { } entry)
            {
                continue;
            }

            positions[i] = entry.Position = entry.Position with { Seq = entry.Position.Seq + 1 };
            var kept = new LinkedListNode<Kept>(new Kept(entry, envelope, bytes, now));
            _kept.AddLast(kept);
            entry.Messages.Enqueue(kept);
            entry.Used = now;
            _keptBytes += bytes;
            Expire(entry, policy.Of(envelope.Rooms[i]));
        }

        envelope.Positions = positions;
        envelope.Number = ++_published;
        while (_keptBytes > options.HistoryBytes && _kept.First is { } oldest)
        {
            DropOldest(oldest.Value.Entry);
        }
    }

    private Entry Get(string room)
    {
        if (!_rooms.TryGetValue(room, out var entry))
        {
            if (_rooms.Count >= RoomsMax)
            {
                RemoveIdle();
            }

            entry = _rooms[room] = new Entry(_entries++, _epoch);
        }

        return entry;
    }

    private void Expire(Entry entry, HistoryLimits limits)
    {
        while (entry.Messages.TryPeek(out var oldest))
        {
            var isExpired = time.GetElapsedTime(oldest.Value.Since) >= limits.Ttl;
            if (!isExpired && entry.Messages.Count <= limits.Size)
            {
                return;
            }

            DropOldest(entry, isExpired);
        }
    }

    private void DropOldest(Entry entry, bool isExpired = false)
    {
        entry.IsLastExpired = isExpired;
        var node = entry.Messages.Dequeue();
        _kept.Remove(node);
        _keptBytes -= node.Value.Bytes;
    }

    /// <summary>Removes the rooms that are past their TTL, and the least recently used ones at the limit.</summary>
    private void RemoveIdle()
    {
        var quiet = _rooms.Where(room => room.Value.Messages.Count == 0).OrderBy(room => room.Value.Used).ToArray();
        var forgotten = Math.Max(
            RoomsMax / 10,
            quiet.Count(room => time.GetElapsedTime(room.Value.Used) >= options.PositionTtl)
        );
        foreach (var (room, entry) in quiet.Take(forgotten))
        {
            Forget(room, entry);
        }

        _epoch = StreamPosition.NewEpoch();
    }

    private void Forget(string room, Entry entry)
    {
        while (entry.Messages.Count > 0)
        {
            DropOldest(entry);
        }

        _rooms.Remove(room);
    }

    /// <summary>One message in the history of one room.</summary>
    private readonly record struct Kept(Entry Entry, Envelope Envelope, int Bytes, long Since);

    /// <summary>One room's position and messages.</summary>
    private sealed class Entry(long number, string epoch)
    {
        /// <summary>Held while a message gets its position and is handed to the fan-out.</summary>
        public Lock Publishing { get; } = new();

        public long Number { get; } = number;

        public StreamPosition Position { get; set; } = new(epoch, 0);

        public Queue<LinkedListNode<Kept>> Messages { get; } = new();

        public long Used { get; set; }

        /// <summary>Whether the message dropped last had expired.</summary>
        public bool IsLastExpired { get; set; }
    }
}
