namespace Dmb.Routing;

/// <summary>
/// Puts subscribers in rooms, and gives those who come back what they missed (docs/protocol.md §7). What is live waits
/// while what was missed is replayed; each message comes once, its positions deciding.
/// </summary>
internal sealed class RoomJoins(RoomTable rooms, IBackplane backplane, HistoryPolicy policy)
{
    /// <summary>
    /// Rooms up to which they are joined on the thread that saw the wish come; more would keep others waiting.
    /// </summary>
    private const int InlineMax = 32;

    /// <summary>Puts a subscriber that missed nothing in rooms.</summary>
    public ValueTask<JoinOperation> JoinAsync(Subscriber subscriber, IEnumerable<string> names) =>
        JoinAsync(subscriber, [.. names.Select(name => new RoomRequest(name))]);

    /// <summary>
    /// Puts a subscriber in rooms. Completes when what is published to them from now on, on any node, reaches it. What
    /// it missed, and then all that is live, comes when the operation is disposed.
    /// </summary>
    /// <param name="subscriber">Who.</param>
    /// <param name="requests">Where.</param>
    /// <param name="isHeld">
    /// Whether all that comes from there waits for the replay, also for a session that missed nothing.
    /// </param>
    /// <exception cref="RefusedException">
    /// What was missed can't be read now: then the subscriber is where it was before.
    /// </exception>
    public async ValueTask<JoinOperation> JoinAsync(
        Subscriber subscriber,
        IReadOnlyList<RoomRequest> requests,
        bool isHeld = false
    )
    {
        if (requests.Count > InlineMax)
        {
            await Task.Yield();
        }

        // Asked for together, so that many rooms wait as long as one.
        foreach (
            var subscribing in requests.Select(request => backplane.SubscribeAsync(request.Room).Preserve()).ToArray()
        )
        {
            await subscribing;
        }

        isHeld |=
            policy.IsOn
            && requests.Any(request =>
                policy.Keeps(request.Room)
                && (request.Since is not null || rooms.Find(request.Room) is not { Last.IsNone: false })
            );
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

        var join = new JoinOperation(subscriber, isHeld);
        try
        {
            await RecoverAsync(join, requests, memberships);
            return join;
        }
        catch
        {
            joined.ForEach(room => rooms.Leave(subscriber, room));
            subscriber.Release(static _ => true);
            throw;
        }
    }

    private async ValueTask RecoverAsync(
        JoinOperation join,
        IReadOnlyList<RoomRequest> requests,
        Membership[] memberships
    )
    {
        var histories = new RoomHistory[requests.Count];
        var unread = new List<int>();
        for (var i = 0; i < histories.Length; i++)
        {
            var (room, since) = (memberships[i].Room, requests[i].Since);
            if (
                policy.Keeps(room.Name)
                && (room.Last.IsNone || (since is { } place && place != room.Start(memberships[i], default, default)))
            )
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
            var position = policy.Keeps(requests[i].Room)
                ? memberships[i].Room.Start(memberships[i], default, default)
                : default;
            join.Add(requests[i], position, histories[i]);
        }
    }

    /// <summary>What is kept of rooms; where no request asks for what was missed, it may be unknown.</summary>
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
