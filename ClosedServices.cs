using System.Diagnostics.CodeAnalysis;
using Dmb.Http.FastPath;
using Dmb.Redis;
using Dmb.Sockets;
using Dmb.Transport;
using Dmb.Webhooks;
using Microsoft.AspNetCore.Cors.Infrastructure;
using Microsoft.AspNetCore.HostFiltering;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.RequestDecompression;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Diagnostics.Metrics;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

namespace Dmb;

/// <summary>
/// Registers, as closed types, the options and loggers that the start needs. The framework registers them as open
/// generics, whose types a native program builds from descriptions while it starts.
/// </summary>
internal static class ClosedServices
{
    public static void AddClosedServices(this WebApplicationBuilder builder)
    {
        builder
            .Services.AddClosed<HostOptions>()
            .AddClosed<ConsoleLifetimeOptions>()
            .AddClosed<LoggerFilterOptions>()
            .AddClosed<LoggerFactoryOptions>()
            .AddClosed<ConsoleLoggerOptions>()
            .AddClosed<ConsoleFormatterOptions>()
            .AddClosed<SimpleConsoleFormatterOptions>()
            .AddClosed<JsonConsoleFormatterOptions>()
            .AddClosed<MetricsOptions>()
            .AddClosed<KestrelServerOptions>()
            .AddClosed<SocketTransportOptions>()
            .AddClosed<HostFilteringOptions>()
            .AddClosed<FormOptions>()
            .AddClosed<RouteOptions>()
            .AddClosed<RouteHandlerOptions>()
            .AddClosed<RequestDecompressionOptions>()
            .AddClosed<CorsOptions>();
        builder
            .Services.AddLogger<ConnectionGate>()
            .AddLogger<SocketListener>()
            .AddLogger<FastPathMiddleware>()
            .AddLogger<SessionTable>()
            .AddLogger<Drain>()
            .AddLogger<WebhookDelivery>()
            .AddLogger<WebhookAnswers>()
            .AddLogger<RedisSupervisor>()
            .AddLogger<RedisReceiver>()
            .AddLogger<RedisPublisher>()
            .AddLogger<RedisInputs>()
            .AddLogger<RedisRooms>()
            .AddLogger<RedisWebhookStore>()
            .AddLogger<RoomCounts>()
            .AddLogger<PoisonedKeys>();
    }

    private static IServiceCollection AddClosed<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] T
    >(this IServiceCollection services)
        where T : class =>
        services
            .AddSingleton<IOptionsFactory<T>>(static services => new OptionsFactory<T>(
                services.GetServices<IConfigureOptions<T>>(),
                services.GetServices<IPostConfigureOptions<T>>(),
                services.GetServices<IValidateOptions<T>>()
            ))
            .AddSingleton<IOptions<T>>(static services => new OptionsManager<T>(
                services.GetRequiredService<IOptionsFactory<T>>()
            ))
            .AddSingleton<IOptionsMonitor<T>>(static services => new OptionsMonitor<T>(
                services.GetRequiredService<IOptionsFactory<T>>(),
                services.GetServices<IOptionsChangeTokenSource<T>>(),
                new OptionsCache<T>()
            ));

    private static IServiceCollection AddLogger<T>(this IServiceCollection services) =>
        services.AddSingleton<ILogger<T>>(static services => new Logger<T>(
            services.GetRequiredService<ILoggerFactory>()
        ));
}
