using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Routing;

/// <summary>Settings of routing: buses, events, and the limits of messages, queues and idempotency keys.</summary>
internal sealed class RoutingOptions
{
    [Description(
        "`publish` takes pushes and registrations and nothing else: no sockets, no streams, no subscription of Redis, "
            + "which it needs."
    )]
    [AllowedValues("all", "publish")]
    public string Role { get; set; } = "all";

    /// <summary>Whether the node only publishes: it holds no sessions, and is told nothing by other nodes.</summary>
    public bool IsPublishOnly => Role == "publish";

    [Description("Buses that anyone may join; sessions join `public` automatically.")]
    public string[] PublicBuses { get; set; } = ["public", "everyone"];

    [Description("Buses of hosts; a socket's `ping` goes to all of them.")]
    public string[] HostBuses { get; set; } = ["dial_calls", "locations", "traces"];

    [Description("Buses of services and staff.")]
    public string[] PrivateBuses { get; set; } = ["calls", "internal", "support"];

    [Description("The default event table: event=bus, or event= for one without a default bus.")]
    public string[] Events { get; set; } =
    [
        "report_dev=support",
        "report_ops=support",
        "report_csr=support",
        "script_register=support",
        "pipe_blocked=support",
        "call=calls",
        "reference=calls",
        "statistics:add=calls",
        "trace=traces",
        "pong=internal",
        "trace_started=internal",
        "trace_completed=internal",
        "trace_error=internal",
        "location:update=internal",
        "location:response=internal",
        "locations:response=internal",
        "presentities:response=internal",
        "active_watchers:response=internal",
        "registrants:response=internal",
        "location=locations",
        "locations=locations",
        "registrants=locations",
        "presentities=locations",
        "active_watchers=locations",
    ];

    [Description("Registered events.")]
    [Range(1, 1_000_000)]
    public int MaxEvents { get; set; } = 10_000;

    [Description("Bytes of one message: a push's body, an item of a batch, a frame of a socket.")]
    [Range(64, 16_777_216)]
    public int MaxMessageBytes { get; set; } = 262_144;

    [Description("Levels of nesting in a message's JSON.")]
    [Range(1, 1_000)]
    public int MaxJsonDepth { get; set; } = 64;

    [Description("Rooms named in a message's `_in`.")]
    [Range(1, 10_000)]
    public int MaxIn { get; set; } = 100;

    [Description("Messages waiting for one session before it is closed as a slow consumer.")]
    [Range(8, 65_536)]
    public int MaxPendingMessages { get; set; } = 1_024;

    [Description("Bytes waiting for one session before it is closed as a slow consumer; at least one message fits.")]
    [Range(1_024, 268_435_456)]
    public int MaxPendingBytes { get; set; } = 1_048_576;

    [Description("How long an Idempotency-Key is remembered.")]
    [Range(1, 86400)]
    public TimeSpan IdempotencyWindow { get; set; } = TimeSpan.FromMinutes(5);

    [Description("Idempotency keys remembered at most; the oldest is forgotten first.")]
    [Range(1, 10_000_000)]
    public int MaxIdempotencyKeys { get; set; } = 100_000;

    /// <summary>Private and host buses, which <c>configure</c> joins and leaves.</summary>
    public IEnumerable<string> ConfigurableBuses => PrivateBuses.Concat(HostBuses);
}
