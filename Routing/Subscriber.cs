namespace Dmb.Routing;

/// <summary>Whom a room delivers to.</summary>
internal abstract class Subscriber
{
    /// <summary>Public name, unique over the cluster.</summary>
    public string Id { get; } = Guid.NewGuid().ToString("N");

    /// <summary>The rooms it is in. Read and changed by <see cref="RoomTable"/>, under a lock on it.</summary>
    internal Dictionary<string, Membership> Memberships { get; } = [];

    /// <summary>
    /// Queues an envelope; never blocks, never throws. True when nobody is about to flush this subscriber:
    /// then the caller calls <see cref="Flush"/> once it has queued all it has.
    /// </summary>
    public abstract bool Deliver(Envelope envelope);

    /// <summary>Queues an event of the broker's own as <see cref="Deliver"/> queues an envelope.</summary>
    public abstract bool Queue(string @event, ReadOnlySpan<byte> data);

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
}

/// <summary>A subscriber's place in a room, so that leaving needs no search.</summary>
internal sealed class Membership(Room room, Subscriber subscriber)
{
    public Room Room { get; } = room;

    public Subscriber Subscriber { get; } = subscriber;

    /// <summary>Where it stands in the room's array; guarded by the room.</summary>
    public int Index { get; set; }
}
