namespace Dmb.Routing;

/// <summary>
/// Messages whose rooms are in several groups of the backplane: a copy comes by each group, in its order, and a
/// subscriber in rooms of several groups gets the first. Those of the last minutes are known. Thread-safe.
/// </summary>
/// <param name="rooms">The rooms of this node.</param>
/// <param name="life">How long a message is known at least.</param>
/// <param name="time">The clock.</param>
internal sealed class Copies(RoomTable rooms, TimeSpan life, TimeProvider time)
{
    private const int GenerationMax = 100_000;

    private readonly Lock _lock = new();
    private Dictionary<string, Reached> _now = [];
    private Dictionary<string, Reached> _before = [];
    private long _since = time.GetTimestamp();

    /// <summary>
    /// Has subscribers get one copy of a message; without effect where no other copy reaches this node.
    /// </summary>
    public Envelope Mark(Envelope envelope)
    {
        if (envelope.Elsewhere.Length > 0 && Array.Exists(envelope.Elsewhere, HasMembers))
        {
            envelope.Reached = Of(envelope.Id);
        }

        return envelope;
    }

    private bool HasMembers(string room) => rooms.Find(room) is not null || rooms.HasPatternOf(room);

    private Reached Of(string id)
    {
        lock (_lock)
        {
            if (_now.Count >= GenerationMax || time.GetElapsedTime(_since) >= life)
            {
                (_before, _now) = (_now, _before);
                _now.Clear();
                _since = time.GetTimestamp();
            }

            if (!_now.TryGetValue(id, out var reached) && !_before.TryGetValue(id, out reached))
            {
                _now[id] = reached = new Reached();
            }

            return reached;
        }
    }
}

/// <summary>
/// The subscribers that have got a copy of one message, of those that several copies reach. Thread-safe.
/// </summary>
internal sealed class Reached
{
    private readonly HashSet<Subscriber> _subscribers = [];

    /// <summary>
    /// Queues a copy at a subscriber that has got no other. The other copies wait meanwhile, so that what follows them
    /// is not queued before this one.
    /// </summary>
    /// <returns>As <see cref="Subscriber.Deliver"/>.</returns>
    public bool Queue(Subscriber subscriber, Envelope envelope, int room)
    {
        if (!subscriber.IsReachedBy(envelope.Elsewhere))
        {
            return subscriber.Queue(envelope, room);
        }

        lock (_subscribers)
        {
            return _subscribers.Add(subscriber) && subscriber.Queue(envelope, room);
        }
    }
}
