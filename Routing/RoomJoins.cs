namespace Dmb.Routing;

/// <summary>
/// Joins subscribers to rooms and replays missed messages (docs/protocol.md §7). Live messages are held during a
/// replay; positions ensure that each message arrives once.
/// </summary>
internal sealed class RoomJoins(RoomTable rooms, IBackplane backplane, HistoryPolicy policy)
{
    /// <summary>Maximum rooms of a join on the receiving thread, which serves other connections too.</summary>
    private const int InlineMax = 32;

    /// <summary>Joins a subscriber to rooms without a replay.</summary>
    public ValueTask<JoinOperation> JoinAsync(Subscriber subscriber, IEnumerable<string> names) =>
        JoinAsync(subscriber, [.. names.Select(name => new RoomRequest(name))]);

    /// <summary>
    /// Joins a subscriber to rooms. Completes when later publishes on any node reach it. Disposal of the operation
    /// replays missed messages, then delivers live ones.
    /// </summary>
    /// <param name="subscriber">The subscriber.</param>
    /// <param name="requests">The rooms, and the positions to replay from.</param>
    /// <param name="isHeld">Whether live messages are held until disposal, even without a replay.</param>
    /// <exception cref="RefusedException">
    /// The history cannot be read; the subscriber has left the new rooms again.
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

        await SubscribeAsync(requests);
        isHeld |= NeedsHistory(requests);
        if (isHeld)
        {
            subscriber.Hold();
        }

        var memberships = new Membership[requests.Count];
        var isNew = new bool[memberships.Length];
        for (var i = 0; i < memberships.Length; i++)
        {
            lock (subscriber.Memberships)
            {
                isNew[i] = rooms.Join(subscriber, requests[i].Room, out memberships[i], policy.Keeps(requests[i].Room));
                if (isNew[i])
                {
                    memberships[i].Since = requests[i].Since?.ToString();
                }
            }
        }

        var join = new JoinOperation(subscriber, memberships, isHeld);
        try
        {
            await RecoverAsync(join, requests, memberships);
            return join;
        }
        catch
        {
            for (var i = 0; i < isNew.Length; i++)
            {
                if (isNew[i])
                {
                    rooms.Leave(subscriber, requests[i].Room);
                }
            }

            subscriber.Release(envelope => subscriber.IsReachedBy(envelope.Rooms));
            throw;
        }
    }

    /// <summary>Subscribes this node to the rooms, concurrently, so that many take as long as one.</summary>
    private ValueTask SubscribeAsync(IReadOnlyList<RoomRequest> requests)
    {
        List<Task>? subscribing = null;
        for (var i = 0; i < requests.Count; i++)
        {
            var one = backplane.SubscribeAsync(requests[i].Room);
            if (!one.IsCompletedSuccessfully)
            {
                (subscribing ??= []).Add(one.AsTask());
            }
        }

        return subscribing is null ? ValueTask.CompletedTask : new ValueTask(Task.WhenAll(subscribing));
    }

    /// <summary>Whether a position is asked for, or the position of a room that keeps a history is not known.</summary>
    private bool NeedsHistory(IReadOnlyList<RoomRequest> requests)
    {
        for (var i = 0; policy.IsOn && i < requests.Count; i++)
        {
            var (room, since) = requests[i];
            if (policy.Keeps(room) && (since is not null || rooms.Find(room) is not { Last.IsNone: false }))
            {
                return true;
            }
        }

        return false;
    }

    private async ValueTask RecoverAsync(
        JoinOperation join,
        IReadOnlyList<RoomRequest> requests,
        Membership[] memberships
    )
    {
        var histories = new RoomHistory[requests.Count];
        List<int>? unread = null;
        for (var i = 0; i < histories.Length; i++)
        {
            // Read even at the room's last position: without Redis, this node delivers messages that have none yet.
            var room = memberships[i].Room;
            if (policy.Keeps(room.Name) && (room.Last.IsNone || requests[i].Since is not null))
            {
                (unread ??= []).Add(i);
            }
            else
            {
                memberships[i].IsPlaced = policy.Keeps(room.Name) && backplane.IsCurrent;
            }
        }

        if (unread is not null)
        {
            await ReadAsync(unread, requests, memberships, histories);
        }

        // All starts are known before any room is judged: a message of several rooms reaches the subscriber by one.
        var positions = new StreamPosition[histories.Length];
        for (var i = 0; i < histories.Length; i++)
        {
            positions[i] = memberships[i].Room.Start(memberships[i], default, default);
        }

        for (var i = 0; i < histories.Length; i++)
        {
            join.Add(requests[i], memberships[i].IsPlaced ? positions[i] : default, histories[i]);
        }
    }

    /// <summary>Reads the histories of some requests, and starts their memberships.</summary>
    /// <param name="unread">Indices of the requests; empty at the end.</param>
    /// <param name="requests">All requests.</param>
    /// <param name="memberships">A membership a request.</param>
    /// <param name="histories">Receives a history a request.</param>
    private async ValueTask ReadAsync(
        List<int> unread,
        IReadOnlyList<RoomRequest> requests,
        Membership[] memberships,
        RoomHistory[] histories
    )
    {
        var positions = new StreamPosition[histories.Length];
        while (unread.Count > 0)
        {
            var read = await ReadAsync([.. unread.Select(i => requests[i])]);
            foreach (var (i, history) in unread.Zip(read))
            {
                histories[i] = history;
                memberships[i].IsPlaced = !history.Position.IsNone;
                var has = requests[i].Since is { } since && !since.IsAfter(history.Position) ? since : default;
                positions[i] = memberships[i].Room.Start(memberships[i], history.Position, has);
            }

            // Newer messages may have arrived before the room's position was known.
            unread.RemoveAll(i => !positions[i].IsAfter(histories[i].Position));
        }
    }

    /// <summary>Reads the rooms' histories; without a request to replay, a failure is ignored.</summary>
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
