using System.Net.Mime;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>Maps /socket.io/.</summary>
internal static class SocketIoRoutes
{
    public static void MapSocketIo(this IEndpointRouteBuilder routes)
    {
        var services = routes.ServiceProvider;
        var endpoints = new SocketIoEndpoints(
            services.GetRequiredService<EngineIoSessions>(),
            new SocketIoPolling(services.GetRequiredService<EngineIoSessions>()),
            services.GetRequiredService<SocketSessions>(),
            services.GetRequiredService<OriginCheck>(),
            services.GetRequiredService<Authentication>()
        );
        Task Handle(HttpContext context) => endpoints.HandleAsync(context);
        var sid = new QueryParameter("sid", "The session's, from its open packet. Without it a session is opened.");
        routes
            .MapGet("/socket.io/", (Delegate)Handle)
            .WithTags("Subscribe")
            .WithName("poll")
            .WithSummary("Open a session of Socket.IO, or wait for its packets.")
            .WithDescription(
                "For Socket.IO clients: packets as docs/protocol.md has them in section 5. A handshake of WebSocket "
                    + "with "
                    + "`transport=websocket` opens a session too, or upgrades one. The body of a 400 or 403 is "
                    + "`{\"code\":…,\"message\":…}`."
            )
            .WithMetadata(
                new QueryParameter("EIO", "The protocol of Engine.IO: 4, or 3 (2 is the same).", "4"),
                new QueryParameter("transport", "`polling` or `websocket`.", "polling"),
                sid
            )
            .Produces<string>(StatusCodes.Status200OK, "text/plain")
            .Produces(StatusCodes.Status101SwitchingProtocols)
            .Produces(StatusCodes.Status400BadRequest, contentType: MediaTypeNames.Application.Json)
            .Produces(StatusCodes.Status403Forbidden, contentType: MediaTypeNames.Application.Json)
            .ProducesProblems(429, 503);
        routes
            .MapPost("/socket.io/", (Delegate)Handle)
            .WithTags("Subscribe")
            .WithName("postPackets")
            .WithSummary("Send packets of a Socket.IO session that polls.")
            .WithMetadata(
                new QueryParameter("EIO", "As when it was opened.", "4"),
                new QueryParameter("transport", "`polling`.", "polling"),
                sid with
                {
                    Meaning = "The session's, from its open packet.",
                }
            )
            .Produces<string>(StatusCodes.Status200OK, "text/html")
            .Produces(StatusCodes.Status400BadRequest, contentType: MediaTypeNames.Application.Json)
            .Produces(StatusCodes.Status403Forbidden, contentType: MediaTypeNames.Application.Json)
            .Produces(StatusCodes.Status413PayloadTooLarge, contentType: MediaTypeNames.Application.Json);

        // OPTIONS, CONNECT (RFC 8441), and what is answered with an error of Engine.IO.
        routes.Map("/socket.io/", endpoints.HandleAsync).ExcludeFromDescription();
    }
}
