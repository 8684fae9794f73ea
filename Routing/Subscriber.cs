namespace Dmb.Routing;

/// <summary>Whom a room delivers to.</summary>
internal abstract class Subscriber
{
    /// <summary>Public name, unique over the cluster.</summary>
    public string Id { get; init; } = Guid.NewGuid().ToString("N");

    /// <summary>The rooms it is in. Read and changed by <see cref="RoomTable"/>, under a lock on it.</summary>
    internal Dictionary<string, Membership> Memberships { get; } = [];

    /// <summary>What waits until a replay is over; null while there is none.</summary>
    private Held? _held;

    /// <summary>
    /// Hands it an envelope; never blocks, never throws. True when no flush of this subscriber is due:
    /// then the caller calls <see cref="Flush"/> once it has queued all it has.
    /// </summary>
    /// <param name="envelope">The envelope.</param>
    /// <param name="room">By which of the envelope's rooms it is reached.</param>
    public bool Deliver(Envelope envelope, int room) => !TryHold(envelope, room) && Queue(envelope, room);

    /// <summary>
    /// Hands it an envelope behind which none comes at once, and starts writing it; never blocks, never throws.
    /// </summary>
    public void DeliverNow(Envelope envelope, int room)
    {
        if (!TryHold(envelope, room))
        {
            Send(envelope, room);
        }
    }

    /// <summary>Queues an envelope at once, as <see cref="Deliver"/> does when nothing is held.</summary>
    public abstract bool Queue(Envelope envelope, int room);

    /// <summary>Queues an event of the broker's own as <see cref="Deliver"/> queues an envelope.</summary>
    public abstract bool Queue(string @event, ReadOnlySpan<byte> data);

    /// <summary>Completes when there is room for more to be queued, or no use in it.</summary>
    public virtual ValueTask ReadyAsync() => ValueTask.CompletedTask;

    /// <summary>Whether one more envelope may be held, beside so many, with all of their data's bytes.</summary>
    protected virtual bool MayHold(int messages, long bytes) => true;

    /// <summary>One could not be held: the subscriber has to end.</summary>
    protected virtual void OnHeldTooMany() { }

    /// <summary>From here on what is delivered waits, until <see cref="Release"/>.</summary>
    public void Hold() => Volatile.Write(ref _held, new Held());

    /// <summary>Queues what waited, of that what is wanted, and lets everything through again.</summary>
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
                mustFlush |= isWanted(envelope) && Queue(envelope, room);
            }

            if (mustFlush)
            {
                Flush();
            }
        }
    }

    /// <summary>Starts writing what was queued; returns without waiting for it.</summary>
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

            if (MayHold(held.Envelopes.Count, held.Bytes + envelope.Data.Length))
            {
                envelope.Keep();
                held.Envelopes.Add((envelope, room));
                held.Bytes += envelope.Data.Length;
                return true;
            }
        }

        OnHeldTooMany();
        return true;
    }

    private sealed class Held
    {
        public List<(Envelope Envelope, int Room)> Envelopes { get; } = [];

        public long Bytes { get; set; }
    }
}

/// <summary>A subscriber's place in a room, so that leaving needs no search.</summary>
internal sealed class Membership(Room room, Subscriber subscriber)
{
    public Room Room { get; } = room;

    public Subscriber Subscriber { get; } = subscriber;

    /// <summary>Where it stands in the room's array; guarded by the room.</summary>
    public int Index { get; set; }

    /// <summary>
    /// The number, in the life of the room's count, of the last message that it does not need, or
    /// <see cref="Unknown"/>; guarded by the room.
    /// </summary>
    public long After { get; set; }

    /// <summary>It is not known yet where the room's history stood when it joined.</summary>
    public const long Unknown = -1;
}
