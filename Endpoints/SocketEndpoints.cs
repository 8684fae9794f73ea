using System.Diagnostics;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>/ws: accept a WebSocket, and hand it over to Sockets/.</summary>
internal static class SocketEndpoints
{
    private const string Path = "/ws";
    private const string Subprotocol = "dmb.v1";

    /// <summary>The framework's WebSockets, over a stream of ours (<see cref="SharedUpgrade"/>).</summary>
    public static void UseSockets(this WebApplication app) => app.UseWhen(context => IsSocket(context.Request), sockets =>
    {
        sockets.Use((context, next) =>
        {
            SharedUpgrade.Install(context.Features);
            return next(context);
        });
        sockets.UseWebSockets(new WebSocketOptions { KeepAliveInterval = Timeout.InfiniteTimeSpan });
    });

    /// <summary>Whether a request is for the sockets.</summary>
    public static bool IsSocket(HttpRequest request) => request.Path.StartsWithSegments(Path, StringComparison.OrdinalIgnoreCase);

    public static void MapSockets(this IEndpointRouteBuilder routes)
    {
        // Found once, so that no session holds a service scope for as long as it lasts.
        var (sessions, broker) = (routes.ServiceProvider.GetRequiredService<SessionTable>(), routes.ServiceProvider.GetRequiredService<SocketBroker>());
        var (origins, authentication) = (routes.ServiceProvider.GetRequiredService<OriginCheck>(), routes.ServiceProvider.GetRequiredService<Authentication>());
        Task Accept(HttpContext context) => AcceptAsync(context, sessions, broker, origins, authentication);

        routes.MapGet(Path, (Delegate)Accept)
            .WithTags("Subscribe")
            .WithName("connect")
            .WithSummary("Open a WebSocket.")
            .WithDescription("Events both ways, acks, rooms: /asyncapi.yaml has the frames.")
            .WithMetadata(new QueryParameter("trace", "With `1` a message of a sampled trace carries its `traceparent`."))
            .Produces(StatusCodes.Status101SwitchingProtocols)
            .ProducesProblems(426, 429, 503);

        // The same over HTTP/2 (RFC 8441).
        routes.MapMethods(Path, [HttpMethods.Connect], (Delegate)Accept).ExcludeFromDescription();
    }

    private static async Task AcceptAsync(
        HttpContext context, SessionTable sessions, SocketBroker broker, OriginCheck origins, Authentication authentication)
    {
        if (!context.WebSockets.IsWebSocketRequest || HttpProtocol.IsHttp10(context.Request.Protocol))
        {
            context.Response.Headers.Upgrade = "websocket";
            context.Response.Headers.SecWebSocketVersion = "13";
            await Problems.WriteAsync(context, StatusCodes.Status426UpgradeRequired, ErrorCode.BadFrame, "This is a WebSocket: connect to it with ws://.");
            return;
        }

        var address = context.Connection.RemoteIpAddress;
        using var place = sessions.Reserve(address);
        var (caller, refusal) = await ReadCallerAsync(context.Request, authentication);
        refusal = origins.Allows(context.Request) ? refusal : CloseReason.Origin;
        if (caller.IsAnonymous)
        {
            broker.Limits.Handshake(address);
        }

        await RunAsync(context, sessions, broker, caller, refusal);
    }

    /// <summary>Who opens a socket, or with what it is closed: a page learns nothing from the answer to a handshake.</summary>
    private static async ValueTask<(Caller Caller, CloseReason? Refusal)> ReadCallerAsync(HttpRequest request, Authentication authentication)
    {
        try
        {
            return (await authentication.ReadAsync(request), null);
        }
        catch (RefusedException refused)
        {
            return (Caller.Anonymous, CloseReason.Of(refused));
        }
    }

    private static async Task RunAsync(HttpContext context, SessionTable sessions, SocketBroker broker, Caller caller, CloseReason? refusal)
    {
        var offered = context.WebSockets.WebSocketRequestedProtocols;
        using var socket = await context.WebSockets.AcceptWebSocketAsync(new WebSocketAcceptContext
        {
            SubProtocol = offered.Contains(Subprotocol) ? Subprotocol : null,
            DangerousEnableCompression = broker.Options.WsCompression,
            DisableServerContextTakeover = true,
        });

        // The framework cuts the connection when a client breaks the protocol, and with it the close frame that says so.
        var lifetime = context.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>();
        context.Features.Set<IHttpRequestLifetimeFeature>(new HttpRequestLifetimeFeature { RequestAborted = lifetime.RequestAborted });

        var upgrade = (SharedUpgrade)context.Features.GetRequiredFeature<IHttpUpgradeFeature>();
        var stream = upgrade.Stream!;

        // Our frames are deflated with the largest window: a client that asked for a smaller one gets them plain.
        var extensions = context.Response.Headers.SecWebSocketExtensions.ToString();
        var isDeflated = extensions.Contains("permessage-deflate", StringComparison.Ordinal)
            && !extensions.Contains("server_max_window_bits", StringComparison.Ordinal);
        var format = context.Request.Query["trace"] == "1" ? WireFormat.TracedWebSocket : isDeflated ? WireFormat.DeflatedWebSocket : WireFormat.WebSocket;

        // What comes on a socket is not part of the request that opened it: each message begins a trace of its own.
        Activity.Current = null;
        var session = new Session(sessions, caller, stream.Inner, format, lifetime.Abort, upgrade.Socket);
        stream.Session = session;
        if (refusal is null)
        {
            // Before anybody else knows the session: nothing comes before the welcome.
            session.Queue("welcome", ServerFrames.Welcome(session.Id, Contract.Version, caller.IsAnonymous, broker.Options));
        }

        sessions.Add(session);
        var client = new SocketClient(session, broker, context.Connection.RemoteIpAddress);
        try
        {
            if (refusal is null)
            {
                await WelcomeAsync(session, broker);
            }
            else
            {
                // Let in just far enough that the page can be told why.
                session.Close(refusal);
            }

            await WebSocketTransport.RunAsync(socket, session, client, broker.Options);
        }
        catch
        {
            session.Close(CloseReason.OurFault);
            throw;
        }
        finally
        {
            await client.EndAsync();
            await sessions.RemoveAsync(session);
        }
    }

    /// <summary>Sends the welcome that is queued: whoever has read it is in the room.</summary>
    private static async Task WelcomeAsync(Session session, SocketBroker broker)
    {
        try
        {
            var joining = await broker.Joins.JoinAsync(session, [AccessRules.OpenBus]);
            await joining.ReplayAsync();
        }
        finally
        {
            session.Flush();
        }
    }
}
