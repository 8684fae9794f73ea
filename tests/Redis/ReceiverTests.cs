using Dmb.Redis;
using Dmb.Routing;
using Dmb.Telemetry;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Dmb.Tests.Redis;

/// <summary>What a node receives from Redis, one by one.</summary>
public sealed class ReceiverTests
{
    [Fact]
    public async Task An_error_that_is_not_expected_is_logged_and_ends_one_message_alone()
    {
        var log = new NodeLog();
        await using var services = new ServiceCollection()
            .AddLogging(logging => logging.AddProvider(log))
            .AddRedisRooms()
            .AddSingleton<MessageLog>()
            .AddSingleton(services => new RedisReceiver(
                services.GetRequiredService<RoutingOptions>(),
                services.GetRequiredService<MessageLog>(),
                services.GetRequiredService<RedisChannels>(),
                services.GetRequiredService<RedisRooms>(),
                counts: null,
                TimeProvider.System,
                services.GetRequiredService<BrokerTelemetry>(),
                services.GetRequiredService<ILogger<RedisReceiver>>()
            ))
            .BuildServiceProvider();
        var (rooms, receiver) = (
            services.GetRequiredService<RoomTable>(),
            services.GetRequiredService<RedisReceiver>()
        );
        var member = new Failing();
        rooms.Join(member, "calls", out _);

        await receiver.DeliverHereAsync(new Envelope("call", "1", ["calls"], "1"u8.ToArray(), isKept: true));
        await receiver.DeliverHereAsync(new Envelope("call", "2", ["calls"], "2"u8.ToArray(), isKept: true));

        Assert.Equal(["1", "2"], member.Ids);
        Assert.Contains(log.Lines, line => line.Contains("could not be delivered", StringComparison.Ordinal));
    }

    /// <summary>Fails with its first message.</summary>
    private sealed class Failing : Subscriber
    {
        public List<string> Ids { get; } = [];

        public override bool Queue(Envelope envelope, int room)
        {
            Ids.Add(envelope.Id);
            return Ids.Count > 1 ? false : throw new InvalidOperationException("not expected");
        }

        public override bool Queue(string @event, ReadOnlySpan<byte> data) => false;

        public override void Flush() { }
    }
}
