using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Net.WebSockets;
using Dmb.Access;
using Dmb.Connections;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>/ws: accept a WebSocket, and hand it over to Sockets/.</summary>
internal static partial class SocketEndpoints
{
    private const string Path = "/ws";
    private const string Subprotocol = "dmb.v1";

    /// <summary>RFC 7692 §7.1.2.1.</summary>
    private const int LargestWindowBits = 15;

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
        var place = sessions.Reserve(address);
        SharedStream? stream = null;
        Task serving;
        try
        {
            var (caller, refusal) = await ReadCallerAsync(context.Request, authentication);
            refusal = origins.Allows(context.Request) ? refusal : CloseReason.Origin;
            if (caller.IsAnonymous)
            {
                broker.Limits.Handshake(address);
            }

            var socket = await UpgradeAsync(context, broker.Options);
            stream = ((SharedUpgrade)context.Features.GetRequiredFeature<IHttpUpgradeFeature>()).Stream!;
            var deflate = DeflateOf(context.Response.Headers.SecWebSocketExtensions.ToString());
            var session = new Session(sessions, caller, stream.Inner, FormatOf(context, deflate), AbortOf(context, stream), stream.Socket);
            stream.Session = session;
            if (stream.Socket is not null)
            {
                // The server's WebSocket would hold the request, and abort it.
                socket = WebSocket.CreateFromStream(stream, new WebSocketCreationOptions
                {
                    IsServer = true,
                    KeepAliveInterval = Timeout.InfiniteTimeSpan,
                    DangerousDeflateOptions = deflate,
                });
            }

            serving = ServeAsync(socket, session, stream.Socket, new SocketClient(session, broker, address), sessions, broker, refusal, place);
        }
        catch
        {
            place.Dispose();
            stream?.Socket?.Dispose();
            throw;
        }

        // A socket that has left the server is served on without the request.
        await (stream.Socket is null ? serving : Task.CompletedTask);
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

    private static Task<WebSocket> UpgradeAsync(HttpContext context, BrokerOptions options) => context.WebSockets.AcceptWebSocketAsync(new WebSocketAcceptContext
    {
        SubProtocol = context.WebSockets.WebSocketRequestedProtocols.Contains(Subprotocol) ? Subprotocol : null,
        DangerousEnableCompression = options.WsCompression,
        DisableServerContextTakeover = true,
    });

    /// <summary>What was agreed on about compression (RFC 7692 §7.1); null if there is none.</summary>
    private static WebSocketDeflateOptions? DeflateOf(string agreed)
    {
        if (!agreed.Contains("permessage-deflate", StringComparison.Ordinal))
        {
            return null;
        }

        var deflate = new WebSocketDeflateOptions();
        foreach (var parameter in agreed.Split(';', StringSplitOptions.TrimEntries))
        {
            switch (parameter.Split('='))
            {
                case ["client_no_context_takeover"]:
                    deflate.ClientContextTakeover = false;
                    break;
                case ["server_no_context_takeover"]:
                    deflate.ServerContextTakeover = false;
                    break;
                case ["client_max_window_bits", var bits]:
                    deflate.ClientMaxWindowBits = int.Parse(bits, CultureInfo.InvariantCulture);
                    break;
                case ["server_max_window_bits", var bits]:
                    deflate.ServerMaxWindowBits = int.Parse(bits, CultureInfo.InvariantCulture);
                    break;
            }
        }

        return deflate;
    }

    private static WireFormat FormatOf(HttpContext context, WebSocketDeflateOptions? deflate)
    {
        // Our frames are deflated with the largest window: a client that asked for a smaller one gets them plain.
        var isDeflated = deflate is { ServerMaxWindowBits: LargestWindowBits };
        return context.Request.Query["trace"] == "1" ? WireFormat.TracedWebSocket : isDeflated ? WireFormat.DeflatedWebSocket : WireFormat.WebSocket;
    }

    /// <summary>What cuts the connection.</summary>
    private static Action AbortOf(HttpContext context, SharedStream stream)
    {
        if (stream.Socket is { } own)
        {
            return () => own.Close(0);
        }

        // The framework cuts the connection when a client breaks the protocol, and with it the close frame that says so.
        var lifetime = context.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>();
        context.Features.Set<IHttpRequestLifetimeFeature>(new HttpRequestLifetimeFeature { RequestAborted = lifetime.RequestAborted });
        return lifetime.Abort;
    }

    /// <summary>Serves a session to its end, and ends its connection, if that has left the server.</summary>
    private static async Task ServeAsync(
        WebSocket socket, Session session, Socket? own, SocketClient client, SessionTable sessions, SocketBroker broker, CloseReason? refusal, IDisposable place)
    {
        // What comes on a socket is not part of the request that opened it: each message begins a trace of its own.
        Activity.Current = null;
        using (place)
        using (socket)
        {
            if (refusal is null)
            {
                // Before anybody else knows the session: nothing comes before the welcome.
                session.Queue("welcome", ServerFrames.Welcome(session.Id, Contract.Version, session.Caller.IsAnonymous, broker.Options));
            }

            sessions.Add(session);
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
            catch (Exception e)
            {
                LogFailed(sessions.Logger, session.Id, e);
                session.Close(CloseReason.OurFault);
            }
            finally
            {
                await client.EndAsync();
                await sessions.RemoveAsync(session);
                if (own is not null)
                {
                    SocketConnection.Close(own);
                }
            }
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

    [LoggerMessage(4003, LogLevel.Error, "Session {SessionId} failed.")]
    private static partial void LogFailed(ILogger logger, string sessionId, Exception exception);
}
