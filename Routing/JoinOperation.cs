namespace Dmb.Routing;

/// <summary>
/// A join in progress: the subscriber is in its rooms, and live messages are held. Disposal replays missed messages,
/// then delivers the held ones, and ends the hold.
/// </summary>
internal sealed class JoinOperation(Subscriber subscriber, Membership[] memberships, bool isHeld) : IAsyncDisposable
{
    /// <summary>Replayed messages between two waits for the subscriber's queue.</summary>
    private const int ReplayBatch = 64;

    private readonly List<JoinedRoom> _rooms = new(memberships.Length);

    /// <summary>The messages to replay, and their ids; null while there is none.</summary>
    private List<(Envelope Envelope, int Room)>? _missed;
    private HashSet<string>? _ids;
    private bool _isReleased;

    /// <summary>The outcome of each request, in order.</summary>
    public IReadOnlyList<JoinedRoom> Rooms => _rooms;

    /// <summary>Sends <c>gap</c> for each room whose missed messages cannot all be replayed.</summary>
    public void SendGaps()
    {
        foreach (var room in _rooms.Where(room => room.Recovered == false))
        {
            subscriber.Send(Gap.Event, Gap.ToJson(room.Room, room.Lost, room.Why));
        }
    }

    /// <summary>Replays the missed messages as fast as the subscriber's queue allows, and ends the hold.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isReleased)
        {
            return;
        }

        if (_missed is { } missed)
        {
            await ReplayAsync(missed);
        }

        Release();
    }

    /// <summary>Ends the hold without a replay.</summary>
    public void Release()
    {
        _isReleased = true;
        lock (subscriber.Memberships)
        {
            foreach (var membership in memberships)
            {
                membership.Since = null;
            }
        }

        if (isHeld)
        {
            subscriber.Release(envelope =>
                envelope.Positions is null
                || IsLive(envelope, withoutPosition: true)
                || (subscriber.HasPatternOf(envelope.Rooms) && _ids?.Contains(envelope.Id) != true)
            );
        }
    }

    /// <summary>Adds the outcome of a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="position">The position after which the room's messages reach the subscriber live.</param>
    /// <param name="history">The room's kept messages.</param>
    internal void Add(RoomRequest request, StreamPosition position, RoomHistory history)
    {
        if (request.Since is not { } since || position.IsNone)
        {
            _rooms.Add(new JoinedRoom(request.Room, position));
            return;
        }

        var isSameEpoch = since.Epoch == position.Epoch;
        var kept = 0;
        foreach (var envelope in history.Messages ?? [])
        {
            var at = envelope.PositionIn(request.Room);
            if (at.Epoch != position.Epoch || at.Seq > position.Seq || (isSameEpoch && at.Seq <= since.Seq))
            {
                continue;
            }

            kept++;
            if (!IsLive(envelope, withoutPosition: false) && (_ids ??= []).Add(envelope.Id))
            {
                (_missed ??= []).Add((envelope, Array.IndexOf(envelope.Rooms, request.Room)));
            }
        }

        _rooms.Add(Outcome(request.Room, since, position, kept, history.IsExpired));
    }

    private async ValueTask ReplayAsync(List<(Envelope Envelope, int Room)> missed)
    {
        missed.Sort(static (one, other) => one.Envelope.Number.CompareTo(other.Envelope.Number));
        for (var i = 0; i < missed.Count; i++)
        {
            if (i % ReplayBatch == 0)
            {
                await subscriber.ReadyAsync();
            }

            if (subscriber.QueueFirst(missed[i].Envelope, missed[i].Room))
            {
                subscriber.Flush();
            }
        }
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

    /// <summary>Whether the subscriber gets a message live, by membership of one of its rooms.</summary>
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
