namespace Dmb.Routing;

/// <summary>
/// Subscribers addressed together on this node. Joining and leaving cost the same in a room of any size.
/// </summary>
internal sealed class Room(string name)
{
    private readonly Lock _lock = new();
    private Membership[] _members = new Membership[1];
    private int _count;
    private bool _closed;
    private int _queued;

    /// <summary>Up to where the room's messages were handed to its subscribers; none until that is known.</summary>
    private StreamPosition _last;

    public string Name { get; } = name;

    /// <summary>How many subscribers are in it now.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>
    /// Whether messages to this room wait in <see cref="FanOut"/>: what comes later has to queue behind them.
    /// </summary>
    public bool HasQueued => Volatile.Read(ref _queued) > 0;

    /// <summary>
    /// Notes that messages to this room were queued, or, with less than none, that they were delivered.
    /// </summary>
    public void AddQueued(int messages) => Interlocked.Add(ref _queued, messages);

    /// <summary>
    /// Up to where the room's messages were handed to its subscribers here; none until that is known, or in a room
    /// without history.
    /// </summary>
    public StreamPosition Last
    {
        get
        {
            lock (_lock)
            {
                return _last;
            }
        }
    }

    /// <summary>
    /// Puts a subscriber in: what comes behind <see cref="Last"/> reaches it. False when the room was taken out of the
    /// table meanwhile: then look it up again.
    /// </summary>
    public bool TryJoin(Subscriber subscriber, out Membership membership)
    {
        lock (_lock)
        {
            membership = new Membership(this, subscriber)
            {
                Index = _count,
                After = _last.IsNone ? Membership.Unknown : _last.Seq,
            };
            if (_closed)
            {
                return false;
            }

            if (_count == _members.Length)
            {
                Array.Resize(ref _members, _count * 2);
            }

            _members[_count++] = membership;
            subscriber.Memberships.Add(Name, membership);
            return true;
        }
    }

    /// <summary>
    /// Tells where the room's history stood after a subscriber had joined, which counts if it was unknown, and up to
    /// where it has the messages already; gives the place from which on all reach it.
    /// </summary>
    public StreamPosition Start(Membership membership, StreamPosition now, StreamPosition has)
    {
        lock (_lock)
        {
            if (_last.IsNone && !now.IsNone)
            {
                MoveTo(now);
            }

            if (membership.After < 0)
            {
                membership.After = _last.Seq;
            }

            if (has.Epoch == _last.Epoch && has.Seq > membership.After)
            {
                membership.After = has.Seq;
            }

            return _last with
            {
                Seq = membership.After,
            };
        }
    }

    /// <summary>From where on the room's messages reach a subscriber; none as long as that is not known.</summary>
    public StreamPosition StartOf(Membership membership)
    {
        lock (_lock)
        {
            return membership.After < 0 || _last.IsNone ? default : _last with { Seq = membership.After };
        }
    }

    /// <summary>Where the room's history stands is not known any more.</summary>
    public void Forget()
    {
        lock (_lock)
        {
            _last = default;
        }
    }

    /// <summary>
    /// Whether a message reaches a subscriber of this room because it is in it, and not by being replayed.
    /// </summary>
    public bool Reaches(Membership membership, StreamPosition message)
    {
        lock (_lock)
        {
            return message.Epoch != _last.Epoch || message.Seq > membership.After;
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

    /// <summary>
    /// Copies the subscribers to the front of <paramref name="target"/>, which grows as needed, and counts them. Of a
    /// message at a position, those that lack it: none if it was handed out before.
    /// </summary>
    public int CopyTo(ref Subscriber[] target, StreamPosition position = default)
    {
        lock (_lock)
        {
            if (!position.IsNone && !MoveTo(position))
            {
                return 0;
            }

            if (target.Length < _count)
            {
                target = new Subscriber[_count * 2];
            }

            var seq = position.IsNone ? long.MaxValue : position.Seq;
            var copied = 0;
            for (var i = 0; i < _count; i++)
            {
                if (_members[i].After < seq)
                {
                    target[copied++] = _members[i].Subscriber;
                }
            }

            return copied;
        }
    }

    /// <summary>False if it was there before.</summary>
    private bool MoveTo(StreamPosition position)
    {
        if (position.Epoch != _last.Epoch)
        {
            // Each member is in the room from the beginning of this epoch on.
            for (var i = 0; i < _count; i++)
            {
                _members[i].After = Math.Min(_members[i].After, 0);
            }
        }
        else if (position.Seq <= _last.Seq)
        {
            return false;
        }

        _last = position;
        return true;
    }
}
