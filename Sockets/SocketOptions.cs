using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Sockets;

/// <summary>
/// Settings of sessions: how many, in how many rooms, how they are kept alive and closed, and how a node drains.
/// </summary>
internal sealed class SocketOptions
{
    [Description("Whether sockets may stay without credentials, in `public` alone.")]
    public bool Anonymous { get; set; }

    [Description("How long a socket may take to send its token, when it was opened without one.")]
    [Range(1, 300)]
    public TimeSpan AuthTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description("Sessions of this node; one more is refused with 503.")]
    [Range(1, 10_000_000)]
    public int MaxSessions { get; set; } = 100_000;

    [Description("Rooms that one session is in.")]
    [Range(1, 100_000)]
    public int MaxRoomsPerSession { get; set; } = 1_000;

    [Description("Rooms of one subscribe, or of one GET /events.")]
    [Range(1, 10_000)]
    public int MaxRoomsPerSubscribe { get; set; } = 100;

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

    [Description(
        "How long a node that was told to stop serves on as before, but is not ready; 5 behind a load balancer."
    )]
    [Range(0, 300)]
    public TimeSpan DrainDelay { get; set; }

    [Description(
        "Over how long a node that stops closes its sessions, in random order; without sessions it doesn't wait."
    )]
    [Range(0, 3600)]
    public TimeSpan DrainWindow { get; set; } = TimeSpan.FromSeconds(5);

    [Description(
        "Whether Socket.IO sessions can be recovered, which adds an argument to their events: for clients that ask, "
            + "or all."
    )]
    [AllowedValues("off", "asked", "on")]
    public string SocketioRecovery { get; set; } = "asked";

    [Description(
        "What the sids of this node's Socket.IO sessions begin with, for proxies that route by it: letters and digits."
    )]
    public string NodeName { get; set; } = "";

    [Description("Whether sockets may negotiate permessage-deflate.")]
    public bool WsCompression { get; set; }
}
