namespace Dmb.Routing;

/// <summary>
/// Puts subscribers in rooms, and gives those who come back what they missed (docs/protocol.md §7). What is live waits while what was
/// missed is replayed; each message comes once, its positions deciding.
/// </summary>
internal sealed class RoomJoins(RoomTable rooms, IBackplane backplane, HistoryPolicy policy)
{
    /// <summary>Rooms up to which they are joined on the thread that saw the wish come; more would keep others waiting.</summary>
    private const int InlineMax = 32;

    /// <summary>Puts a subscriber that missed nothing in rooms.</summary>
    public ValueTask<Joining> JoinAsync(Subscriber subscriber, IEnumerable<string> names) =>
        JoinAsync(subscriber, [.. names.Select(name => new RoomRequest(name))]);

    /// <summary>
    /// Puts a subscriber in rooms. Completes when what is published to them from now on, on any node, reaches it. What it missed, and
    /// then all that is live, comes with <see cref="Joining.ReplayAsync"/>, which has to be called.
    /// </summary>
    /// <param name="subscriber">Who.</param>
    /// <param name="requests">Where.</param>
    /// <param name="isHeld">Whether all that comes from there waits for the replay, also for whoever missed nothing.</param>
    /// <exception cref="RefusedException">What was missed can't be read now: then the subscriber is where it was before.</exception>
    public async ValueTask<Joining> JoinAsync(Subscriber subscriber, IReadOnlyList<RoomRequest> requests, bool isHeld = false)
    {
        if (requests.Count > InlineMax)
        {
            await Task.Yield();
        }

        // Asked for together, so that many rooms wait as long as one.
        foreach (var subscribing in requests.Select(request => backplane.SubscribeAsync(request.Room).Preserve()).ToArray())
        {
            await subscribing;
        }

        isHeld |= policy.IsOn && requests.Any(request =>
            policy.Keeps(request.Room) && (request.Since is not null || rooms.Find(request.Room) is not { Last.IsNone: false }));
        if (isHeld)
        {
            subscriber.Hold();
        }

        var memberships = new Membership[requests.Count];
        var joined = new List<string>();
        for (var i = 0; i < memberships.Length; i++)
        {
            if (rooms.Join(subscriber, requests[i].Room, out memberships[i]))
            {
                joined.Add(requests[i].Room);
            }
        }

        var joining = new Joining(subscriber, isHeld);
        try
        {
            await RecoverAsync(joining, requests, memberships);
            return joining;
        }
        catch
        {
            joined.ForEach(room => rooms.Leave(subscriber, room));
            subscriber.Release(static _ => true);
            throw;
        }
    }

    private async ValueTask RecoverAsync(Joining joining, IReadOnlyList<RoomRequest> requests, Membership[] memberships)
    {
        var histories = new RoomHistory[requests.Count];
        var unread = new List<int>();
        for (var i = 0; i < histories.Length; i++)
        {
            var (room, since) = (memberships[i].Room, requests[i].Since);
            if (policy.Keeps(room.Name) && (room.Last.IsNone || (since is { } place && place != room.Start(memberships[i], default, default))))
            {
                unread.Add(i);
            }
        }

        var positions = new StreamPosition[histories.Length];
        while (unread.Count > 0)
        {
            var read = await ReadAsync([.. unread.Select(i => requests[i])]);
            foreach (var (i, history) in unread.Zip(read))
            {
                histories[i] = history;
                var has = requests[i].Since is { } since && !since.IsAfter(history.Position) ? since : default;
                positions[i] = memberships[i].Room.Start(memberships[i], history.Position, has);
            }

            // Newer messages may have come to the room before it was known where it stood.
            unread.RemoveAll(i => !positions[i].IsAfter(histories[i].Position));
        }

        for (var i = 0; i < histories.Length; i++)
        {
            var position = policy.Keeps(requests[i].Room) ? memberships[i].Room.Start(memberships[i], default, default) : default;
            joining.Add(requests[i], position, histories[i]);
        }
    }

    /// <summary>What is kept of rooms; where nobody asks for what was missed, it does not matter if that is not known.</summary>
    private async ValueTask<IReadOnlyList<RoomHistory>> ReadAsync(RoomRequest[] requests)
    {
        try
        {
            return await backplane.ReadHistoryAsync(requests);
        }
        catch (RefusedException) when (!Array.Exists(requests, request => request.Since is not null))
        {
            return [.. requests.Select(_ => RoomHistory.None)];
        }
    }
}

/// <summary>A subscriber that has joined rooms, and is to get what it missed there.</summary>
internal sealed class Joining(Subscriber subscriber, bool isHeld)
{
    /// <summary>Messages after which a subscriber is asked whether it can take more.</summary>
    private const int ReplayBatch = 64;

    private readonly List<JoinedRoom> _rooms = [];
    private readonly List<(Envelope Envelope, int Room)> _missed = [];
    private readonly HashSet<string> _ids = [];

    /// <summary>What became of each request, in their order.</summary>
    public IReadOnlyList<JoinedRoom> Rooms => _rooms;

    /// <summary>Queues what was missed, and then what has come since, and lets everything through again.</summary>
    public async ValueTask ReplayAsync()
    {
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

    /// <summary>Lets everything through again, and leaves out what was missed.</summary>
    public void Release()
    {
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

    private static JoinedRoom Outcome(string room, StreamPosition since, StreamPosition position, int kept, bool isExpired)
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
                if (subscriber.Memberships.TryGetValue(envelope.Rooms[i], out var membership)
                    && (envelope.Positions![i].IsNone ? withoutPosition : membership.Room.Reaches(membership, envelope.Positions[i])))
                {
                    return true;
                }
            }
        }

        return false;
    }
}
