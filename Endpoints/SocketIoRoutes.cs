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
        routes.Map("/socket.io", endpoints.HandleAsync).ExcludeFromDescription();
    }
}
