using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Sockets;

/// <summary>Settings of sessions: limits, keep-alive, closing and draining.</summary>
internal sealed class SocketOptions
{
    [Description("Whether sockets need no credentials; without any they receive `public` only.")]
    public bool Anonymous { get; set; }

    [Description("How long a socket that was opened without a token may take to send one.")]
    [Range(1, 300)]
    public TimeSpan AuthTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description("Sessions of this node; one more is refused with 503.")]
    [Range(1, 10_000_000)]
    public int MaxSessions { get; set; } = 100_000;

    [Description("Rooms that one session may be in.")]
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

    [Description("How long a closing socket may take to read its queued messages and complete the close handshake.")]
    [Range(1, 60)]
    public TimeSpan CloseTimeout { get; set; } = TimeSpan.FromSeconds(5);

    [Description("How long a stopping node continues to serve while `/readyz` fails; 5 behind a load balancer.")]
    [Range(0, 300)]
    public TimeSpan DrainDelay { get; set; }

    [Description(
        "Time over which a stopping node closes its sessions, in random order; ends at once without sessions."
    )]
    [Range(0, 3600)]
    public TimeSpan DrainWindow { get; set; } = TimeSpan.FromSeconds(5);

    [Description(
        "Whether Socket.IO sessions can be recovered, which adds an argument to their events: for clients that ask, "
            + "or all."
    )]
    [AllowedValues("off", "asked", "on")]
    public string SocketioRecovery { get; set; } = "asked";

    [Description("Prefix of the sids of this node's Socket.IO sessions, by which proxies route: letters and digits.")]
    public string NodeName { get; set; } = "";

    [Description("Whether sockets may negotiate permessage-deflate.")]
    public bool WsCompression { get; set; }
}
