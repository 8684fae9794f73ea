namespace Dmb.Routing;

/// <summary>A recipient of a room's messages, with a queue and a hold during replays.</summary>
internal abstract class Subscriber
{
    /// <summary>Public name, unique over the cluster.</summary>
    public string Id { get; init; } = Guid.NewGuid().ToString("N");

    /// <summary>Its rooms. Changed by <see cref="RoomTable"/>, under a lock on this dictionary.</summary>
    internal Dictionary<string, Membership> Memberships { get; } = [];

    /// <summary>Messages held during a replay; null without one.</summary>
    private Held? _held;

    /// <summary>
    /// Queues or holds an envelope; never blocks, never throws. True if the caller has to call <see cref="Flush"/>
    /// after its last envelope.
    /// </summary>
    /// <param name="envelope">The envelope.</param>
    /// <param name="room">Index in <see cref="Envelope.Rooms"/> of the room that it is reached by.</param>
    public bool Deliver(Envelope envelope, int room) => !TryHold(envelope, room) && QueueFirst(envelope, room);

    /// <summary>Delivers a single envelope, and starts writing it; never blocks, never throws.</summary>
    public void DeliverNow(Envelope envelope, int room)
    {
        if (TryHold(envelope, room))
        {
            return;
        }

        if (envelope.Reached is null)
        {
            Send(envelope, room);
        }
        else if (QueueFirst(envelope, room))
        {
            Flush();
        }
    }

    /// <summary>
    /// Queues an envelope, regardless of a hold, unless another copy of it was queued. Returns as <see
    /// cref="Deliver"/>.
    /// </summary>
    public bool QueueFirst(Envelope envelope, int room) =>
        envelope.Reached is { } reached ? reached.Queue(this, envelope, room) : Queue(envelope, room);

    /// <summary>Queues an envelope, regardless of a hold. Returns as <see cref="Deliver"/>.</summary>
    public abstract bool Queue(Envelope envelope, int room);

    /// <summary>Queues an event of the broker's own. Returns as <see cref="Deliver"/>.</summary>
    public abstract bool Queue(string @event, ReadOnlySpan<byte> data);

    /// <summary>Completes when the queue has space, or the subscriber has ended.</summary>
    public virtual ValueTask ReadyAsync() => ValueTask.CompletedTask;

    /// <summary>
    /// Whether one more envelope can be held, given the number of held ones and their total bytes with it.
    /// </summary>
    protected virtual bool CanHold(int messages, long bytes) => true;

    /// <summary>Called when an envelope cannot be held; the subscriber has to end.</summary>
    protected virtual void OnHoldOverflow() { }

    /// <summary>Holds delivered envelopes until <see cref="Release"/>.</summary>
    public void Hold() => Volatile.Write(ref _held, new Held());

    /// <summary>Queues the held envelopes that pass the filter, and ends the hold.</summary>
    public void Release(Func<Envelope, bool> isWanted)
    {
        while (_held is { } held)
        {
            (Envelope Envelope, int Room)[] waiting;
            lock (held)
            {
                waiting = [.. held.Envelopes];
                held.Envelopes.Clear();
                held.Bytes = 0;
                if (waiting.Length == 0)
                {
                    Volatile.Write(ref _held, null);
                }
            }

            var mustFlush = false;
            foreach (var (envelope, room) in waiting)
            {
                mustFlush |= isWanted(envelope) && QueueFirst(envelope, room);
            }

            if (mustFlush)
            {
                Flush();
            }
        }
    }

    /// <summary>Whether it is in one of these rooms, or has a pattern of one.</summary>
    public bool IsReachedBy(string[] rooms)
    {
        lock (Memberships)
        {
            return Array.Exists(rooms, Memberships.ContainsKey) || HasPatternOf(rooms);
        }
    }

    /// <summary>Whether it has a pattern that matches one of these rooms.</summary>
    public bool HasPatternOf(string[] rooms)
    {
        lock (Memberships)
        {
            return Memberships.Values.Any(membership =>
                membership.Room.IsPattern
                && rooms.Any(room => room.StartsWith(membership.Room.Name[..^1], StringComparison.Ordinal))
            );
        }
    }

    /// <summary>Starts writing the queue; returns without waiting.</summary>
    public abstract void Flush();

    /// <summary>Sends an event of the broker's own; never blocks, never throws.</summary>
    public void Send(string @event, ReadOnlySpan<byte> data)
    {
        if (Queue(@event, data))
        {
            Flush();
        }
    }

    protected virtual void Send(Envelope envelope, int room)
    {
        if (Queue(envelope, room))
        {
            Flush();
        }
    }

    private bool TryHold(Envelope envelope, int room)
    {
        if (Volatile.Read(ref _held) is not { } held)
        {
            return false;
        }

        lock (held)
        {
            if (_held != held)
            {
                return false;
            }

            if (CanHold(held.Envelopes.Count, held.Bytes + envelope.Data.Length))
            {
                envelope.Keep();
                held.Envelopes.Add((envelope, room));
                held.Bytes += envelope.Data.Length;
                return true;
            }
        }

        OnHoldOverflow();
        return true;
    }

    private sealed class Held
    {
        public List<(Envelope Envelope, int Room)> Envelopes { get; } = [];

        public long Bytes { get; set; }
    }
}

/// <summary>A subscriber's membership of a room, with its index there, so that leaving needs no search.</summary>
internal sealed class Membership(Room room, Subscriber subscriber, bool isPlaced)
{
    private static long _made;

    /// <summary>Number of memberships made so far.</summary>
    public static long Made => Volatile.Read(ref _made);

    /// <summary>Its number among all memberships, from 1.</summary>
    public long Number { get; } = Interlocked.Increment(ref _made);

    /// <summary>
    /// Whether the subscriber was told a position in the room, and gets all behind it. Without: it joined while this
    /// node delivered messages that had none.
    /// </summary>
    public bool IsPlaced { get; set; } = isPlaced;

    public Room Room { get; } = room;

    public Subscriber Subscriber { get; } = subscriber;

    /// <summary>Its index in the room's array; guarded by the room.</summary>
    public int Index { get; set; }

    /// <summary>
    /// The sequence number after which messages reach it, or <see cref="Unknown"/>; guarded by the room.
    /// </summary>
    public long After { get; set; }

    /// <summary>
    /// The position that the subscriber asked for when it joined, until it was sent what it missed; then null. Guarded
    /// by <see cref="Subscriber.Memberships"/>.
    /// </summary>
    public string? Since { get; set; }

    /// <summary>The room's position when it joined is not known yet.</summary>
    public const long Unknown = -1;
}
