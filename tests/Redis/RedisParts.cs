using Dmb.Redis;
using Dmb.Routing;
using Dmb.Telemetry;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Redis;

/// <summary>What a node has of Redis without a connection.</summary>
internal static class RedisParts
{
    public static IServiceCollection AddRedisRooms(this IServiceCollection services) =>
        services
            .AddMetrics()
            .AddSingleton(TimeProvider.System)
            .AddSingleton(new RedisOptions())
            .AddSingleton(new RoutingOptions())
            .AddSingleton(new HistoryOptions())
            .AddSingleton<BrokerTelemetry>()
            .AddSingleton(new RedisChannels("dmb:", "node"))
            .AddSingleton(services => new Copies(
                services.GetRequiredService<RoomTable>(),
                TimeSpan.FromMinutes(1),
                TimeProvider.System
            ))
            .AddSingleton<RoomTable>()
            .AddSingleton<Tail>()
            .AddSingleton<FanOut>()
            .AddSingleton<HistoryPolicy>()
            .AddSingleton<PoisonedKeys>()
            .AddSingleton<RedisHistory>()
            .AddSingleton<RedisRooms>();
}
