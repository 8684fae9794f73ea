using System.Security.Cryptography;
using System.Text;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// A Lua script, which Redis executes atomically: a file of Scripts/, whose head documents keys, arguments and results.
/// A failed write of a log or stream, when Redis is out of memory, never stops a message. Each script has one caller.
/// </summary>
internal sealed class RedisScript
{
    private const string Include = "-- include ";

    /// <summary>Begins a line that is only in the form for sharded channels.</summary>
    private const string Shard = "-- shard ";

    /// <summary>Ends a line about the channel of a room or node, which may be sharded.</summary>
    private const string Room = " -- room";

    /// <summary>Publishes a message of rooms without history (<see cref="PublishCalls"/>).</summary>
    public static readonly RedisScript Publish = new("publish");

    /// <summary>Publishes a message of rooms with a history (<see cref="PublishCalls"/>).</summary>
    public static readonly RedisScript PublishKept = new("publish-kept");

    /// <summary>Claims an input whose message several groups publish (<see cref="RedisBackplane"/>).</summary>
    public static readonly RedisScript ClaimInput = new("claim-input");

    /// <summary>Forgets a claimed input that is published (<see cref="RedisBackplane"/>).</summary>
    public static readonly RedisScript InputDone = new("input-done");

    /// <summary>Publishes an input that all nodes receive (<see cref="RedisBackplane"/>).</summary>
    public static readonly RedisScript PublishOnce = new("publish-once");

    /// <summary>Stores and publishes a user's message to its backend (<see cref="PublishCalls"/>).</summary>
    public static readonly RedisScript SendUserMessage = new("send-user-message");

    /// <summary>Publishes a backend's message (<see cref="RedisBackendStore"/>).</summary>
    public static readonly RedisScript SendMessage = new("send-message");

    /// <summary>Registers a backend (<see cref="RedisBackendStore"/>).</summary>
    public static readonly RedisScript RegisterBackend = new("register-backend");

    /// <summary>Lists backends (<see cref="RedisBackendStore"/>).</summary>
    public static readonly RedisScript ListBackends = new("list-backends");

    /// <summary>Frees a backend (<see cref="RedisBackendStore"/>).</summary>
    public static readonly RedisScript FreeBackend = new("free-backend");

    /// <summary>Stores a user's new session (<see cref="RedisBackendUsers"/>).</summary>
    public static readonly RedisScript ConnectUser = new("connect-user");

    /// <summary>Removes a user's session (<see cref="RedisBackendUsers"/>).</summary>
    public static readonly RedisScript DisconnectUser = new("disconnect-user");

    /// <summary>Answers an input (<see cref="BackendInput"/>).</summary>
    public static readonly RedisScript Answer = new("answer");

    /// <summary>Reads positions and histories (<see cref="RedisHistory"/>).</summary>
    public static readonly RedisScript ReadHistory = new("read-history");

    /// <summary>Empties a room's history (<see cref="RedisBackplane"/>).</summary>
    public static readonly RedisScript ClearHistory = new("clear-history");

    /// <summary>Detects whether the server lost data (<see cref="RedisHistory"/>).</summary>
    public static readonly RedisScript Epoch = new("epoch");

    /// <summary>Records the number of groups (<see cref="RedisLayout"/>).</summary>
    public static readonly RedisScript Format = new("format");

    /// <summary>Sends a probe (<see cref="RedisSupervisor"/>).</summary>
    public static readonly RedisScript Probe = new("probe");

    /// <summary>Adds messages to the webhooks' streams (<see cref="RedisWebhookWriter"/>).</summary>
    public static readonly RedisScript WebhookAdd = new("webhook-add");

    /// <summary>Renews a node's share of the webhooks' streams (<see cref="RedisWebhooks"/>).</summary>
    public static readonly RedisScript WebhookLanes = new("webhook-lanes");

    /// <summary>Reads the webhooks' streams (<see cref="RedisWebhooks"/>).</summary>
    public static readonly RedisScript WebhookRead = new("webhook-read");

    /// <summary>Claims what another node had read of a webhooks' stream (<see cref="RedisWebhooks"/>).</summary>
    public static readonly RedisScript WebhookClaim = new("webhook-claim");

    /// <summary>Takes messages out of a webhooks' stream (<see cref="RedisWebhookStore"/>).</summary>
    public static readonly RedisScript WebhookDone = new("webhook-done");

    /// <summary>Keeps a dead letter (<see cref="RedisDeadLetters"/>).</summary>
    public static readonly RedisScript Dead = new("dead");

    private RedisScript(string name)
        : this(name, isSharded: false) => Sharded = new RedisScript(name, isSharded: true);

    private RedisScript(string name, bool isSharded)
    {
        (Text, Sharded) = (Read(name, isSharded), this);
#pragma warning disable CA5350 // Redis names scripts by it; nothing is secured.
        Sha = Convert.ToHexStringLower(SHA1.HashData(Encoding.UTF8.GetBytes(Text)));
#pragma warning restore CA5350
    }

    /// <summary>The script's text, without comments.</summary>
    public string Text { get; }

    /// <summary>What Redis calls it (EVALSHA).</summary>
    public string Sha { get; }

    /// <summary>The script for sharded channels of rooms and nodes.</summary>
    public RedisScript Sharded { get; }

    /// <summary>Runs the script.</summary>
    public async Task<RedisResult> RunAsync(IDatabase redis, RedisKey[] keys, RedisValue[] arguments)
    {
        try
        {
            return await redis.ScriptEvaluateAsync(Text, keys, arguments);
        }
        catch (RedisServerException e) when (e.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal))
        {
            // Redis no longer caches it; the library sends the text again.
            return await redis.ScriptEvaluateAsync(Text, keys, arguments);
        }
    }

    /// <summary>The script's text: the included files, then the file, without comments.</summary>
    private static string Read(string name, bool isSharded)
    {
        using var file = new StreamReader(typeof(RedisScript).Assembly.GetManifestResourceStream(name + ".lua")!);
        var text = new StringBuilder();
        while (file.ReadLine() is { } line)
        {
            var code = line.TrimStart();
            if (code.StartsWith(Include, StringComparison.Ordinal))
            {
                text.Append(Read(code[Include.Length..], isSharded));
            }
            else if (code.StartsWith(Shard, StringComparison.Ordinal))
            {
                text.Append(isSharded ? code[Shard.Length..] + '\n' : "");
            }
            else if (code.EndsWith(Room, StringComparison.Ordinal))
            {
                text.Append(isSharded ? ToSharded(line[..^Room.Length]) : line[..^Room.Length]).Append('\n');
            }
            else if (!code.StartsWith("--", StringComparison.Ordinal))
            {
                text.Append(line).Append('\n');
            }
        }

        return text.ToString();
    }

    private static string ToSharded(string line) =>
        line.Replace("'PUBLISH'", "'SPUBLISH'", StringComparison.Ordinal)
            .Replace("'NUMSUB'", "'SHARDNUMSUB'", StringComparison.Ordinal);
}
