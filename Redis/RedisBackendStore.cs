using System.Collections.Concurrent;
using Dmb.Backends;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The backends of all nodes, in Redis. What users' sessions do while Redis is away is told to their backends when it is back,
/// and the sessions of a node that died are taken out by another.
/// </summary>
internal sealed class RedisBackendStore : IBackendStore
{
    private const int Batch = 256;
    private const int Page = 200;
    private const int NodeLifeProbes = 3;

    /// <summary>Longer than Redis takes to come back.</summary>
    private static readonly TimeSpan NodeLifeMin = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan SweepInterval = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<BackendUser, bool> _users = [];
    private readonly ConcurrentDictionary<BackendUser, bool> _untold = [];
    private readonly BackendOptions _options;
    private readonly RedisOptions _redis;
    private readonly RoutingOptions _routing;
    private readonly RedisNode _node;
    private readonly RedisChannels _channels;
    private readonly RedisUplink _uplink;
    private readonly RoomTable _rooms;
    private readonly HistoryPolicy _policy;
    private readonly TimeProvider _time;
    private string? _mark;
    private long _attached;
    private long _swept;
    private long _touched;
    private int _sweeping;

    public RedisBackendStore(BackendOptions options, RedisOptions redis, RoutingOptions routing, RedisNode node, RedisUplink uplink, RedisDownlink downlink, RoomTable rooms, HistoryPolicy policy, TimeProvider time)
    {
        (_options, _redis, _routing, _node, _channels, _uplink, _rooms, _policy, _time) = (options, redis, routing, node, node.Channels, uplink, rooms, policy, time);
        _touched = time.GetTimestamp();
        downlink.BackendFreed += bkid => Freed?.Invoke(bkid);
    }

    public event Action<string>? Freed;

    public async ValueTask RegisterAsync(Backend backend)
    {
        if (!await RegisterAsync(backend, Claim.Own(), ack: null))
        {
            throw BackendServices.NotItsName(backend);
        }
    }

    /// <summary>Registers a backend; false if it has another name.</summary>
    public async ValueTask<bool> RegisterAsync(Backend backend, Claim claim, Ack? ack)
    {
        return await RunAsync(
            RedisScripts.RegisterBackend, claim, Keys(backend.Bkid), [backend.Name, Milliseconds(_options.BackendTtl), .. Arguments(ack)]);
    }

    public async ValueTask TouchAsync(string bkid)
    {
        try
        {
            if (!await _uplink.RunAsync(redis => redis.KeyExpireAsync(Keys(bkid)[0], _options.BackendTtl)))
            {
                throw Backend.Unknown(bkid);
            }
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // Nobody can be asked: whoever says that it is a backend is taken for one until Redis is back.
            CheckOutage();
        }
    }

    public async ValueTask FreeAsync(string bkid)
    {
        if (!await FreeAsync(bkid, Claim.Own(), ack: null))
        {
            throw Backend.Unknown(bkid);
        }
    }

    /// <summary>Frees a backend; false if there is none such.</summary>
    public async ValueTask<bool> FreeAsync(string bkid, Claim claim, Ack? ack)
    {
        RedisKey[] keys = [_channels.BackendRooms(bkid), .. Keys(bkid), _channels.Answered(bkid, 0), _channels.Answered(bkid, 1)];
        return await RunAsync(
            RedisScripts.FreeBackend, claim, keys, [_channels.Nodes, "freed " + bkid, .. Arguments(ack), _channels.History(""), _channels.Position("")]);
    }

