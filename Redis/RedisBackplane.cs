using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>The backplane on Redis.</summary>
internal sealed class RedisBackplane(
    RedisOptions options,
    RoutingOptions routing,
    RedisNode node,
    RedisConnection connection,
    RedisPublisher publisher,
    RedisRooms rooms,
    RedisHistory history,
    RoomCounts counts,
    SharedEvents sharedEvents
) : IBackplane, IDisposable
{
    /// <summary>
    /// Concurrent reads of histories. All clients of a failed node reconnect at once, and the timeout of a read must
    /// not elapse while it is queued in Redis.
    /// </summary>
    private const int ReadsMax = 32;

    private readonly SemaphoreSlim _reading = new(ReadsMax);

    public bool IsCurrent => connection.Link is { IsWhole: true };

    public async ValueTask<PublishOutcome> PublishAsync(Envelope envelope) =>
        envelope.Rooms.Length == 0
            ? PublishOutcome.Fully
            : await publisher.PublishAsync(envelope, RedisFormat.Write(envelope, node.Id));

    public ValueTask SubscribeAsync(string room) => rooms.SubscribeAsync(room);

    public ValueTask ShareEventAsync(string name) => sharedEvents.WriteAsync(name);

    public async ValueTask<IReadOnlyList<int>> CountKeptAsync(IReadOnlyList<string> rooms) =>
        await Task.WhenAll(rooms.Select(CountKeptAsync));

    /// <summary>How many messages are kept of a room; none where something else is stored.</summary>
    private async Task<int> CountKeptAsync(string room)
    {
        try
        {
            var kept = await connection.RunAsync(redis =>
                redis.ExecuteAsync("XLEN", (RedisKey)node.Channels.History(room))
            );
            return (int)kept;
        }
        catch (RedisKeyException)
        {
            return 0;
        }
    }

    public async ValueTask ClearHistoryAsync(string room) =>
        await connection.RunAsync(redis => redis.KeyDeleteAsync(node.Channels.History(room)));

    public ValueTask<int> CountAsync(string room) => counts.AskAsync(room);

    public async ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> requests)
    {
        if (rooms.Positions(requests, IsCurrent) is { } known)
        {
            return known;
        }

        await _reading.WaitAsync();
        try
        {
            return await history.ReadAsync(await connection.RequiredAsync(), options.PublishTimeout, requests);
        }
        finally
        {
            _reading.Release();
        }
    }

    public void Dispose() => _reading.Dispose();

    public async ValueTask<string?> FirstIdAsync(string key, string id)
    {
        try
        {
            var name = node.Channels.Idempotency(key);
            var isFirst = await connection.RunAsync(redis =>
                redis.StringSetAsync(name, id, routing.IdempotencyWindow, When.NotExists)
            );
            return isFirst ? null : (string?)await connection.RunAsync(redis => redis.StringGetAsync(name));
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // Without Redis the key is recorded on this node only.
            return null;
        }
    }
}
