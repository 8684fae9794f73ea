namespace Dmb.Routing;

/// <summary>
/// A join on its way: the subscriber is in its rooms, and what is published there waits. Disposing it sends what the
/// subscriber missed, then what has waited, and lets all that follows through.
/// </summary>
internal sealed class JoinOperation(Subscriber subscriber, bool isHeld) : IAsyncDisposable
{
    /// <summary>Messages after which a subscriber is asked whether it can take more.</summary>
    private const int ReplayBatch = 64;

    private readonly List<JoinedRoom> _rooms = [];
    private readonly List<(Envelope Envelope, int Room)> _missed = [];
    private readonly HashSet<string> _ids = [];
    private bool _isReleased;

    /// <summary>What became of each request, in their order.</summary>
    public IReadOnlyList<JoinedRoom> Rooms => _rooms;

    /// <summary>Tells the subscriber of each room for which not all that it missed can be replayed.</summary>
    public void SendGaps()
    {
        foreach (var room in _rooms.Where(room => room.Recovered == false))
        {
            subscriber.Send(Gap.Event, Gap.ToJson(room.Room, room.Lost, room.Why));
        }
    }

    /// <summary>
    /// Sends what was missed, at the pace at which the subscriber takes it, and lets everything through.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (_isReleased)
        {
            return;
        }

        _missed.Sort(static (one, other) => one.Envelope.Number.CompareTo(other.Envelope.Number));
        for (var i = 0; i < _missed.Count; i++)
        {
            if (i % ReplayBatch == 0)
            {
                await subscriber.ReadyAsync();
            }

            if (subscriber.Queue(_missed[i].Envelope, _missed[i].Room))
            {
                subscriber.Flush();
            }
        }

        Release();
    }

    /// <summary>Lets everything through, without what was missed.</summary>
    public void Release()
    {
        _isReleased = true;
        if (isHeld)
        {
            subscriber.Release(envelope => envelope.Positions is null || IsLive(envelope, withoutPosition: true));
        }
    }

    /// <summary>Notes what became of a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="position">From where on the room's messages reach the subscriber.</param>
    /// <param name="history">What is kept.</param>
    internal void Add(RoomRequest request, StreamPosition position, RoomHistory history)
    {
        if (request.Since is not { } since || position.IsNone)
        {
            _rooms.Add(new JoinedRoom(request.Room, position));
            return;
        }

        var isSameLife = since.Epoch == position.Epoch;
        var kept = 0;
        foreach (var envelope in history.Messages ?? [])
        {
            var place = envelope.PositionIn(request.Room);
            if (place.Epoch != position.Epoch || place.Seq > position.Seq || (isSameLife && place.Seq <= since.Seq))
            {
                continue;
            }

            kept++;
            if (!IsLive(envelope, withoutPosition: false) && _ids.Add(envelope.Id))
            {
                _missed.Add((envelope, Array.IndexOf(envelope.Rooms, request.Room)));
            }
        }

        _rooms.Add(Outcome(request.Room, since, position, kept, history.IsExpired));
    }

    private static JoinedRoom Outcome(
        string room,
        StreamPosition since,
        StreamPosition position,
        int kept,
        bool isExpired
    )
    {
        if (since.Epoch != position.Epoch || since.Seq > position.Seq)
        {
            return new JoinedRoom(room, position, false, since.Epoch != position.Epoch ? "epoch" : "future");
        }

        var lost = position.Seq - since.Seq - kept;
        return lost == 0
            ? new JoinedRoom(room, position, true)
            : new JoinedRoom(room, position, false, isExpired ? "expired" : "trimmed", lost);
    }

    /// <summary>Whether the subscriber gets, or got, a message because it is in one of its rooms.</summary>
    private bool IsLive(Envelope envelope, bool withoutPosition)
    {
        lock (subscriber.Memberships)
        {
            for (var i = 0; i < envelope.Rooms.Length; i++)
            {
                if (
                    subscriber.Memberships.TryGetValue(envelope.Rooms[i], out var membership)
                    && (
                        envelope.Positions![i].IsNone
                            ? withoutPosition
                            : membership.Room.Reaches(membership, envelope.Positions[i])
                    )
                )
                {
                    return true;
                }
            }
        }

        return false;
    }
}
