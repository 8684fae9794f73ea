namespace Dmb.Routing;

/// <summary>Subscribers addressed together on this node. Joining and leaving cost the same in a room of any size.</summary>
internal sealed class Room(string name)
{
    private readonly Lock _lock = new();
    private Membership[] _members = new Membership[1];
    private int _count;
    private bool _closed;
    private int _queued;

    public string Name { get; } = name;

    /// <summary>How many subscribers are in it now.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether messages to this room wait in <see cref="FanOut"/>: what comes later has to queue behind them.</summary>
    public bool HasQueued => Volatile.Read(ref _queued) > 0;

    /// <summary>Notes that messages to this room were queued, or, with less than none, that they were delivered.</summary>
    public void AddQueued(int messages) => Interlocked.Add(ref _queued, messages);

    /// <summary>Puts a subscriber in. False when the room was taken out of the table meanwhile: then look it up again.</summary>
    public bool TryJoin(Subscriber subscriber)
    {
        lock (_lock)
        {
            if (_closed)
            {
                return false;
            }

            if (_count == _members.Length)
            {
                Array.Resize(ref _members, _count * 2);
            }

            var membership = new Membership(this, subscriber) { Index = _count };
            _members[_count++] = membership;
            subscriber.Memberships.Add(Name, membership);
            return true;
        }
    }

    /// <summary>Takes a subscriber out. True when it was the last one: the room is closed then.</summary>
    public bool Leave(Membership membership)
    {
        lock (_lock)
        {
            var last = _members[--_count];
            _members[membership.Index] = last;
            last.Index = membership.Index;
            _members[_count] = null!;
            if (_count < _members.Length / 4)
            {
                Array.Resize(ref _members, _members.Length / 2);
            }

            return _closed = _count == 0;
        }
    }

    /// <summary>Copies the subscribers to the front of <paramref name="target"/>, which grows as needed, and counts them.</summary>
    public int CopyTo(ref Subscriber[] target)
    {
        lock (_lock)
        {
            if (target.Length < _count)
            {
                target = new Subscriber[_count * 2];
            }

            for (var i = 0; i < _count; i++)
            {
                target[i] = _members[i].Subscriber;
            }

            return _count;
        }
    }
}
