using System.Globalization;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Dmb.Redis;

/// <summary>
/// Finds out what Redis lets this node do: runs each kind of command that a node uses, on keys of its own that it
/// deletes, and reads the answers.
/// </summary>
internal static class RedisRights
{
    private const string Rule = ". docs/operations.md, What Redis has to allow, has the rule for its ACL";
    private const string TrustRule =
        "; its certificate has to have the name in REDIS_URL, by an authority that this machine trusts (SSL_CERT_FILE)";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>The commands, of which <c>K</c> stands for a key of the check; each type has its own.</summary>
    private static readonly string[] Commands =
    [
        "SET K:s 1 EX 60",
        "GET K:s",
        "EXISTS K:s",
        "PTTL K:s",
        "EXPIRE K:s 60",
        "PEXPIRE K:s 60000",
        "HSET K:h f 1",
        "HSETNX K:h g 1",
        "HGET K:h f",
        "HMGET K:h f",
        "HGETALL K:h",
        "HLEN K:h",
        "HINCRBY K:h f 1",
        "HDEL K:h f",
        "SADD K:m 1",
        "SMEMBERS K:m",
        "SREM K:m 1",
        "XADD K:x MAXLEN ~ 1 * m 1",
        "XLEN K:x",
        "XRANGE K:x - + COUNT 1",
        "XREVRANGE K:x + - COUNT 1",
        "XGROUP CREATE K:x g 0",
        "XREADGROUP GROUP g n COUNT 1 STREAMS K:x >",
        "XAUTOCLAIM K:x g n 0 0 COUNT 1",
        "XACK K:x g 0-1",
        "XDEL K:x 0-1",
        "ZADD K:z 1 m",
        "ZRANGE K:z 0 -1",
        "ZRANGEBYLEX K:z - +",
        "ZRANDMEMBER K:z 2",
        "ZREVRANGE K:z 0 -1",
        "ZREVRANGEBYSCORE K:z 1 0",
        "ZREM K:z m",
        "ZREMRANGEBYSCORE K:z 0 1",
        "EVAL return 0",
        "EVALSHA 0000000000000000000000000000000000000000 0",
        "SCRIPT LOAD return",
        "TIME",
        "PUBLISH K 1",
        "PUBSUB NUMSUB K",
        "DEL K:s K:h K:m K:x K:z",
    ];

    /// <summary>What is wrong, a sentence each; empty where a node can use this Redis.</summary>
    public static async Task<IReadOnlyList<string>> FindFaultsAsync(RedisEndpoint redis, RedisOptions options)
    {
        using var patience = new CancellationTokenSource(Patience, TimeProvider.System);
        try
        {
            if (redis.Discovery is not { } discovery)
            {
                return await FindFaultsAsync(redis, options, patience.Token);
            }

            var (masters, warning) = await discovery.FindAsync(redis, options.Prefix, patience.Token);
            var faults = await FindFaultsAsync(masters[0], options, patience.Token);
            return warning is null ? faults : [warning, .. faults];
        }
        catch (Exception e)
            when (e
                    is RedisAnswerException
                        or RedisUnavailableException
                        or SocketException
                        or IOException
                        or OperationCanceledException
                        or UnauthorizedAccessException
                        or AuthenticationException
            )
        {
            var why = RedisReason.Of(e);
            var next =
                IsDenied(why) ? Rule
                : e is AuthenticationException ? TrustRule
                : e is IOException && !redis.IsTls ? "; a server that speaks TLS is rediss:// in REDIS_URL"
                : "";
            return [$"Redis at {redis} can't be used: {why}{next}"];
        }
    }

