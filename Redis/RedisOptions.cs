using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Redis;

/// <summary>
/// Settings of the backplane over Redis: where it is, how its keys begin, and what happens while it is away.
/// </summary>
internal sealed class RedisOptions
{
    /// <summary>Maximum number of groups: each costs a node a probe a second and a receiver.</summary>
    public const int GroupsMax = 256;

    /// <summary>Probes that may be lost before Redis counts as away.</summary>
    internal const int ProbesMissedMax = 2;

    private static readonly TimeSpan PatienceMax = TimeSpan.FromSeconds(5);

    [ConfigurationKeyName("REDIS_HOST")]
    [Description("Host of Redis; `none` runs this node alone. Without it, localhost is tried once at start.")]
    public string RedisHost { get; set; } = "";

    [ConfigurationKeyName("REDIS_PORT")]
    [Description("Port of Redis.")]
    [Range(1, 65_535)]
    public int RedisPort { get; set; } = 6379;

    [ConfigurationKeyName("REDIS_URL")]
    [Description(
        "Redis as a URL instead: redis://[[user]:password@]host[:port][/database], or rediss:// for TLS; or its "
            + "sentinels: redis://[[user]:password@]host[:port],host[:port][/database]?sentinel=master; or a cluster: "
            + "redis://[[user]:password@]host[:port],host[:port]?cluster=true."
    )]
    public string RedisUrl { get; set; } = "";

    [ConfigurationKeyName("REDIS_PASSWORD_FILE")]
    [Description(
        "File that has the password of Redis, read again at each attempt to connect; instead of one in REDIS_URL."
    )]
    public string RedisPasswordFile { get; set; } = "";

    [ConfigurationKeyName("REDIS_SENTINEL_PASSWORD_FILE")]
    [Description("File that has the password of the sentinels, where that is another one than Redis's.")]
    public string RedisSentinelPasswordFile { get; set; } = "";

    [Description(
        "What all channels and keys in Redis begin with; brokers with different prefixes don't meet. With a cluster it "
            + "has a hash tag: {dmb}:."
    )]
    public string Prefix { get; set; } = "dmb:";

    [Description(
        "Groups that the rooms are spread over, by a hash of their names; each has keys, a log and a spool of its own, "
            + "in one slot of a cluster. The same on every node. 0: one; on a Redis Cluster what its data have, or 64."
    )]
    [Range(0, GroupsMax)]
    public int Groups { get; set; }

    /// <summary>Whether <see cref="Groups"/> was found (<see cref="RedisLayout.FindGroupsAsync"/>), not set.</summary>
    internal bool AreGroupsFound { get; set; }

    [Description(
        "While Redis is away: `spool` delivers here and keeps for the others, `local` delivers here only, `reject` "
            + "answers 503."
    )]
    [AllowedValues("spool", "local", "reject")]
    public string Outage { get; set; } = "spool";

    [Description(
        "Patterns of Redis channels that take pushes besides dmb:notify:*, e.g. opensips:*; the event is what the * "
            + "stands for."
    )]
    public string[] NotifyChannels { get; set; } = [];

    [Description(
        "Key prefix of @socket.io/redis-emitter, such as `socket.io`, whose messages are taken as pushes; empty takes none."
    )]
    public string SocketioEmitter { get; set; } = "";

    [Description("Messages kept while Redis is away.")]
    [Range(1, 1_000_000)]
    public int SpoolMessages { get; set; } = 10_000;

    [Description("Bytes of messages kept while Redis is away.")]
    [Range(1_024, 1_073_741_824)]
    public int SpoolBytes { get; set; } = 16_777_216;

    [Description("How long a message is kept while Redis is away.")]
    [Range(1, 3_600)]
    public TimeSpan SpoolTime { get; set; } = TimeSpan.FromSeconds(30);

    [Description("How long Redis may take to answer a publish before it counts as away.")]
    [Range(1, 30)]
    public TimeSpan PublishTimeout { get; set; } = TimeSpan.FromSeconds(1);

    [Description("How often a probe is sent through Redis; two that don't come back mean that it is away.")]
    [Range(1, 60)]
    public TimeSpan ProbeInterval { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Timeout of each step of attaching a link, in which no publisher waits: Redis may hang, or have much to do.
    /// </summary>
    internal TimeSpan Patience =>
        ProbeInterval * ProbesMissedMax < PatienceMax ? ProbeInterval * ProbesMissedMax : PatienceMax;

    [Description("How long a room without sessions stays subscribed.")]
    [Range(1, 3_600)]
    public TimeSpan RoomLinger { get; set; } = TimeSpan.FromSeconds(5);
}
