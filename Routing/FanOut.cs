using System.Threading.Channels;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>
/// Delivers envelopes to this node's subscribers: a session in several of the rooms gets one copy, and one publisher's
/// messages to one room arrive in order. Small rooms are served on the publisher's thread; messages to large ones, and
/// those that come behind them, are taken by one loop that joins what has queued up into one write per subscriber.
/// </summary>
internal sealed class FanOut(RoomTable rooms, RoutingOptions options, BrokerTelemetry telemetry) : BackgroundService
{
    /// <summary>Members of all rooms of a message up to which it is delivered before its publisher goes on.</summary>
    internal const int InlineMax = 32;

    /// <summary>Messages waiting for the loop before publishers wait too.</summary>
    private const int QueuedMax = 256;

    /// <summary>
    /// What one round queues at a subscriber before it flushes: far from what would make it a slow consumer.
    /// </summary>
    private readonly int _batchMessagesMax = Math.Clamp(options.MaxPendingMessages / 4, 1, 64);
    private readonly int _batchBytesMax = Math.Min(options.MaxPendingBytes / 4, 65_536);

    private readonly Channel<Queued> _queue = Channel.CreateBounded<Queued>(
        new BoundedChannelOptions(QueuedMax) { SingleReader = true }
    );

    [ThreadStatic]
    private static Round? _round;

    /// <summary>
    /// Hands an envelope to the subscribers of its rooms. Completes when it was delivered or has its place in the
    /// queue; the envelope's data may be reused from then on.
    /// </summary>
    public ValueTask DeliverAsync(Envelope envelope)
    {
        // A flush that finds a client gone may have more delivered on this thread: that has a round of its own.
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

        round.Deliver(envelope, targets, isAlone: true, telemetry);
        targets.Clear();
        return ValueTask.CompletedTask;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // What was taken is delivered, also when the node stops: the server, and with it all publishers, has stopped
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
                // Where several came together the last time, more come while the first one is being queued.
                var isAlone = messages == 0 && before <= 1 && !reader.TryPeek(out _);
                round.Deliver(queued.Envelope, queued.Rooms, isAlone, telemetry);
                bytes += queued.Envelope.Data.Length;
                AddQueued(queued.Rooms, -1);
            }

            round.Flush();
            before = messages;
        }
    }

    /// <summary>
    /// The rooms with members on this node, how many members that is, and whether messages wait for one of them.
    /// </summary>
    private Span<Room> Find(string[] names, Round round, out int members, out bool mustQueue)
    {
        (members, mustQueue) = (0, false);
        var found = round.Found(names.Length);
        var count = 0;
        foreach (var name in names)
        {
            if (rooms.Find(name) is { } room)
            {
                found[count++] = room;
                members += room.Count;
                mustQueue |= room.HasQueued;
            }
        }

        return found[..count];
    }

    private static void AddQueued(Room[] rooms, int messages)
    {
        foreach (var room in rooms)
        {
            room.AddQueued(messages);
        }
    }

    /// <summary>A class, so that the channel's code is there before the node starts, and not compiled then.</summary>
    private sealed record Queued(Envelope Envelope, Room[] Rooms);

    /// <summary>
    /// Messages delivered together, and the subscribers that are to be flushed after the last of them.
    /// </summary>
    private sealed class Round
    {
        private readonly HashSet<Subscriber> _reached = [];
        private readonly List<Subscriber> _toFlush = [];
        private Subscriber[] _members = new Subscriber[InlineMax];
        private Room[] _found = new Room[4];

        /// <summary>Space for rooms, to be cleared after use.</summary>
        public Span<Room> Found(int rooms)
        {
            if (_found.Length < rooms)
            {
                _found = new Room[rooms];
            }

            return _found;
        }

        /// <param name="envelope">What to deliver.</param>
        /// <param name="rooms">Where.</param>
        /// <param name="isAlone">
        /// Nothing else is to be joined with it: it is written at once, while the subscriber is at hand.
        /// </param>
        /// <param name="telemetry">Counts it.</param>
        public void Deliver(Envelope envelope, Span<Room> rooms, bool isAlone, BrokerTelemetry telemetry)
        {
            using var deliver = MessageSpans.Deliver(envelope);
            var delivered = 0;
            LargestLast(rooms);
            for (var r = 0; r < rooms.Length; r++)
            {
                var isLast = r == rooms.Length - 1;
                var room = envelope.Positions is null ? 0 : Array.IndexOf(envelope.Rooms, rooms[r].Name);
                var count = rooms[r].CopyTo(ref _members, envelope.Positions?[room] ?? default);
                foreach (var subscriber in envelope.Data.IsEmpty ? [] : _members.AsSpan(0, count))
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
            deliver?.SetTag("dmb.sessions", delivered);
            if (delivered > 0)
            {
                telemetry.Delivered.Add(delivered);
                telemetry.DeliveredNow(envelope.Id);
            }
        }

        /// <summary>The largest room's members are looked up in the set of the others', and never put there.</summary>
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
