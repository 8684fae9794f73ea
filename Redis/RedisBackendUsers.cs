using System.Collections.Concurrent;
using Dmb.Backends;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Stores the sessions of backends' users in Redis. Sessions that end during an outage are reported to their backends
/// after it; the sessions of a failed node are removed by another node.
/// </summary>
internal sealed class RedisBackendUsers(
    BackendOptions options,
    RedisOptions redis,
    RedisNode node,
    RedisConnection connection,
    HistoryPolicy policy,
    TimeProvider time
)
{
    private const int Batch = 256;
    private const int NodeLifeProbes = 3;

    /// <summary>Longer than a typical restart of Redis.</summary>
    private static readonly TimeSpan NodeLifeMin = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan SweepInterval = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<BackendUser, bool> _users = [];

    /// <summary>Ended sessions that are not yet removed in Redis.</summary>
    private readonly ConcurrentDictionary<BackendUser, bool> _pendingDisconnects = [];
    private readonly RedisChannels _channels = node.Channels;
    private string? _mark;
    private long _attached;
    private long _swept;
    private long _touched = time.GetTimestamp();
    private int _sweeping;

    /// <summary>
    /// Raised when a backend with users here is found unregistered: it was freed, or expired, during an outage.
    /// </summary>
    public event Action<string>? BackendMissing;

    /// <summary>How long a node counts as alive after a probe, so that one or two may be missed.</summary>
    public static TimeSpan NodeLife(RedisOptions options) =>
        options.ProbeInterval * NodeLifeProbes is var life && life > NodeLifeMin ? life : NodeLifeMin;

    /// <summary>Stores a new session and notifies its backend; during an outage, after it.</summary>
    /// <exception cref="RefusedException">The backend is not registered.</exception>
    public async ValueTask ConnectAsync(BackendUser user)
    {
        _users[user] = true;
        foreach (
            var left in _pendingDisconnects.Keys.Where(left =>
                left.Bkid == user.Bkid && left.Subscriber == user.Subscriber
            )
        )
        {
            await TellDisconnectAsync(left);
        }

        try
        {
            if (await ConnectAsync(await connection.RequiredAsync(), user) < 0)
            {
                _users.TryRemove(user, out _);
                throw Backend.Unknown(user.Bkid);
            }
        }
        catch (RedisUnavailableException)
        {
            // AttachAsync of the next link stores it.
        }
        catch (RedisKeyException)
        {
            _users.TryRemove(user, out _);
            throw;
        }
    }

    /// <summary>Removes a session and notifies its backend; during an outage, after it.</summary>
    public async ValueTask DisconnectAsync(BackendUser user)
    {
        _users.TryRemove(user, out _);
        _pendingDisconnects[user] = true;
        await TellDisconnectAsync(user);
    }

    /// <summary>
    /// Stores, on a new link, the sessions that connected during the outage, or all of this node if the mark shows that
    /// Redis lost data.
    /// </summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, string mark)
    {
        _attached = _swept = time.GetTimestamp();
        var sessions = _users.Keys.Select(user => (user.Bkid, user.Subscriber)).ToHashSet();
        foreach (var user in _pendingDisconnects.Keys.Where(user => sessions.Contains((user.Bkid, user.Subscriber))))
        {
            // The session connected again: its earlier disconnect must not be sent after that.
            await EndureAsync(DisconnectAsync(link, user));
            _pendingDisconnects.TryRemove(user, out _);
        }

        var here = _users.Keys;
        if (_mark is not null && _mark != mark)
        {
            // Ended sessions are stored again too, so that their end is reported.
            here = [.. _pendingDisconnects.Keys.Where(user => !user.IsFreed), .. here];
            foreach (var bkid in here.Select(user => user.Bkid).Distinct())
            {
                // The name is lost; the backend sends it when it registers again.
                await EndureAsync(
                    link.RunAsync(database =>
                        database.HashSetAsync(_channels.Backend(bkid), "name", "", When.NotExists)
                    )
                );
                await link.RunAsync(database => database.KeyExpireAsync(_channels.Backend(bkid), options.BackendTtl));
            }
        }

        foreach (var batch in here.Chunk(Batch))
        {
            var counts = await Task.WhenAll(batch.Select(user => ConnectAgainAsync(link, user)));
            foreach (var bkid in batch.Where((_, i) => counts[i] < 0).Select(user => user.Bkid).Distinct())
            {
                BackendMissing?.Invoke(bkid);
            }
        }

        _mark = mark;
    }

    /// <summary>
    /// Retries pending disconnects, renews the registration of backends with users here, and removes expired nodes.
    /// </summary>
    /// <param name="takeOverAsync">Takes over what else an expired node has left.</param>
    public async Task SweepAsync(Func<string, Task> takeOverAsync)
    {
        if (Interlocked.Exchange(ref _sweeping, 1) == 1)
        {
            return;
        }

        try
        {
            foreach (var user in _pendingDisconnects.Keys)
            {
                await TellDisconnectAsync(user);
            }

            if (time.GetElapsedTime(_touched) >= options.BackendTtl / 4)
            {
                _touched = time.GetTimestamp();
                foreach (var key in _users.Keys.Select(user => user.Bkid).Distinct().SelectMany(_channels.StoredOf))
                {
                    await connection.RunAsync(database => database.KeyExpireAsync(key, options.BackendTtl));
                }
            }

            // After an outage the other nodes need time to renew their keys.
            if (time.GetElapsedTime(_swept) >= SweepInterval && time.GetElapsedTime(_attached) >= NodeLife(redis))
            {
                _swept = time.GetTimestamp();
                foreach (
                    var other in await connection.RunAsync(database =>
                        database.SetMembersAsync(_channels.NodesWithUsers)
                    )
                )
                {
                    await RemoveExpiredAsync(other!, takeOverAsync);
                }
            }
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // The next sweep retries.
        }
        finally
        {
            Volatile.Write(ref _sweeping, 0);
        }
    }

    /// <summary>
    /// Removes an expired node with its sessions. Safe on several nodes at once: each session ends once.
    /// </summary>
    private async Task RemoveExpiredAsync(string other, Func<string, Task> takeOverAsync)
    {
        if (await connection.RunAsync(database => database.KeyExistsAsync(_channels.NodeOf(other))))
        {
            return;
        }

        foreach (
            var line in await connection.RunAsync(database => database.SetMembersAsync(_channels.NodeUsers(other)))
        )
        {
            if (((string)line!).Split(' ', 3) is [var bkid, var session, var user])
            {
                var link = await connection.RequiredAsync();
                await EndureAsync(RunAsync(link, RedisScript.DisconnectUser, "disconnect", bkid, session, user, other));
            }
        }

        await takeOverAsync(other);
        await connection.RunAsync(database => database.KeyDeleteAsync(_channels.NodeUsers(other)));
        await connection.RunAsync(database => database.SetRemoveAsync(_channels.NodesWithUsers, other));
    }

    private async ValueTask TellDisconnectAsync(BackendUser user)
    {
        try
        {
            await DisconnectAsync(await connection.RequiredAsync(), user);
            _pendingDisconnects.TryRemove(user, out _);
        }
        catch (RedisUnavailableException)
        {
            // The next sweep retries.
        }
        catch (RedisKeyException)
        {
            // The link told that a key of the backend holds something else.
            _pendingDisconnects.TryRemove(user, out _);
        }
    }

    /// <summary>As <see cref="ConnectAsync(RedisLink, BackendUser)"/>, but ignores a key of another type.</summary>
    private async Task<long> ConnectAgainAsync(RedisLink link, BackendUser user)
    {
        var connecting = ConnectAsync(link, user);
        await EndureAsync(connecting);
        return connecting.IsCompletedSuccessfully ? await connecting : 0;
    }

    /// <summary>
    /// Waits for what concerns one backend: that a key of it holds something else, which the link tells, stops nothing.
    /// </summary>
    private static async Task EndureAsync(Task asked)
    {
        try
        {
            await asked;
        }
        catch (RedisKeyException)
        {
            // Other backends are told of all the same.
        }
    }

    private Task<long> ConnectAsync(RedisLink link, BackendUser user) =>
        RunAsync(link, RedisScript.ConnectUser, "connect", user.Bkid, user.Subscriber.Id, user.User, node.Id);

    private Task<long> DisconnectAsync(RedisLink link, BackendUser user) =>
        RunAsync(link, RedisScript.DisconnectUser, "disconnect", user.Bkid, user.Subscriber.Id, user.User, node.Id);

    private async Task<long> RunAsync(
        RedisLink link,
        RedisScript script,
        string type,
        string bkid,
        string session,
        string user,
        string at
    )
    {
        var id = MessageId.New(time);
        RedisKey[] keys =
        [
            _channels.Log,
            _channels.BackendUplink(bkid),
            _channels.Backend(bkid),
            _channels.BackendSessions(bkid),
            _channels.BackendUsers(bkid),
            _channels.NodeUsers(at),
            _channels.BackendRooms(bkid),
        ];
        var end = RedisFormat.End(id, [Backend.UplinkRoom(bkid)], node.Id);
        string[] rooms = [Backend.UsersRoom(bkid), Backend.UserRoom(bkid, user)];
        var kept = policy.KeepsAny(rooms) ? rooms : ["", ""];
        RedisValue[] arguments =
        [
            PublishCalls.LogLength(end),
            options.UplinkMessages,
            _channels.Room(Backend.UplinkRoom(bkid)),
            _channels.Uplink,
            (long)options.BackendTtl.TotalMilliseconds,
            session,
            user,
            $"{bkid} {session} {user}",
            BackendJson.PresenceStart(type, bkid, user, session),
            id,
            end,
            kept[0],
            kept[1],
        ];
        return (long)await link.RunAsync(script, keys, arguments);
    }
}
