using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Routing;

/// <summary>
/// All settings of a node: meaning, range and default in one place. A property <c>MaxMessageBytes</c> is set by the
/// environment's <c>DMB_MAX_MESSAGE_BYTES</c>, by <c>Dmb:MaxMessageBytes</c> in appsettings.json and by
/// <c>--Dmb:MaxMessageBytes=</c>, the later one winning; durations are given in seconds, lists with commas.
/// </summary>
internal sealed class BrokerOptions
{
    [Description("Port to listen on; 0 takes any free one. Without it, PORT is taken.")]
    [Range(0, 65_535)]
    public int Port { get; set; } = 8082;

    [Description("Address to listen on: an IP address, localhost, or * for all.")]
    public string Host { get; set; } = "127.0.0.1";

    [Description("`none` says that listening on more than loopback without keys or tokens is meant: whoever reaches the port may do everything.")]
    [AllowedValues("", "none")]
    public string Auth { get; set; } = "";

    [Description("Keys of hosts: name:secret:scopes, separated by `;`, e.g. opensips:<secret>:publish;ops:<secret>:read,register. Scopes: read, publish, register, admin.")]
    public string Keys { get; set; } = "";

    [Description("A file of such keys, one a line, read again when it changes.")]
    public string KeysFile { get; set; } = "";

    [Description("Secret of the users' tokens (JWT, HS256): 32 bytes or more.")]
    public string JwtSecret { get; set; } = "";

    [Description("A file of public keys of the users' tokens (JWT, RS256 and ES256), PEM or JWKS, read again when it changes.")]
    public string JwtKeys { get; set; } = "";

    [Description("The `iss` that tokens must have.")]
    public string JwtIssuer { get; set; } = "";

    [Description("The `aud` that tokens must have.")]
    public string JwtAudience { get; set; } = "";

    [Description("Whether a token may come as ?access_token=, for pages that stream /events. URLs end up in the logs of proxies.")]
    public bool TokenInQuery { get; set; }

    [Description("Whether sockets may stay without credentials, in `public` alone.")]
    public bool Anonymous { get; set; }