    private static async Task<IReadOnlyList<string>> FindFaultsAsync(
        RedisEndpoint redis,
        RedisOptions options,
        CancellationToken cancellationToken
    )
    {
        var password = redis.ReadPassword();
        var (greeted, _) = await RedisGreeting.AskAsync(redis, password, cancellationToken);
        await greeted.DisposeAsync();
        await using var conversation = await RedisConversation.ConnectAsync(redis, cancellationToken);
        var faults = new List<string>();
        if (redis.Login(password) is { Length: > 0 } login)
        {
            await conversation.AskAsync(login);
        }

        if (redis.Database != 0)
        {
            await FindAsync(
                $"database {redis.Database}",
                "SELECT",
                redis.Database.ToString(CultureInfo.InvariantCulture)
            );
        }

        var policy = (await conversation.AskAsync("INFO", "memory"))[0]
            .Split("\r\n")
            .FirstOrDefault(line => line.StartsWith("maxmemory_policy:", StringComparison.Ordinal));
        if (policy is not null && !policy.EndsWith(":noeviction", StringComparison.Ordinal))
        {
            faults.Add(
                $"Redis deletes keys when its memory is full ({policy.Trim()}), histories and registrations too: set "
                    + "maxmemory-policy noeviction"
            );
        }

        var key = $"{options.Prefix}check:{Guid.NewGuid():N}";
        foreach (var command in Commands)
        {
            string[] words = command switch
            {
                "EVAL return 0" => ["EVAL", "return 0", "0"],
                "SCRIPT LOAD return" => ["SCRIPT", "LOAD", "return 0"],
                _ => [.. command.Split(' ').Select(word => word is ['K', .. var rest] ? Key(rest, word) : word)],
            };
            await FindAsync($"the command {words[0].ToLowerInvariant()}", words);

            string Key(string rest, string word) => rest is "" or [':', ..] ? key + rest : word;
        }

        var prefix = options.Prefix;
        var names = new RedisChannels(prefix, "check");
        await FindAsync("the broker's log", "XLEN", names.Log);
        await FindAsync("the table of events", "HLEN", names.Events);
        RedisChannels[] groups =
        [
            .. Enumerable
                .Range(1, options.Groups - 1)
                .Select(group => new RedisChannels(
                    RedisChannels.PrefixOf(prefix, group),
                    "check",
                    isSharded: redis.IsClustered
                )),
        ];
        foreach (var group in groups)
        {
            await FindAsync($"keys that begin with {group.Prefix}", "EXISTS", group.Log);
            if (group.IsSharded)
            {
                await FindAsync($"the sharded channel {group.AllRooms}", "SPUBLISH", group.AllRooms, "1");
            }
        }

        await FindAsync($"the channel {prefix}nodes", "SUBSCRIBE", prefix + "nodes");
        string[] patterns =
        [
            prefix + "notify:*",
            prefix + "room:*",
            names.BackendPattern,
            .. options.NotifyChannels,
            .. groups.Where(group => !group.IsSharded).Select(group => group.AllRooms),
        ];
        foreach (var pattern in patterns)
        {
            await FindAsync($"the pattern {pattern}", "PSUBSCRIBE", pattern);
        }

        foreach (var group in groups.Where(group => group.IsSharded))
        {
            await FindAsync($"the sharded channel {group.AllRooms}", "SSUBSCRIBE", group.AllRooms);
        }

        return faults;

        // Redis judges the rights before it says that a slot is on another server.
        async Task FindAsync(string what, params string[] words)
        {
            var answer = await conversation.AskAsync(words);
            if (
                answer is [['-', .. var error], ..]
                && !error.StartsWith("NOSCRIPT", StringComparison.Ordinal)
                && !RedisReason.IsAboutSlot(error)
            )
            {
                faults.Add(
                    error.StartsWith("WRONGTYPE", StringComparison.Ordinal)
                        ? $"{words[1]} in Redis holds something else than the broker keeps there: rename or delete it"
                        : $"Redis does not allow {what}: {error}{(IsDenied(error) ? Rule : "")}"
                );
            }
        }
    }

    private static bool IsDenied(string error) => error.Contains("NOPERM", StringComparison.Ordinal);
}
