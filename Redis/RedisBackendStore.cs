using System.Text;
using Dmb.Backends;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Stores the backends in Redis: registrations, messages and uplinks; <see cref="RedisBackendUsers"/> has their users'
/// sessions.
/// </summary>
internal sealed class RedisBackendStore : IBackendStore
{
    private const int Page = 200;

    private readonly BackendOptions _options;
    private readonly RedisOptions _redis;
    private readonly RoutingOptions _routing;
    private readonly RedisNode _node;
    private readonly RedisChannels _channels;
    private readonly RedisConnection _connection;
    private readonly RedisPublisher _publisher;
    private readonly RedisBackendUsers _users;
    private readonly RoomTable _rooms;
    private readonly TimeProvider _time;

    public RedisBackendStore(
        BackendOptions options,
        RedisOptions redis,
        RoutingOptions routing,
        RedisNode node,
        RedisConnection connection,
        RedisPublisher publisher,
        RedisReceiver receiver,
        RedisBackendUsers users,
        RoomTable rooms,
        TimeProvider time
    )
    {
        (_options, _redis, _routing, _node, _channels) = (options, redis, routing, node, node.Channels);
        (_connection, _publisher, _users, _rooms, _time) = (connection, publisher, users, rooms, time);
        receiver.BackendFreed += bkid => Freed?.Invoke(bkid);
        users.BackendMissing += bkid => Freed?.Invoke(bkid);
    }

    public event Action<string>? Freed;

    public async ValueTask RegisterAsync(Backend backend)
    {
        if (!await RegisterAsync(backend, Own(), ack: null))
        {
            throw BackendServices.NotItsName(backend);
        }
    }

    /// <summary>Registers a backend; false if it has another name.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it is registered.</exception>
    public Task<bool> RegisterAsync(Backend backend, InputClaim claim, Ack? ack) =>
        RunAsync(
            RedisScript.RegisterBackend,
            claim,
            [_channels.Backends, .. _channels.StoredOf(backend.Bkid)],
            [backend.Name, Milliseconds(_options.BackendTtl), .. Arguments(ack)]
        );

    public async ValueTask TouchAsync(string bkid)
    {
        try
        {
            if (
                !await _connection.RunAsync(redis => redis.KeyExpireAsync(_channels.Backend(bkid), _options.BackendTtl))
            )
            {
                throw Backend.Unknown(bkid);
            }
        }
        catch (RedisUnavailableException) when (_redis.Outage != "reject")
        {
            // While Redis is down, every bkid counts as registered.
        }
    }

    public async ValueTask FreeAsync(string bkid)
    {
        if (!await FreeAsync(bkid, Own(), ack: null))
        {
            throw Backend.Unknown(bkid);
        }
    }

    /// <summary>Frees a backend; false if it is not registered.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it is registered.</exception>
    public Task<bool> FreeAsync(string bkid, InputClaim claim, Ack? ack)
    {
        RedisKey[] keys =
        [
            _channels.Backends,
            _channels.BackendRooms(bkid),
            .. _channels.StoredOf(bkid),
            _channels.Answered(bkid, 0),
            _channels.Answered(bkid, 1),
        ];
        return RunAsync(
            RedisScript.FreeBackend,
            claim,
            keys,
            [_channels.Nodes, "freed " + bkid, .. Arguments(ack), _channels.History(""), _channels.Position("")]
        );
    }

