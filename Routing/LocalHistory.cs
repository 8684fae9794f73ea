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

    /// <summary>
    /// Upper estimate of the bytes of a kept message besides twice its data: its head, event and id, its place in the
    /// order, and what its room's chunks have unused.
    /// </summary>
    private const int OverheadBytes = 320;

    /// <summary>Number of dropped messages in <see cref="_order"/> that are tolerated without compaction.</summary>
    private const int DroppedMax = 1_024;

    [ThreadStatic]
    private static Turn? _turn;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Entry> _rooms = [];
    private readonly ChunkPool _chunks = new();

    /// <summary>
    /// The rooms of all kept messages, the oldest first, which is dropped first at the limit of bytes. A message that
    /// its room dropped before is still in it, and counted in <see cref="Entry.Dropped"/>.
    /// </summary>
    private readonly Queue<Entry> _order = [];
    private int _keptMessages;
    private long _keptBytes;
    private long _published;

    /// <summary>The epoch of rooms that are added; a new one after any room was removed.</summary>
    private string _epoch = StreamPosition.NewEpoch();

    /// <summary>Keeps a message and delivers it. Completes when it was delivered or queued.</summary>
    public ValueTask PublishAsync(Envelope envelope)
    {
        if (!policy.KeepsAny(envelope.Rooms))
        {
            return fanOut.DeliverAsync(envelope);
        }

        if (!KeptMessages.IsBytes(envelope))
        {
            envelope.Keep();
        }

        // Delivery can re-enter on this thread; a nested call allocates its own turn.
        var turn = _turn ?? new Turn();
        _turn = null;
        try
        {
            AssignPositions(envelope, turn);

            // DeliverAsync determines the order synchronously, before it returns.
            return fanOut.DeliverAsync(envelope);
        }
        finally
        {
            turn.End();
            _turn = turn;
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

            Expire(entry, time.GetTimestamp());
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
        if (!policy.Keeps(request.Room))
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

        Expire(entry, time.GetTimestamp());
        var missed = since.Epoch == entry.Position.Epoch ? Math.Max(0, entry.Position.Seq - since.Seq) : long.MaxValue;
        var count = (int)Math.Min(missed, entry.Messages.Count);
        return new RoomHistory(entry.Position, entry.Messages.Read(count, entry.Position), entry.IsLastExpired);
    }

    /// <summary>
    /// Assigns a message its positions, and keeps it. Publishes to a room with members are serialized, so that
    /// subscribers get them in the order of positions. Rooms without members are not locked: a later join reads the
    /// position afterwards.
    /// </summary>
    private void AssignPositions(Envelope envelope, Turn turn)
    {
        while (true)
        {
            Entry? busy;
            lock (_lock)
            {
                busy = TryBegin(envelope.Rooms, turn);
                if (busy is null)
                {
                    Keep(envelope, turn.Entries);
                    return;
                }
            }

            // Another publish to the room is under way; the rooms may have changed when it is over.
            busy.Publishing.Enter();
            busy.Publishing.Exit();
        }
    }

    /// <summary>
    /// Looks up the rooms, and locks those with members; returns the first one that another publish holds, with none
    /// locked.
    /// </summary>
    private Entry? TryBegin(string[] rooms, Turn turn)
    {
        turn.Entries.Clear();
        foreach (var room in rooms)
        {
            var entry = policy.Keeps(room) ? Get(room) : null;
            turn.Entries.Add(entry);
            if (entry is null || (present.Find(room) is null && !present.HasPatternOf(room)))
            {
                continue;
            }

            if (!entry.Publishing.TryEnter())
            {
                turn.End();
                return entry;
            }

            turn.Locked.Add(entry);
        }

        return null;
    }

    /// <summary>Keeps a message; called under the lock.</summary>
    private void Keep(Envelope envelope, List<Entry?> entries)
    {
        var positions = new StreamPosition[entries.Count];
        var now = time.GetTimestamp();
        envelope.Positions = positions;
        envelope.Number = ++_published;
        for (var i = 0; i < entries.Count; i++)
        {
            if (entries[i] is { } entry)
            {
                positions[i] = entry.Position = entry.Position with { Seq = entry.Position.Seq + 1 };
            }
        }

        foreach (var entry in entries)
        {
            if (entry is null)
            {
                continue;
            }

            entry.Messages.Add(envelope, now);
            entry.Used = now;
            _order.Enqueue(entry);
            _keptMessages++;
            _keptBytes += Bytes(envelope.Data.Length);
            Expire(entry, now);
        }

        SkipDropped();
        while (_keptBytes > options.HistoryBytes && _order.TryPeek(out var oldest))
        {
            DropOldest(oldest);
            SkipDropped();
        }
    }

    /// <summary>Removes what was dropped from the head of the order, and from all of it when that is most.</summary>
    private void SkipDropped()
    {
        while (_order.TryPeek(out var entry) && entry.Dropped > 0)
        {
            entry.Dropped--;
            _order.Dequeue();
        }

        if (_order.Count > (2 * _keptMessages) + DroppedMax)
        {
            for (var left = _order.Count; left > 0; left--)
            {
                var entry = _order.Dequeue();
                if (entry.Dropped > 0)
                {
                    entry.Dropped--;
                }
                else
                {
                    _order.Enqueue(entry);
                }
            }
        }
    }

    /// <summary>Its data, one encoded frame of about the same size, which a replay adds, and the rest.</summary>
    private static int Bytes(int data) => OverheadBytes + (2 * data);

    private Entry Get(string room)
    {
        if (!_rooms.TryGetValue(room, out var entry))
        {
            if (_rooms.Count >= RoomsMax)
            {
                RemoveIdle();
            }

            entry = _rooms[room] = new Entry(room, policy.Of(room), _epoch, _chunks);
        }

        return entry;
    }

    private void Expire(Entry entry, long now)
    {
        while (entry.Messages.Count > 0)
        {
            var isExpired = time.GetElapsedTime(entry.Messages.OldestSince, now) >= entry.Limits.Ttl;
            if (!isExpired && entry.Messages.Count <= entry.Limits.Size)
            {
                return;
            }

            DropOldest(entry, isExpired);
        }
    }

    private void DropOldest(Entry entry, bool isExpired = false)
    {
        entry.IsLastExpired = isExpired;
        entry.Dropped++;
        _keptMessages--;
        _keptBytes -= Bytes(entry.Messages.DropOldest());
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

    /// <summary>The rooms of one publish, and those of them that it has locked; reused by the thread.</summary>
    private sealed class Turn
    {
        /// <summary>For each room its entry; null without history.</summary>
        public List<Entry?> Entries { get; } = [];

        public List<Entry> Locked { get; } = [];

        public void End()
        {
            foreach (var entry in Locked)
            {
                entry.Publishing.Exit();
            }

            Locked.Clear();
            Entries.Clear();
        }
    }

    /// <summary>One room's position and messages.</summary>
    private sealed class Entry(string room, HistoryLimits limits, string epoch, ChunkPool chunks)
    {
        /// <summary>Held while a message gets its position and is handed to the fan-out.</summary>
        public Lock Publishing { get; } = new();

        public HistoryLimits Limits { get; } = limits;

        public StreamPosition Position { get; set; } = new(epoch, 0);

        public KeptMessages Messages { get; } = new([room], chunks);

        /// <summary>Number of dropped messages that are still in the order.</summary>
        public int Dropped { get; set; }

        public long Used { get; set; }

        /// <summary>Whether the message dropped last had expired.</summary>
        public bool IsLastExpired { get; set; }
    }
}
