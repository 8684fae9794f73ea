using System.Threading.Channels;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>
/// Delivers envelopes to this node's subscribers: a session in several of the rooms gets one copy, and one publisher's
/// messages to one room arrive in order. Small rooms are served on the publisher's thread. Messages to large rooms, and
/// later ones to the same rooms, are queued for one loop, which batches them into one write per subscriber.
/// </summary>
internal sealed class FanOut(RoomTable rooms, RoutingOptions options, Tail tail, BrokerTelemetry telemetry)
    : BackgroundService
{
    /// <summary>Maximum members of a message's rooms for delivery on the publisher's thread.</summary>
    internal const int InlineMax = 32;

    /// <summary>Capacity of the loop's queue; publishers wait while it is full.</summary>
    private const int QueuedMax = 256;

    /// <summary>
    /// Messages that one round queues at a subscriber before it flushes: far below the limit of a slow consumer.
    /// </summary>
    private readonly int _batchMessagesMax = Math.Clamp(options.MaxPendingMessages / 4, 1, 64);
    private readonly int _batchBytesMax = Math.Min(options.MaxPendingBytes / 4, 65_536);

    private readonly Channel<Queued> _queue = Channel.CreateBounded<Queued>(
        new BoundedChannelOptions(QueuedMax) { SingleReader = true }
    );

    [ThreadStatic]
    private static Round? _round;

    /// <summary>
    /// Delivers or queues an envelope for the subscribers of its rooms. Once it completes, the envelope's data may be
    /// reused.
    /// </summary>
    public ValueTask DeliverAsync(Envelope envelope)
    {
        // Delivery can re-enter on this thread, when a flush finds a client disconnected; a nested call allocates its
        // own round.
        var round = _round ?? new Round();
        _round = null;
        try
        {
            return DeliverAsync(envelope, round);
        }
        finally
        {
            _round = round;
        }
    }

    private ValueTask DeliverAsync(Envelope envelope, Round round)
    {
        var targets = Find(envelope.Rooms, round, out var members, out var mustQueue);
        if (targets.IsEmpty)
        {
            return ValueTask.CompletedTask;
        }

        if (mustQueue || members > InlineMax)
        {
            envelope.Keep();
            var queued = new Queued(envelope, targets.ToArray());
            targets.Clear();
            AddQueued(queued.Rooms, 1);
            return _queue.Writer.WriteAsync(queued);
        }

        round.Deliver(envelope, targets, isAlone: true, tail, telemetry);
        targets.Clear();
        return ValueTask.CompletedTask;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Queued messages are delivered at the stop as well; the server, and with it all publishers, has stopped
        // before.
        using var stopping = stoppingToken.Register(() => _queue.Writer.Complete());
        var reader = _queue.Reader;
        var round = new Round();
        var before = 0;
        while (await reader.WaitToReadAsync(CancellationToken.None))
        {
            var (messages, bytes) = (0, 0);
            for (; messages < _batchMessagesMax && bytes < _batchBytesMax && reader.TryRead(out var queued); messages++)
            {
                // After a batch of several, more messages are expected, so the first is not flushed alone.
                var isAlone = messages == 0 && before <= 1 && !reader.TryPeek(out _);
                round.Deliver(queued.Envelope, queued.Rooms, isAlone, tail, telemetry);
                bytes += queued.Envelope.Data.Length;
                AddQueued(queued.Rooms, -1);
            }

            round.Flush();
            before = messages;
        }
    }

    /// <summary>
    /// Finds the rooms with members on this node, the number of members, and whether a room has queued messages.
    /// </summary>
    private Span<Room> Find(string[] names, Round round, out int members, out bool mustQueue)
    {
        (members, mustQueue) = (0, false);
        foreach (var name in names)
        {
            if (rooms.Find(name) is { } room)
            {
                round.Add(room);
            }

            if (rooms.HasPatterns)
            {
                AddPatterns(name, round);
            }
        }

        var found = round.TakeFound();
        foreach (var room in found)
        {
            members += room.Count;
            mustQueue |= room.HasQueued;
        }

        return found;
    }

    /// <summary>
    /// Adds the patterns that match a room: one lookup for each of its colons, however many there are.
    /// </summary>
    private void AddPatterns(string name, Round round)
    {
        for (var colon = name.IndexOf(':'); colon >= 0; colon = name.IndexOf(':', colon + 1))
        {
            if (rooms.FindPattern(name.AsSpan(0, colon + 1)) is { } pattern && !round.HasFound(pattern))
            {
                round.Add(pattern);
            }
        }
    }

    private static void AddQueued(Room[] rooms, int messages)
    {
        foreach (var room in rooms)
        {
            room.AddQueued(messages);
        }
    }

    /// <summary>A class, so that the channel's shared generic code is precompiled.</summary>
    private sealed record Queued(Envelope Envelope, Room[] Rooms);

    /// <summary>Delivers messages as one batch, and collects the subscribers to flush after it.</summary>
    private sealed class Round
    {
        private readonly HashSet<Subscriber> _reached = [];
        private readonly List<Subscriber> _toFlush = [];
        private Subscriber[] _members = new Subscriber[InlineMax];
        private Room[] _found = new Room[4];
        private int _foundCount;

        /// <summary>Adds a room to those that were found.</summary>
        public void Add(Room room)
        {
            if (_foundCount == _found.Length)
            {
                Array.Resize(ref _found, _foundCount * 2);
            }

            _found[_foundCount++] = room;
        }

        /// <summary>Whether a room was found already.</summary>
        public bool HasFound(Room room) => Array.IndexOf(_found, room, 0, _foundCount) >= 0;

        /// <summary>The rooms that were found, in a reused buffer, which the caller clears.</summary>
        public Span<Room> TakeFound()
        {
            var found = _found.AsSpan(0, _foundCount);
            _foundCount = 0;
            return found;
        }

        /// <param name="envelope">The envelope to deliver.</param>
        /// <param name="rooms">Its rooms with members.</param>
        /// <param name="isAlone">True for a batch of one: it is written at once.</param>
        /// <param name="tail">Records deliveries while it is open.</param>
        /// <param name="telemetry">Counts deliveries.</param>
        public void Deliver(Envelope envelope, Span<Room> rooms, bool isAlone, Tail tail, BrokerTelemetry telemetry)
        {
            using var deliver = MessageSpans.Deliver(envelope);
            var delivered = 0;
            LargestLast(rooms);
            for (var r = 0; r < rooms.Length; r++)
            {
                var isLast = r == rooms.Length - 1;
                var room = envelope.Positions is null ? 0 : rooms[r].IndexIn(envelope.Rooms);
                var position = rooms[r].IsPattern ? null : envelope.Positions?[room];
                var count = rooms[r].CopyTo(ref _members, position ?? default, envelope.PlacedAfter);
                foreach (var subscriber in _members.AsSpan(0, count))
                {
                    if (rooms.Length > 1 && (isLast ? _reached.Contains(subscriber) : !_reached.Add(subscriber)))
                    {
                        continue;
                    }

                    delivered++;
                    if (isAlone)
                    {
                        subscriber.DeliverNow(envelope, room);
                    }
                    else if (subscriber.Deliver(envelope, room))
                    {
                        _toFlush.Add(subscriber);
                    }
                }

                _members.AsSpan(0, count).Clear();
            }

            _reached.Clear();
            envelope.ReleaseFrames();
            deliver?.SetTag("dmb.sessions", delivered);
            if (delivered > 0)
            {
                telemetry.Delivered.Add(delivered);
                telemetry.DeliveredNow(envelope.Id);
                if (tail.IsOpen)
                {
                    tail.Delivered(envelope, delivered);
                }
            }
        }

        /// <summary>
        /// Moves the largest room to the end: its members are only looked up in the set of reached subscribers, not
        /// added.
        /// </summary>
        private static void LargestLast(Span<Room> rooms)
        {
            var largest = 0;
            for (var r = 1; r < rooms.Length; r++)
            {
                largest = rooms[r].Count > rooms[largest].Count ? r : largest;
            }

            (rooms[largest], rooms[^1]) = (rooms[^1], rooms[largest]);
        }

        public void Flush()
        {
            foreach (var subscriber in _toFlush)
            {
                subscriber.Flush();
            }

            _toFlush.Clear();
        }
    }
}
