namespace Dmb.Routing;

/// <summary>Whom a room delivers to. Its rooms change on one thread at a time: whoever reads from its client.</summary>
internal abstract class Subscriber
{
    /// <summary>The rooms it is in. Changed as it joins and leaves <see cref="Room"/>s, and by nothing else.</summary>
    internal Dictionary<string, Membership> Memberships { get; } = [];

    /// <summary>
    /// Queues an envelope; never blocks, never throws. True when nobody is about to flush this subscriber:
    /// then the caller calls <see cref="Flush"/> once it has queued all it has.
    /// </summary>
    public abstract bool Deliver(Envelope envelope);

    /// <summary>Starts writing what was queued; returns without waiting for it.</summary>
    public abstract void Flush();
}

/// <summary>A subscriber's place in a room, so that leaving needs no search.</summary>
internal sealed class Membership(Room room, Subscriber subscriber)
{
    public Room Room { get; } = room;

    public Subscriber Subscriber { get; } = subscriber;

    /// <summary>Where it stands in the room's array; guarded by the room.</summary>
    public int Index { get; set; }
}
