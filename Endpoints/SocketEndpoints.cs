using System.Globalization;
using System.Net.WebSockets;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>Maps /ws: accepts a WebSocket and runs its session.</summary>
internal static class SocketEndpoints
{
    private const string Path = "/ws";

    /// <summary>The WebSocket subprotocol of /ws.</summary>
    public const string Subprotocol = "dmb.v1";

    /// <summary>The default window of permessage-deflate (RFC 7692 §7.1.2.1).</summary>
    private const int LargestWindowBits = 15;

    /// <summary>Installs the framework's WebSockets over <see cref="SharedUpgrade"/>.</summary>
    public static void UseSockets(this WebApplication app) => app.UseWhen(IsSocket, sockets =>
        {
            sockets.Use(
                (context, next) =>
                {
                    SharedUpgrade.Install(context.Features);
                    return next(context);
                }
            );
            sockets.UseWebSockets(new WebSocketOptions { KeepAliveInterval = Timeout.InfiniteTimeSpan });
        });

    /// <summary>Whether a request is for /ws or Socket.IO.</summary>
    public static bool IsSocket(HttpRequest request) =>
        request.Path.StartsWithSegments(Path, StringComparison.OrdinalIgnoreCase)
        || SocketIoEndpoints.IsSocketIo(request);

    public static void MapSockets(this IEndpointRouteBuilder routes)
    {
        // Resolved once, so that sessions hold no service scope.
        var services = routes.ServiceProvider;
        var (sessions, options) = (
            services.GetRequiredService<SocketSessions>(),
            services.GetRequiredService<SocketOptions>()
        );
        var (origins, authentication) = (
            services.GetRequiredService<OriginCheck>(),
            services.GetRequiredService<Authentication>()
        );
        Task Accept(HttpContext context) => AcceptAsync(context, sessions, origins, authentication, options);

        routes
            .MapGet(Path, (Delegate)Accept)
            .WithTags("Subscribe")
            .WithName("connect")
            .WithSummary("Open a WebSocket.")
            .WithDescription("Events both ways, acks, rooms: /asyncapi.yaml has the frames.")
            .WithMetadata(
                new QueryParameter("trace", "With `1` a message of a sampled trace carries its `traceparent`.")
            )
            .Produces(StatusCodes.Status101SwitchingProtocols)
            .ProducesProblems(426, 429, 503);

        // WebSocket over HTTP/2 (RFC 8441).
        routes.MapMethods(Path, [HttpMethods.Connect], (Delegate)Accept).ExcludeFromDescription();
    }

    private static bool IsSocket(HttpContext context) => IsSocket(context.Request);

    private static async Task AcceptAsync(
        HttpContext context,
        SocketSessions sessions,
        OriginCheck origins,
        Authentication authentication,
        SocketOptions options
    )
    {
        if (!context.WebSockets.IsWebSocketRequest || HttpProtocol.IsHttp10(context.Request.Protocol))
        {
            context.Response.Headers.Upgrade = "websocket";
            context.Response.Headers.SecWebSocketVersion = "13";
            await Problems.WriteAsync(
                context,
                StatusCodes.Status426UpgradeRequired,
                ErrorCode.BadFrame,
                "This is a WebSocket: connect to it with ws://."
            );
            return;
        }

        var request = context.Request;
        var admitted = await sessions.AdmitAsync(
            authentication.ReadAsync(request),
            origins.Allows(request),
            context.Connection.RemoteIpAddress
        );
        SharedStream? stream = null;
        Task serving;
        try
        {
            var socket = await UpgradeAsync(context, options);
            stream = ((SharedUpgrade)context.Features.GetRequiredFeature<IHttpUpgradeFeature>()).Stream!;
            var deflate = DeflateOf(context.Response.Headers.SecWebSocketExtensions.ToString());
            admitted = admitted with
            {
                Wire = WireOf(context, deflate),
                Agent = UserAgents.Intern(context.Request.Headers.UserAgent.ToString()),
                Answer = stream.TakeAnswer(),
            };

            // On a detached socket the framework's WebSocket would hold the request, and abort it.
            if (stream.Socket is null)
            {
                serving = sessions.ServeAsync(stream, socket, AbortOf(context), admitted);
            }
            else
            {
                // The session outlives the request, and holds nothing of its context: logging scopes, activity.
                using (ExecutionContext.SuppressFlow())
                {
                    serving = sessions.ServeDetachedAsync(stream, deflate, admitted);
                }
            }
        }
        catch
        {
            admitted.Lease.Dispose();
            stream?.Socket?.Dispose();
            throw;
        }

        // The session of a detached socket outlives the request.
        await (stream.Socket is null ? serving : Task.CompletedTask);
    }

    private static Task<WebSocket> UpgradeAsync(HttpContext context, SocketOptions options)
    {
        var accept = new WebSocketAcceptContext
        {
            SubProtocol = context.WebSockets.WebSocketRequestedProtocols.Contains(Subprotocol) ? Subprotocol : null,
            DangerousEnableCompression = options.WsCompression,
            DisableServerContextTakeover = true,
        };
        return context.WebSockets.AcceptWebSocketAsync(accept);
    }

    /// <summary>The negotiated compression (RFC 7692 §7.1); null for none.</summary>
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

    private static WebSocketWire WireOf(HttpContext context, WebSocketDeflateOptions? deflate)
    {
        // Shared frames use the largest window: a client that negotiated a smaller one gets uncompressed frames.
        var isDeflated = deflate is { ServerMaxWindowBits: LargestWindowBits };
        return context.Request.QueryString.HasValue && context.Request.Query["trace"] == "1" ? WebSocketWire.Traced
            : isDeflated ? WebSocketWire.Deflated
            : WebSocketWire.Plain;
    }

    /// <summary>Returns the action that aborts a connection of Kestrel.</summary>
    public static Action AbortOf(HttpContext context)
    {
        // At a protocol error the framework would abort the connection before the close frame is sent.
        var lifetime = context.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>();
        context.Features.Set<IHttpRequestLifetimeFeature>(
            new HttpRequestLifetimeFeature { RequestAborted = lifetime.RequestAborted }
        );
        return lifetime.Abort;
    }
}
