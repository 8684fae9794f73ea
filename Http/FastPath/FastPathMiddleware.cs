using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Connections;

namespace Dmb.Http.FastPath;

/// <summary>
/// Connection middleware in front of Kestrel that answers pushes (<see cref="PushRequestParser"/>). At the first other
/// request it hands the connection to Kestrel for good, with that request unread.
/// </summary>
internal sealed class FastPathMiddleware(
    PushHandler pushes,
    Authentication authentication,
    AccessRules rules,
    HostCheck hosts,
    TrustedProxies proxies,
    UnfinishedBodies unfinished,
    PushResponseWriter responses,
    RequestTelemetry telemetry,
    SessionTable sessions,
    TimeProvider time,
    ILogger<FastPathMiddleware> logger
)
{
    public PushHandler Pushes => pushes;

    public HostCheck Hosts => hosts;

    public TrustedProxies Proxies => proxies;

    public UnfinishedBodies Unfinished => unfinished;

    public PushResponseWriter Responses => responses;

    public RequestTelemetry Telemetry => telemetry;

    public TimeProvider Time => time;

    public ILogger Logger => logger;

    /// <summary>Whether connections close after their answer.</summary>
    public bool IsDraining => sessions.IsDraining;

    /// <summary>Whether Kestrel has served a handshake, and so is prepared for others.</summary>
    public bool HasServedHandshake { get; set; }

    /// <summary>Builds the connection delegate: the fast path, then Kestrel.</summary>
    public ConnectionDelegate Before(ConnectionDelegate kestrel) =>
        connection => new FastPathConnection(this, connection).RunAsync(kestrel);

    /// <summary>Authenticates the caller of a push.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> FindCallerAsync(PushRequestParser head, IPAddress? address) =>
        !rules.IsOn
            ? new(Caller.TrustedHost)
            : authentication.FindAsync(new ShownCredentials(Text(head.Authorization), Text(head.ApiKey)), address);

    /// <summary>Decodes a header's value; empty if there is none.</summary>
    public static string Text(ReadOnlySpan<byte> header) => Encoding.ASCII.GetString(header);
}
