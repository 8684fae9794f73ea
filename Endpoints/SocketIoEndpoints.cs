using System.Net.WebSockets;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>/socket.io/: requests of Engine.IO clients (docs/protocol.md §5).</summary>
internal sealed class SocketIoEndpoints(
    EngineIoSessions engines,
    SocketIoPolling polling,
    SocketSessions sessions,
    OriginCheck origins,
    Authentication authentication
)
{
    private const string Path = "/socket.io";
    private const string WebSocketName = "websocket";

    /// <summary>Whether a request is for Socket.IO.</summary>
    public static bool IsSocketIo(HttpRequest request) =>
        request.Path.StartsWithSegments(Path, StringComparison.OrdinalIgnoreCase);

    /// <summary>Answers any request below /socket.io/.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        var request = context.Request;
        if (!origins.Allows(request))
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.Forbidden);
            return;
        }

        AllowOrigin(context);
        if (HttpMethods.IsOptions(request.Method))
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            context.Response.Headers.AccessControlAllowMethods = "GET,POST";
            context.Response.Headers.AccessControlAllowHeaders = "Authorization,Content-Type,X-Api-Key";
            context.Response.Headers.AccessControlMaxAge = "600";
            return;
        }

        var isSocket = request.Query["transport"] == WebSocketName;
        if (!isSocket && request.Query["transport"] != "polling")
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.UnknownTransport);
        }
        else if (request.Query["sid"].ToString() is { Length: > 0 } sid)
        {
            await ContinueAsync(context, sid, isSocket);
        }
        else if (!HttpMethods.IsGet(request.Method) && !(isSocket && context.WebSockets.IsWebSocketRequest))
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadHandshakeMethod);
        }
        else if (isSocket != context.WebSockets.IsWebSocketRequest)
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadRequest);
        }
        else if (VersionOf(request) is not { } version)
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.UnsupportedVersion);
        }
        else
        {
            await OpenAsync(context, version, isSocket);
        }
    }

    private async Task OpenAsync(HttpContext context, EngineIoVersion version, bool isSocket)
    {
        var isRecoveryAsked = context.Request.Query["recovery"].ToString() is "1" or "true";
        var admitted = await sessions.AdmitAsync(
            authentication.ReadAsync(context.Request),
            isAllowed: true,
            context.Connection.RemoteIpAddress
        );
        admitted = admitted with { Agent = UserAgents.Intern(context.Request.Headers.UserAgent.ToString()) };
        EngineIoWebSocket? socket;
        EngineIoSession engine;
        try
        {
            socket = isSocket ? await AcceptAsync(context) : null;
            if (socket?.IsDetached == true)
            {
                // As in SocketEndpoints: the session outlives the request, and holds nothing of its context.
                using (ExecutionContext.SuppressFlow())
                {
                    _ = socket.ReadAsync(engines.Open(version, admitted, socket, isRecoveryAsked));
                    return;
                }
            }

            engine = engines.Open(version, admitted, socket, isRecoveryAsked);
        }
        catch
        {
            admitted.Lease.Dispose();
            throw;
        }

        if (socket is null)
        {
            await SocketIoPolling.PollAsync(context, engine);
            return;
        }

        await Task.WhenAll(socket.ReadAsync(engine), engine.Running);
    }

    private async Task ContinueAsync(HttpContext context, string sid, bool isSocket)
    {
        var engine = engines.Find(sid);
        if (engine is { Session.IsSilent: true })
        {
            // The client takes the session for lost as well: its `bye` is not kept for it.
            engine.End(isClosedByClient: false);
        }

        engine?.Session.Tick();
        if (
            engine is null
            || engine.Session.IsSilent
            || engine.Session.IsClosing && engine.Polling is null
            || !await BelongsAsync(context, engine)
        )
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.UnknownSession);
        }
        else if (isSocket)
        {
            await ProbeAsync(context, engine);
        }
        else if (context.WebSockets.IsWebSocketRequest || engine.Polling is null)
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadRequest);
        }
        else if (HttpMethods.IsGet(context.Request.Method))
        {
            await SocketIoPolling.PollAsync(context, engine);
        }
        else if (HttpMethods.IsPost(context.Request.Method))
        {
            await polling.PostAsync(context, engine);
        }
        else
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadRequest);
        }
    }

    private async ValueTask<bool> BelongsAsync(HttpContext context, EngineIoSession engine)
    {
        try
        {
            return engine.BelongsTo(
                await authentication.ReadAsync(context.Request),
                context.Connection.RemoteIpAddress
            );
        }
        catch (RefusedException)
        {
            return engine.BelongsTo(Caller.Anonymous, context.Connection.RemoteIpAddress);
        }
    }

    private async Task ProbeAsync(HttpContext context, EngineIoSession engine)
    {
        if (!context.WebSockets.IsWebSocketRequest || !engine.TryBeginProbe())
        {
            await EngineIoAnswer.RefuseAsync(context, EngineIoError.BadRequest);
            return;
        }

        EngineIoWebSocket socket;
        try
        {
            socket = await AcceptAsync(context);
        }
        catch
        {
            engine.EndProbe();
            throw;
        }

        var probing = socket.ProbeAsync(engine, engines.Time);
        if (!socket.IsDetached)
        {
            await probing;
        }
    }

    private async Task<EngineIoWebSocket> AcceptAsync(HttpContext context)
    {
        var accepted = await context.WebSockets.AcceptWebSocketAsync();
        var stream = ((SharedUpgrade)context.Features.GetRequiredFeature<IHttpUpgradeFeature>()).Stream!;

        // On a socket that has left the server, the server's WebSocket would hold the request, and abort it.
        return stream.Socket is null
            ? new EngineIoWebSocket(
                accepted,
                stream,
                new StreamFrameOutput(stream.Inner!, SocketEndpoints.AbortOf(context)),
                engines.MaxPayloadBytes
            )
            : new EngineIoWebSocket(
                WebSocket.CreateFromStream(
                    stream,
                    new WebSocketCreationOptions { IsServer = true, KeepAliveInterval = Timeout.InfiniteTimeSpan }
                ),
                stream,
                new SocketFrameOutput(stream.Socket),
                engines.MaxPayloadBytes
            );
    }

    private static EngineIoVersion? VersionOf(HttpRequest request) =>
        request.Query["EIO"].ToString() switch
        {
            "2" or "3" => EngineIoVersion.V3,
            "4" => EngineIoVersion.V4,
            _ => null,
        };

    /// <summary>
    /// The page's origin, which is allowed, is echoed: its credentials may come too (Fetch Standard, CORS protocol).
    /// </summary>
    private static void AllowOrigin(HttpContext context)
    {
        if (context.Request.Headers.Origin.ToString() is { Length: > 0 } origin)
        {
            context.Response.Headers.AccessControlAllowOrigin = origin;
            context.Response.Headers.AccessControlAllowCredentials = "true";
        }

        context.Response.Headers.Vary = "Origin";
    }
}
