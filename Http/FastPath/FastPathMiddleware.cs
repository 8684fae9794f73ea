using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Connections;

namespace Dmb.Http.FastPath;

/// <summary>
/// Connection middleware in front of Kestrel that answers pushes (<see cref="PushRequestParser"/>). The first other
/// request makes the connection Kestrel's for good, with that request unread.
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

    /// <summary>Whether each answer is the last on its connection.</summary>
    public bool IsDraining => sessions.IsDraining;

    /// <summary>Runs the fast path on a connection, and Kestrel behind it.</summary>
    public ConnectionDelegate Before(ConnectionDelegate kestrel) =>
        connection => new FastPathConnection(this, connection).RunAsync(kestrel);

    /// <summary>The caller of a push.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> FindCallerAsync(PushRequestParser head, IPAddress? address) =>
        !rules.IsOn
            ? new(Caller.TrustedHost)
            : authentication.FindAsync(new ShownCredentials(Text(head.Authorization), Text(head.ApiKey)), address);

    /// <summary>The text of a header; empty if there is none.</summary>
    public static string Text(ReadOnlySpan<byte> header) => Encoding.ASCII.GetString(header);
}
