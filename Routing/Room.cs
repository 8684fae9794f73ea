namespace Dmb.Routing;

/// <summary>The subscribers of one room on this node. Joining and leaving take constant time.</summary>
internal sealed class Room(string name)
{
    private readonly Lock _lock = new();
    private Membership[] _members = new Membership[1];
    private int _count;
    private bool _closed;
    private int _queued;

    /// <summary>The position of the last message delivered to the room's subscribers; none until it is known.</summary>
    private StreamPosition _last;

    public string Name { get; } = name;

    /// <summary>Whether its name is a pattern: its subscribers get the messages of all rooms that match.</summary>
    public bool IsPattern { get; } = Names.IsPattern(name);

    /// <summary>The index of this room among a message's; for a pattern, of the first that matches.</summary>
    public int IndexIn(string[] rooms)
    {
        if (!IsPattern)
        {
            return Array.IndexOf(rooms, Name);
        }

        var index = 0;
        while (!rooms[index].AsSpan().StartsWith(Name.AsSpan(0, Name.Length - 1), StringComparison.Ordinal))
        {
            index++;
        }

        return index;
    }

    /// <summary>Number of subscribers.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>
    /// Whether <see cref="FanOut"/> has queued messages for this room; later ones are queued behind them.
    /// </summary>
    public bool HasQueued => Volatile.Read(ref _queued) > 0;

    /// <summary>Counts queued messages; negative when they were delivered.</summary>
    public void AddQueued(int messages) => Interlocked.Add(ref _queued, messages);

    /// <summary>
    /// The position of the last message delivered to this node's subscribers; none until it is known, or without
    /// history.
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
    /// Adds a subscriber, which messages after <see cref="Last"/> reach. False if the room was closed: then look it up
    /// again.
    /// </summary>
    /// <param name="subscriber">The subscriber.</param>
    /// <param name="membership">Its membership.</param>
    /// <param name="isPlaced">The first value of <see cref="Membership.IsPlaced"/>.</param>
    public bool TryJoin(Subscriber subscriber, out Membership membership, bool isPlaced = false)
    {
        lock (_lock)
        {
            membership = new Membership(this, subscriber, isPlaced)
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
    /// Sets a member's start: the later of the room's position when it joined and the position that it has already.
    /// Returns the position after which all messages reach it.
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

    /// <summary>The position after which messages reach a member; none until it is known.</summary>
    public StreamPosition StartOf(Membership membership)
    {
        lock (_lock)
        {
            return membership.After < 0 || _last.IsNone ? default : _last with { Seq = membership.After };
        }
    }

    /// <summary>Clears the room's position, which is unknown from now on.</summary>
    public void Forget()
    {
        lock (_lock)
        {
            _last = default;
        }
    }

    /// <summary>Whether a message reaches a member live and not by a replay.</summary>
    public bool Reaches(Membership membership, StreamPosition message)
    {
        lock (_lock)
        {
            return message.Epoch != _last.Epoch || (membership.After >= 0 && message.Seq > membership.After);
        }
    }

    /// <summary>Removes a subscriber; true if it was the last one, which closes the room.</summary>
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
    /// Copies the subscribers to <paramref name="target"/>, which grows as needed, and returns their number. For a
    /// message with a position: only those that it has not reached; none if it was delivered before. A member whose
    /// start is not known yet is left out: its start will be at this message or behind it, and until the copy is used
    /// its replay may be over.
    /// </summary>
    /// <param name="target">The array.</param>
    /// <param name="position">The message's position; none for a message without one.</param>
    /// <param name="placedAfter">For a copy: its <see cref="Envelope.PlacedAfter"/>.</param>
    public int CopyTo(ref Subscriber[] target, StreamPosition position = default, long? placedAfter = null)
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
                var member = _members[i];
                if (
                    member.After < seq
                    && (position.IsNone || member.After >= 0)
                    && (placedAfter is not { } number || (member.IsPlaced && member.Number > number))
                )
                {
                    target[copied++] = member.Subscriber;
                }
            }

            return copied;
        }
    }

    /// <summary>Advances the position; false if the room is past it already.</summary>
    private bool MoveTo(StreamPosition position)
    {
        if (position.Epoch != _last.Epoch)
        {
            // All members joined before the new epoch began, so all its messages reach them.
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