    public async ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, string? key)
    {
        var claim = key is null ? Claim.Own() : Claim.Own(AnswersTo(bkid, key));
        var body = RedisFormat.Write(envelope, _node.Id);
        try
        {
            return await SendAsync(bkid, envelope, body, user, claim, ack: null);
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            CheckOutage();
            var nodes = _rooms.Find(envelope.Rooms[0]) is null ? 0 : 1;
            return new Sent(nodes, Taken: await _uplink.PublishAsync(envelope, body));
        }
    }

    /// <summary>Publishes a backend's message that came over Redis, if no node did yet, and answers.</summary>
    /// <exception cref="Exception">One of <see cref="RedisUplink.IsAway"/>: it is not known whether it was published.</exception>
    public ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, Claim claim, Ack ack) =>
        SendAsync(bkid, envelope, RedisFormat.Write(envelope, _node.Id), user, claim, ack);

    private async ValueTask<Sent> SendAsync(string bkid, Envelope envelope, byte[] body, string? user, Claim claim, Ack? ack)
    {
        var answer = await _uplink.RunOnceAsync(
            new Outgoing(envelope.Id, envelope.Rooms, body, _time.GetTimestamp()),
            RedisScripts.SendMessage,
            claim,
            [_channels.Backend(bkid), _channels.BackendUsers(bkid), _channels.BackendSessions(bkid), _channels.BackendUplink(bkid), _channels.BackendRooms(bkid)],
            [Milliseconds(_options.BackendTtl), user ?? "", .. Arguments(ack), envelope.Rooms[0]]);
        if ((int)answer[0] == 0)
        {
            return new Sent(0, IsDuplicate: true);
        }

        var (isPublished, nodes) = ((int)answer[2] == 1, (int)answer[3]);
        return nodes < 0 && ack is null ? throw Backend.Unknown(bkid) : new Sent(nodes, IsDuplicate: !isPublished);
    }

    /// <summary>Where the answer to an input with an id is kept.</summary>
    /// <param name="of">The bkid, or `register`.</param>
    /// <param name="id">The input's id.</param>
    public Answers AnswersTo(string of, string id) => Answers.Of(of, id, _channels, _routing.IdempotencyWindow, _time);

    public async ValueTask ConnectAsync(BackendUser user)
    {
        _users[user] = true;
        foreach (var left in _untold.Keys.Where(left => left.Bkid == user.Bkid && left.Subscriber == user.Subscriber))
        {
            await TellAsync(left);
        }

        try
        {
            if (await _uplink.RunAsync(redis => ConnectAsync(redis, user)) < 0)
            {
                _users.TryRemove(user, out _);
                throw Backend.Unknown(user.Bkid);
            }
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // The next link tells it.
        }
    }

    public async ValueTask DisconnectAsync(BackendUser user)
    {
        _users.TryRemove(user, out _);
        _untold[user] = true;
        await TellAsync(user);
    }

    public async ValueTask<Taken> SendUplinkAsync(string bkid, Envelope uplink) =>
        await _uplink.PublishAsync(uplink, RedisFormat.Write(uplink, _node.Id), bkid);

    public async ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max)
    {
        try
        {
            await TouchAsync(bkid);
            return await ReadAsync(bkid, after, max);
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            throw RedisUplink.Away();
        }
    }

    /// <summary>Tells, on a new link, of all sessions that are here: of those that came meanwhile, and of all if Redis forgot them, as its mark says.</summary>
    public async Task AttachAsync(RedisLink link, string mark, TimeSpan patience, CancellationToken cancellationToken)
    {
        _attached = _swept = _time.GetTimestamp();
        await link.Commands.SetAddAsync(_channels.Nodes, _node.Id).WaitAsync(patience, TimeProvider.System, cancellationToken);
        var sessions = _users.Keys.Select(user => (user.Bkid, user.Subscriber)).ToHashSet();
        foreach (var user in _untold.Keys.Where(user => sessions.Contains((user.Bkid, user.Subscriber))))
        {
            // It came again, and must not go after that.
            await DisconnectAsync(link.Commands, user).WaitAsync(patience, TimeProvider.System, cancellationToken);
            _untold.TryRemove(user, out _);
        }

        var here = _users.Keys;
        if (_mark is not null && _mark != mark)
        {
            // Those that went meanwhile come again, so that they can go.
            here = [.. _untold.Keys.Where(user => !user.IsFreed), .. here];
            foreach (var bkid in here.Select(user => user.Bkid).Distinct())
            {
                await RestoreAsync(link.Commands, bkid).WaitAsync(patience, TimeProvider.System, cancellationToken);
            }
        }

        foreach (var batch in here.Chunk(Batch))
        {
            var counts = await Task.WhenAll(batch.Select(user => ConnectAsync(link.Commands, user))).WaitAsync(patience, TimeProvider.System, cancellationToken);
            foreach (var bkid in batch.Where((_, i) => counts[i] < 0).Select(user => user.Bkid).Distinct())
            {
                // It was freed, or has expired, while this node could not hear of it.
                Freed?.Invoke(bkid);
            }
        }

        _mark = mark;
    }

    /// <summary>Does what is due now and then: tells what could not be told, uses the backends that have users, buries dead nodes.</summary>
    public async Task SweepAsync()
    {
        if (Interlocked.Exchange(ref _sweeping, 1) == 1)
        {
            return;
        }

        try
        {
            foreach (var user in _untold.Keys)
            {
                await TellAsync(user);
            }

            if (_time.GetElapsedTime(_touched) >= _options.BackendTtl / 4)
            {
                _touched = _time.GetTimestamp();
                foreach (var key in _users.Keys.Select(user => user.Bkid).Distinct().SelectMany(Keys))
                {
                    await _uplink.RunAsync(redis => redis.KeyExpireAsync(key, _options.BackendTtl));
                }
            }

            // After an outage the others need the time to say that they are alive.
            if (_time.GetElapsedTime(_swept) >= SweepInterval && _time.GetElapsedTime(_attached) >= NodeLife(_redis))
            {
                _swept = _time.GetTimestamp();
                foreach (var node in await _uplink.RunAsync(redis => redis.SetMembersAsync(_channels.Nodes)))
                {
                    await BuryIfDeadAsync(node!);
                }
            }
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // Later, then.
        }
        finally
        {
            Volatile.Write(ref _sweeping, 0);
        }
    }

    /// <summary>How long a node is held to be alive after a probe, the sign that it gives: one or two may be missed.</summary>
    public static TimeSpan NodeLife(RedisOptions options) =>
        options.ProbeInterval * NodeLifeProbes is var life && life > NodeLifeMin ? life : NodeLifeMin;

    private async Task BuryIfDeadAsync(string node)
    {
        if (await _uplink.RunAsync(redis => redis.KeyExistsAsync(_channels.NodeOf(node))))
        {
            return;
        }

        // More than one node may do this: each session goes once.
        var lines = await _uplink.RunAsync(redis => redis.SetMembersAsync(_channels.NodeUsers(node)));
        foreach (var line in lines)
        {
            if (((string)line!).Split(' ', 3) is [var bkid, var session, var user])
            {
                await _uplink.RunAsync(redis => RunAsync(redis, RedisScripts.DisconnectUser, "disconnect", bkid, session, user, node));
            }
        }

        await _uplink.RunAsync(redis => redis.KeyDeleteAsync(_channels.NodeUsers(node)));
        await _uplink.RunAsync(redis => redis.SetRemoveAsync(_channels.Nodes, node));
    }

    private async Task<IReadOnlyList<StoredUplink>> ReadAsync(string bkid, string? after, int max)
    {
        var found = new List<StoredUplink>();
        var isAfter = after is null;
        for (RedisValue from = "-"; ;)
        {
            var page = (RedisResult[])(await _uplink.RunAsync(redis => redis.ExecuteAsync("XRANGE", _channels.BackendUplink(bkid), from, "+", "COUNT", Page)))!;
            foreach (var entry in page)
            {
                var (place, fields) = ((RedisValue)((RedisResult[])entry!)[0], (RedisValue[])((RedisResult[])entry!)[1]!);
                from = "(" + place;
                if (isAfter)
                {
                    found.Add(new StoredUplink((string)fields[1]!, (byte[])fields[3]!));
                }

                if (found.Count == max)
                {
                    return found;
                }

                isAfter |= fields[1] == after;
            }

            if (page.Length < Page)
            {
                // What came after one that is not stored any more is all there is.
                return isAfter ? found : await ReadAsync(bkid, after: null, max);
            }
        }
    }

    private async ValueTask TellAsync(BackendUser user)
    {
        try
        {
            await _uplink.RunAsync(redis => DisconnectAsync(redis, user));
            _untold.TryRemove(user, out _);
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // The next sweep tells it.
        }
    }

    private Task<long> ConnectAsync(IDatabase redis, BackendUser user) =>
        RunAsync(redis, RedisScripts.ConnectUser, "connect", user.Bkid, user.Subscriber.Id, user.User, _node.Id);

    private Task<long> DisconnectAsync(IDatabase redis, BackendUser user) =>
        RunAsync(redis, RedisScripts.DisconnectUser, "disconnect", user.Bkid, user.Subscriber.Id, user.User, _node.Id);

    /// <summary>Registers a backend again whose name nobody knows any more: it says it when it comes back.</summary>
    private async Task RestoreAsync(IDatabase redis, string bkid)
    {
        await redis.HashSetAsync(_channels.Backend(bkid), "name", "", When.NotExists);
        await redis.KeyExpireAsync(_channels.Backend(bkid), _options.BackendTtl);
    }

    private async Task<long> RunAsync(IDatabase redis, string script, string type, string bkid, string session, string user, string node)
    {
        var id = MessageId.New(_time);
        RedisKey[] keys =
        [
            _channels.Log, _channels.BackendUplink(bkid), _channels.Backend(bkid), _channels.BackendSessions(bkid), _channels.BackendUsers(bkid),
            _channels.NodeUsers(node), _channels.BackendRooms(bkid),
        ];
        var end = RedisFormat.End(id, [Backend.UplinkRoom(bkid)], _node.Id);
        RedisValue[] arguments =
        [
            RedisUplink.LogLength(end), _options.UplinkMessages, _channels.Room(Backend.UplinkRoom(bkid)), _channels.Uplink, Milliseconds(_options.BackendTtl),
            session, user, $"{bkid} {session} {user}", BackendJson.PresenceStart(type, bkid, user, session), id, end,
            .. _policy.KeepsAny([Backend.UsersRoom(bkid), Backend.UserRoom(bkid, user)]) ? (RedisValue[])[Backend.UsersRoom(bkid), Backend.UserRoom(bkid, user)] : ["", ""],
        ];
        return (long)await RedisScripts.RunAsync(redis, script, keys, arguments);
    }

    /// <summary>Runs a script that begins with a claim; false when its third answer is no.</summary>
    private async Task<bool> RunAsync(string script, Claim claim, RedisKey[] keys, RedisValue[] arguments)
    {
        try
        {
            var answer = (RedisResult[])(await _uplink.RunAsync(redis => RedisScripts.RunAsync(redis, script, [.. claim.Keys, .. keys], [.. claim.Arguments, .. arguments])))!;
            claim.Seen = (long)answer[1];
            return (int)answer[0] == 0 || (int)answer[2] == 1;
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            throw RedisUplink.Away();
        }
    }

    private void CheckOutage()
    {
        if (_redis.Outage == "reject")
        {
            throw RedisUplink.Away();
        }
    }

    /// <summary>All that is stored of a backend, its registration first.</summary>
    private RedisKey[] Keys(string bkid) =>
        [_channels.Backend(bkid), _channels.BackendSessions(bkid), _channels.BackendUsers(bkid), _channels.BackendUplink(bkid), _channels.BackendRooms(bkid)];

    private static RedisValue[] Arguments(Ack? ack) => ack is null ? ["", "", ""] : [ack.Channel, ack.Yes, ack.No];

    private static long Milliseconds(TimeSpan time) => (long)time.TotalMilliseconds;
}
