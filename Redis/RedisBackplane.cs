using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The backplane on Redis: takes each message to the groups of its rooms. A message to rooms of several groups is a
/// publish to each, with the rooms of that group, and one id.
/// </summary>
internal sealed class RedisBackplane(
    RedisOptions options,
    RoutingOptions routing,
    RedisNode node,
    RedisGroups groups,
    SharedEvents sharedEvents,
    TimeProvider time
) : IBackplane, IDisposable
{
    /// <summary>
    /// Concurrent reads of histories. All clients of a failed node reconnect at once, and the timeout of a read must
    /// not elapse while it is queued in Redis.
    /// </summary>
    private const int ReadsMax = 32;

    /// <summary>The answer to a claim while another node has the turn (turn.lua).</summary>
    private const int NotInTurn = 2;

    private static readonly TimeSpan TurnMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan TurnPoll = TimeSpan.FromMilliseconds(5);

    private readonly SemaphoreSlim _reading = new(ReadsMax);

    public bool IsCurrent => groups.All.All(IsWhole);

    public ValueTask<PublishOutcome> PublishAsync(Envelope envelope) =>
        envelope.Rooms.Length == 0 ? new(PublishOutcome.Fully)
        : groups.OfAll(envelope.Rooms) is { } group
            ? group.Publisher.PublishAsync(envelope, RedisFormat.Write(envelope, node.Id))
        : PublishPartsAsync(envelope);

    /// <summary>Publishes an input that all nodes receive; false if another node has claimed it.</summary>
    /// <remarks>
    /// In the first group, the claim and the publish are one script. In others the claim comes before, and notes the
    /// message until it is published: <see cref="TakeOverAsync"/> publishes what a node that died has left. Meanwhile the
    /// node has the turn, for which later inputs wait on the others.
    /// </remarks>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task<bool> PublishOnceAsync(Envelope envelope, InputClaim claim)
    {
        var body = RedisFormat.Write(envelope, node.Id);
        var isOfFirst = envelope.Rooms.Length == 0 || groups.OfAll(envelope.Rooms) == groups.First;
        int answer;
        while (
            (
                answer = isOfFirst
                    ? await PublishClaimedAsync(envelope, body, claim)
                    : await ClaimAsync(envelope, body, claim)
            ) == NotInTurn
        )
        {
            await Task.Delay(TurnPoll, time);
        }

        if (isOfFirst || answer == 0)
        {
            return answer == 1;
        }

        try
        {
            await PublishAsync(envelope);
        }
        finally
        {
            _ = ForgetAsync(envelope.Id);
        }

        return true;
    }

    /// <summary>
    /// Publishes the inputs that a node which died has claimed, and returns them. What it has published already is
    /// known by its id, in histories and at each node, so that several nodes may do this at once.
    /// </summary>
    /// <exception cref="RedisUnavailableException">A group is away; nothing is forgotten.</exception>
    public async Task<IReadOnlyList<Envelope>> TakeOverAsync(string other)
    {
        if (groups.All.Count == 1)
        {
            return [];
        }

        var claimed = groups.First.Channels.NodeInputs(other);
        var published = new List<Envelope>();
        foreach (var input in await groups.First.Connection.RunAsync(redis => redis.HashGetAllAsync(claimed)))
        {
            if (RedisFormat.Read((byte[])input.Value!, room: null, time, out _) is { } envelope)
            {
                await Task.WhenAll(
                    Split(envelope)
                        .Select(part =>
                            part.Group.Publisher.PublishAgainAsync(
                                part.Envelope,
                                RedisFormat.Write(part.Envelope, node.Id)
                            )
                        )
                );
                published.Add(envelope);
            }
        }

        await groups.First.Connection.RunAsync(redis => redis.KeyDeleteAsync(claimed));
        return published;
    }

    public ValueTask SubscribeAsync(string room) =>
        Names.IsPattern(room) && groups.All.Count > 1
            ? SubscribeAllAsync(room)
            : groups.Of(room).Rooms.SubscribeAsync(room);

    public ValueTask ShareEventAsync(string name) => sharedEvents.WriteAsync(name);

    public async ValueTask<IReadOnlyList<int>> CountKeptAsync(IReadOnlyList<string> rooms) =>
        await Task.WhenAll(rooms.Select(CountKeptAsync));

    /// <summary>How many messages are kept of a room; none where something else is stored.</summary>
    private async Task<int> CountKeptAsync(string room)
    {
        var group = groups.Of(room);
        try
        {
            var kept = await group.Connection.RunAsync(redis =>
                redis.ExecuteAsync("XLEN", (RedisKey)group.Channels.History(room))
            );
            return (int)kept;
        }
        catch (RedisKeyException)
        {
            return 0;
        }
    }

    public async ValueTask ClearHistoryAsync(string room)
    {
        var group = groups.Of(room);
        await group.Connection.RunAsync(
            RedisScript.ClearHistory,
            [group.Channels.History(room), group.Channels.Position(room)],
            []
        );
    }

    public ValueTask<int> CountAsync(string room) => groups.Counts.AskAsync(room);

    public async ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> requests)
    {
        if (groups.All.Count == 1)
        {
            return await ReadAsync(groups.First, requests);
        }

        var found = new RoomHistory[requests.Count];
        await Task.WhenAll(
            Enumerable
                .Range(0, requests.Count)
                .GroupBy(i => groups.Of(requests[i].Room))
                .Select(async part =>
                {
                    int[] places = [.. part];
                    var read = await ReadPartAsync(part.Key, [.. places.Select(i => requests[i])]);
                    for (var i = 0; i < places.Length; i++)
                    {
                        found[places[i]] = read[i];
                    }
                })
        );
        return found;
    }

    public void Dispose() => _reading.Dispose();

    /// <summary>An idempotency key is in the group that its hash says, whatever the rooms of its messages.</summary>
    public async ValueTask<string?> FirstIdAsync(string key, string id)
    {
        var group = groups.Of(key);
        try
        {
            var name = group.Channels.Idempotency(key);
            var isFirst = await group.Connection.RunAsync(redis =>
                redis.StringSetAsync(name, id, routing.IdempotencyWindow, When.NotExists)
            );
            return isFirst ? null : (string?)await group.Connection.RunAsync(redis => redis.StringGetAsync(name));
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // Without Redis the key is recorded on this node only.
            return null;
        }
    }

    /// <summary>Claims and publishes an input of the first group; 1 if this node did.</summary>
    private async Task<int> PublishClaimedAsync(Envelope envelope, byte[] body, InputClaim claim) =>
        (int)
            (
                await groups.First.Publisher.PublishOnceAsync(
                    envelope,
                    body,
                    RedisScript.PublishOnce,
                    claim,
                    [groups.First.Channels.Turn],
                    [groups.All.Count == 1 ? "" : node.Id]
                )
            )[0];

    /// <summary>Claims an input of other groups; 1 if this node has to publish it.</summary>
    private async Task<int> ClaimAsync(Envelope envelope, byte[] body, InputClaim claim)
    {
        var channels = groups.First.Channels;
        var turn = options.PublishTimeout * 2;
        var answer = (RedisResult[])
            (
                await groups.First.Connection.RunAsync(
                    RedisScript.ClaimInput,
                    [.. claim.Keys, channels.Turn, channels.NodeInputs(node.Id)],
                    [
                        .. claim.Arguments,
                        node.Id,
                        (long)(turn < TurnMax ? turn : TurnMax).TotalMilliseconds,
                        envelope.Id,
                        body,
                    ]
                )
            )!;
        claim.Seen = (long)answer[1];
        return (int)answer[0];
    }

    private async Task ForgetAsync(string id)
    {
        var channels = groups.First.Channels;
        try
        {
            await groups.First.Connection.RunAsync(
                RedisScript.InputDone,
                [channels.NodeInputs(node.Id), channels.Turn],
                [id, node.Id]
            );
        }
        catch (RefusedException)
        {
            // The next link forgets all of this node.
        }
    }

    private static bool IsWhole(RedisGroup group) => group.Connection.Link is { IsWhole: true };

    /// <summary>Publishes to several groups at once; completes when all have it, or have kept it for Redis.</summary>
    private async ValueTask<PublishOutcome> PublishPartsAsync(Envelope envelope)
    {
        var parts = Split(envelope);
        if (options.Outage == "reject" && Array.Exists(parts, part => part.Group.Connection.Link is null))
        {
            // Refused as a whole, before one group has it.
            foreach (var (group, _) in parts)
            {
                await group.Connection.RequiredAsync();
            }
        }

        // All are sent before the first answer is awaited, so that each group has a publisher's messages in order.
        var publishing = Array.ConvertAll(parts, part =>
            part.Group.Publisher.PublishAsync(part.Envelope, RedisFormat.Write(part.Envelope, node.Id)).AsTask()
        );
        var outcomes = await Task.WhenAll(publishing);
        envelope.KeptAt = Join(envelope, parts);
        return outcomes.Max();
    }

    /// <summary>A copy for each group of the rooms, in the order in which these are named.</summary>
    private (RedisGroup Group, Envelope Envelope)[] Split(Envelope envelope) =>
        [
            .. envelope
                .Rooms.GroupBy(groups.Of)
                .Select(part =>
                {
                    string[] own = [.. part];
                    return (
                        part.Key,
                        new Envelope(envelope.Event, envelope.Id, own, envelope.Data)
                        {
                            Elsewhere = [.. envelope.Rooms.Except(own)],
                            Traceparent = envelope.Traceparent,
                        }
                    );
                }),
        ];

    /// <summary>Where the parts were kept, for each room of the whole; null if that is not known of one.</summary>
    private static string? Join(Envelope envelope, (RedisGroup Group, Envelope Envelope)[] parts)
    {
        var places = new Dictionary<string, string>();
        foreach (var (_, part) in parts)
        {
            if (part.KeptAt is null)
            {
                return null;
            }

            foreach (var (room, place) in part.Rooms.Zip(part.KeptAt.Split(',')))
            {
                places[room] = place;
            }
        }

        return places.Values.All(place => place.Length == 0)
            ? ""
            : string.Join(',', envelope.Rooms.Select(room => places.GetValueOrDefault(room, "")));
    }

    private async ValueTask SubscribeAllAsync(string pattern)
    {
        foreach (
            var subscribing in groups.All.Select(group => group.Rooms.SubscribeAsync(pattern).Preserve()).ToArray()
        )
        {
            await subscribing;
        }
    }

    /// <summary>Reads rooms of one group; of one that is away nothing, unless missed messages are asked for.</summary>
    private async Task<IReadOnlyList<RoomHistory>> ReadPartAsync(RedisGroup group, RoomRequest[] requests)
    {
        try
        {
            return await ReadAsync(group, requests);
        }
        catch (RefusedException) when (!Array.Exists(requests, request => request.Since is not null))
        {
            return [.. requests.Select(_ => RoomHistory.None)];
        }
    }

    private async Task<IReadOnlyList<RoomHistory>> ReadAsync(RedisGroup group, IReadOnlyList<RoomRequest> requests)
    {
        if (group.Rooms.Positions(requests, IsWhole(group)) is { } known)
        {
            return known;
        }

        await _reading.WaitAsync();
        try
        {
            return await group.History.ReadAsync(
                await group.Connection.RequiredAsync(),
                options.PublishTimeout,
                requests
            );
        }
        finally
        {
            _reading.Release();
        }
    }
}