    public async ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, string? key)
    {
        var claim = key is null ? Own() : InputClaim.Own(RepliesTo(bkid, key));
        var body = RedisFormat.Write(envelope, _node.Id);
        try
        {
            return await SendAsync(bkid, envelope, body, user, claim, ack: null);
        }
        catch (RedisUnavailableException) when (_redis.Outage != "reject")
        {
            var nodes = _rooms.Find(envelope.Rooms[0]) is null ? 0 : 1;
            return new Sent(nodes, Outcome: await _publisher.PublishAsync(envelope, body));
        }
    }

    /// <summary>Publishes a backend's message received over Redis, on one node only, and answers.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, InputClaim claim, Ack ack) =>
        SendAsync(bkid, envelope, RedisFormat.Write(envelope, _node.Id), user, claim, ack);

    private async ValueTask<Sent> SendAsync(
        string bkid,
        Envelope envelope,
        byte[] body,
        string? user,
        InputClaim claim,
        Ack? ack
    )
    {
        var answer = await _publisher.PublishOnceAsync(
            envelope,
            body,
            RedisScript.SendMessage,
            claim,
            [
                _channels.Backend(bkid),
                _channels.BackendUsers(bkid),
                _channels.BackendSessions(bkid),
                _channels.BackendUplink(bkid),
                _channels.BackendRooms(bkid),
            ],
            [Milliseconds(_options.BackendTtl), user ?? "", .. Arguments(ack), envelope.Rooms[0]]
        );
        if ((int)answer[0] == 0)
        {
            return new Sent(0, IsDuplicate: true);
        }

        var (isPublished, nodes) = ((int)answer[2] == 1, (int)answer[3]);
        return nodes < 0 && ack is null ? throw Backend.Unknown(bkid) : new Sent(nodes, IsDuplicate: !isPublished);
    }

    /// <summary>The stored replies to an input with an id.</summary>
    /// <param name="of">The bkid, or `register`.</param>
    /// <param name="id">The input's id.</param>
    public ReplyCache RepliesTo(string of, string id) =>
        ReplyCache.Of(of, id, _channels, _routing.IdempotencyWindow, _time);

    public ValueTask ConnectAsync(BackendUser user) => _users.ConnectAsync(user);

    public ValueTask DisconnectAsync(BackendUser user) => _users.DisconnectAsync(user);

    public async ValueTask<PublishOutcome> SendUplinkAsync(string bkid, string user, Envelope uplink) =>
        await _publisher.PublishAsync(uplink, RedisFormat.Write(uplink, _node.Id), bkid);

    public async ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max)
    {
        await TouchAsync(bkid);
        return await ReadAsync(bkid, after, max);
    }

    private async Task<IReadOnlyList<StoredUplink>> ReadAsync(string bkid, string? after, int max)
    {
        var found = new List<StoredUplink>();
        var isAfter = after is null;
        for (RedisValue from = "-"; ; )
        {
            var page = (RedisResult[])
                (
                    await _connection.RunAsync(redis =>
                        redis.ExecuteAsync("XRANGE", _channels.BackendUplink(bkid), from, "+", "COUNT", Page)
                    )
                )!;
            foreach (var entry in page)
            {
                var (place, fields) = (
                    (RedisValue)((RedisResult[])entry!)[0],
                    (RedisValue[])((RedisResult[])entry!)[1]!
                );
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
                // If the id is no longer stored, everything stored is newer.
                return isAfter ? found : await ReadAsync(bkid, after: null, max);
            }
        }
    }

    public async ValueTask<IReadOnlyList<BackendState>> ListAsync(string prefix, string? after, int max)
    {
        var found = new List<BackendState>();
        for (var from = after is null ? "[" + prefix : "(" + after; found.Count < max; )
        {
            // 0xff is no byte of UTF-8: it is behind all names with the prefix.
            byte[] to = [(byte)'(', .. Encoding.UTF8.GetBytes(prefix), 0xff];
            var page = await RangeAsync(from, to, max - found.Count);
            found.AddRange(page.Where(entry => entry.Left >= TimeSpan.Zero).Select(entry => entry.State));
            if (page.Count == 0)
            {
                break;
            }

            from = "(" + page[^1].State.Backend.Cursor;
        }

        return found;
    }

    public async ValueTask<BackendState?> FindAsync(string bkid)
    {
        var name = await _connection.RunAsync(redis => redis.HashGetAsync(_channels.Backend(bkid), "name"));
        var line = $"[{name} {bkid}";
        return
            !name.IsNull
            && await RangeAsync(line, line, 1) is [{ Left: var left, State: var state }]
            && left >= TimeSpan.Zero
            ? state
            : null;
    }

    /// <summary>Lists a range of backends, expired ones with a negative rest of their life.</summary>
    private async Task<List<(TimeSpan Left, BackendState State)>> RangeAsync(RedisValue from, RedisValue to, int max)
    {
        var lines = await _connection.RunAsync(
            RedisScript.ListBackends,
            [_channels.Backends],
            [from, to, max, _redis.Prefix]
        );
        var now = _time.GetUtcNow();
        return [.. ((RedisResult[])lines!).Select(line => Read((RedisResult[])line!))];

        (TimeSpan, BackendState) Read(RedisResult[] line)
        {
            var (text, rest) = ((string)line[0]!, TimeSpan.FromMilliseconds((long)line[1]));
            var bkid = text[(text.LastIndexOf(' ') + 1)..];
            var backend = new Backend(bkid, text[..^(bkid.Length + 1)]);
            var used = now - (_options.BackendTtl - rest);
            return (rest, new BackendState(backend, used, (int)line[2], (int)line[3], (int)line[4]));
        }
    }

    /// <summary>Runs a script that begins with a claim; false if its third result is 0.</summary>
    private async Task<bool> RunAsync(RedisScript script, InputClaim claim, RedisKey[] keys, RedisValue[] arguments)
    {
        var answer = (RedisResult[])
            (await _connection.RunAsync(script, [.. claim.Keys, .. keys], [.. claim.Arguments, .. arguments]))!;
        claim.Seen = (long)answer[1];
        return (int)answer[0] == 0 || (int)answer[2] == 1;
    }

    private InputClaim Own() => InputClaim.Own(ReplyCache.None(_channels));

    private static RedisValue[] Arguments(Ack? ack) => ack is null ? ["", "", ""] : [ack.Channel, ack.Yes, ack.No];

    private static long Milliseconds(TimeSpan time) => (long)time.TotalMilliseconds;
}