    [Description("How long a socket may take to send its token, when it was opened without one.")]
    [Range(1, 300)]
    public TimeSpan AuthTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description("Origins of pages that may use the broker besides its own, e.g. https://desk.example.com.")]
    public string[] AllowedOrigins { get; set; } = [];

    [Description("Reverse proxies whose X-Forwarded-For, -Proto and -Host are believed: IP addresses, or networks such as 10.0.0.0/8.")]
    public string[] TrustedProxies { get; set; } = [];

    [Description("Buses that anyone may join; `public` is joined by itself.")]
    public string[] PublicBuses { get; set; } = ["public", "everyone"];

    [Description("Buses of hosts; a socket's `ping` goes to all of them.")]
    public string[] HostBuses { get; set; } = ["dial_calls", "locations", "traces"];

    [Description("Buses of services and staff.")]
    public string[] PrivateBuses { get; set; } = ["calls", "internal", "support"];

    [Description("The default event table: event=bus, or event= for one without a default bus.")]
    public string[] Events { get; set; } =
    [
        "report_dev=support", "report_ops=support", "report_csr=support", "script_register=support",
        "pipe_blocked=support",
        "call=calls", "reference=calls", "statistics:add=calls",
        "trace=traces",
        "pong=internal", "trace_started=internal", "trace_completed=internal", "trace_error=internal",
        "location:update=internal", "location:response=internal", "locations:response=internal",
        "presentities:response=internal", "active_watchers:response=internal", "registrants:response=internal",
        "location=locations", "locations=locations", "registrants=locations", "presentities=locations",
        "active_watchers=locations",
    ];

    [Description("Bytes of one message: a push's body, an item of a batch, a frame of a socket.")]
    [Range(64, 16_777_216)]
    public int MaxMessageBytes { get; set; } = 262_144;

    [Description("Bytes of the body of a batch.")]
    [Range(64, 67_108_864)]
    public int MaxBatchBytes { get; set; } = 4_194_304;

    [Description("Items of one batch.")]
    [Range(1, 10_000)]
    public int MaxBatchItems { get; set; } = 100;

    [Description("Levels of nesting in a message's JSON.")]
    [Range(1, 1_000)]
    public int MaxJsonDepth { get; set; } = 64;

    [Description("Registered events.")]
    [Range(1, 1_000_000)]
    public int MaxEvents { get; set; } = 10_000;

    [Description("Rooms named in a message's `_in`.")]
    [Range(1, 10_000)]
    public int MaxIn { get; set; } = 100;

    [Description("Rooms that one session is in.")]
    [Range(1, 100_000)]
    public int MaxRoomsPerSession { get; set; } = 1_000;

    [Description("Rooms of one subscribe, or of one GET /events.")]
    [Range(1, 10_000)]
    public int MaxRoomsPerSubscribe { get; set; } = 100;

    [Description("Sessions of this node; one more is refused with 503.")]
    [Range(1, 10_000_000)]
    public int MaxSessions { get; set; } = 100_000;

    [Description("Sessions of one address, of IPv6 of one /64; one more is refused with 503. 0 is no limit.")]
    [Range(0, 10_000_000)]
    public int MaxSessionsPerAddress { get; set; }

    [Description("Messages that one key, one user, or else one address may publish in a second. 0 is no limit.")]
    [Range(0, 10_000_000)]
    [Elsewhere(2_000)]
    public int PublishRate { get; set; }

    [Description("Rooms that one key, one user, or else one address may join in a second. 0 is no limit.")]
    [Range(0, 10_000_000)]
    [Elsewhere(1_000)]
    public int JoinRate { get; set; }

    [Description("Sockets that one address may open in a second without credentials. 0 is no limit.")]
    [Range(0, 10_000_000)]
    [Elsewhere(20)]
    public int HandshakeRate { get; set; }

    [Description("Messages waiting for one session before it is closed as a slow consumer.")]
    [Range(8, 65_536)]
    public int MaxPendingMessages { get; set; } = 1_024;

    [Description("Bytes waiting for one session before it is closed as a slow consumer; at least one message fits.")]
    [Range(1_024, 268_435_456)]
    public int MaxPendingBytes { get; set; } = 1_048_576;

    [Description("How long a new connection may take to say something, and a request, or a handshake, to have sent its headers.")]
    [Range(1, 300)]
    public TimeSpan HeadersTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description("How often a socket is pinged.")]
    [Range(1, 3600)]
    public TimeSpan PingInterval { get; set; } = TimeSpan.FromSeconds(25);

    [Description("How long a socket may be silent, pongs included, before it is closed.")]
    [Range(1, 7200)]
    public TimeSpan SilentTimeout { get; set; } = TimeSpan.FromSeconds(45);

    [Description("How often a stream of server-sent events gets a comment line.")]
    [Range(1, 3600)]
    public TimeSpan CommentInterval { get; set; } = TimeSpan.FromSeconds(15);

    [Description("How long a closed socket may take to read what is left and to say goodbye.")]
    [Range(1, 60)]
    public TimeSpan CloseTimeout { get; set; } = TimeSpan.FromSeconds(5);

    [Description("How long a node that was told to stop serves on as before, but is not ready; 5 behind a load balancer.")]
    [Range(0, 300)]
    public TimeSpan DrainDelay { get; set; }

    [Description("Over how long a node that stops closes its sessions, in random order; without sessions it doesn't wait.")]
    [Range(0, 3600)]
    public TimeSpan DrainWindow { get; set; } = TimeSpan.FromSeconds(5);

    [Description("How long an Idempotency-Key is remembered.")]
    [Range(1, 86400)]
    public TimeSpan IdempotencyWindow { get; set; } = TimeSpan.FromMinutes(5);

    [Description("Idempotency keys remembered at most; the oldest is forgotten first.")]
    [Range(1, 10_000_000)]
    public int MaxIdempotencyKeys { get; set; } = 100_000;

    [Description("Whether sockets may negotiate permessage-deflate.")]
    public bool WsCompression { get; set; }

    [Description("Messages kept in the history of a room, for those who come back; 0 keeps none.")]
    [Range(0, 10_000)]
    public int HistorySize { get; set; } = 100;

    [Description("How long a message is kept in a room's history; 0 keeps none.")]
    [Range(0, 86_400)]
    public TimeSpan HistoryTtl { get; set; } = TimeSpan.FromMinutes(1);

    [Description("Rooms that keep more or less than that: room=messages or room=messages/seconds, e.g. endpoint:*=20/30,traces=0. The first that fits counts.")]
    public string[] HistoryRooms { get; set; } = [];

    [Description("Without Redis: bytes that the histories of all rooms may take, for a message in each of its rooms about twice its data; the oldest goes first.")]
    [Range(1_024, 1_073_741_824)]
    public int HistoryBytes { get; set; } = 67_108_864;

    [Description("How long the count of a quiet room's messages is remembered: whoever was away for longer is told that it can't be known what was missed.")]
    [Range(60, 315_360_000)]
    public TimeSpan PositionTtl { get; set; } = TimeSpan.FromDays(30);

    [Variable("REDIS_HOST")]
    [Description("Host of Redis; `none` runs this node alone. Without it, localhost is tried once at start.")]
    public string RedisHost { get; set; } = "";

    [Variable("REDIS_PORT")]
    [Description("Port of Redis.")]
    [Range(1, 65_535)]
    public int RedisPort { get; set; } = 6379;

    [Variable("REDIS_URL")]
    [Description("Redis as a URL instead: redis://[:password@]host[:port][/database], or rediss:// for TLS.")]
    public string RedisUrl { get; set; } = "";

    [Description("What all channels and keys in Redis begin with; brokers with different prefixes don't meet.")]
    public string Prefix { get; set; } = "dmb:";

    [Description("While Redis is away: `spool` delivers here and keeps for the others, `local` delivers here only, `reject` answers 503.")]
    [AllowedValues("spool", "local", "reject")]
    public string Outage { get; set; } = "spool";

    [Description("Patterns of Redis channels that take pushes besides dmb:notify:*, e.g. opensips:*; the event is what the * stands for.")]
    public string[] NotifyChannels { get; set; } = [];

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

    [Description("How long a room that nobody is in any more stays subscribed.")]
    [Range(1, 3_600)]
    public TimeSpan RoomLinger { get; set; } = TimeSpan.FromSeconds(5);

    [Description("How long a backend's registration lives after its last use; being listened to by a user counts.")]
    [Range(60, 31_536_000)]
    public TimeSpan BackendTtl { get; set; } = TimeSpan.FromDays(1);

    [Description("Uplink messages stored for each backend; the oldest goes first.")]
    [Range(1, 1_000_000)]
    public int UplinkMessages { get; set; } = 10_000;

    [Description("Without Redis: bytes of uplink messages stored for all backends.")]
    [Range(1_024, 1_073_741_824)]
    public int UplinkBytes { get; set; } = 67_108_864;

    [Description("Without Redis: registered backends.")]
    [Range(1, 10_000_000)]
    public int MaxBackends { get; set; } = 100_000;

    /// <summary>Whether there are keys or tokens, so that callers are asked for them.</summary>
    public bool HasCredentials => Keys.Length + KeysFile.Length + JwtSecret.Length + JwtKeys.Length > 0;

    /// <summary>Private and host buses: those that <c>configure</c> joins and leaves.</summary>
    public IEnumerable<string> ConfigurableBuses => PrivateBuses.Concat(HostBuses);
}

/// <summary>A setting's default for a node that others than this machine can reach.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ElsewhereAttribute(int value) : Attribute
{
    public int Value { get; } = value;
}

/// <summary>The name of a setting in the environment, where it is not made from the property's.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class VariableAttribute(string name) : Attribute
{
    public string Name { get; } = name;
}
