using Dmb.Redis;
using Dmb.Tests.Backends;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Redis;

/// <summary>A message that is sent again, since Redis may have lost it, stays one message.</summary>
[Collection(RedisLane.Name)]
public sealed class ResendTests
{
    private const int Messages = 50;
    private const string History = "dmb:history:endpoint:z";

    [Fact]
    public async Task A_history_has_each_message_once_after_repeated_data_loss()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis.Port);
        await PublishAsync(node);
        for (var i = 0; i < 3; i++)
        {
            await redis.KillAsync();
            await node.BecomesAsync("degraded");
            await redis.StartAsync();
            await node.BecomesAsync("ready");
            Assert.Equal($"{Messages}", await redis.CommandAsync("XLEN", History));
        }
    }

    [Fact]
    public async Task A_history_has_each_message_once_when_connections_break_after_Redis_lost_its_data()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis.Port);
        await PublishAsync(node);
        await redis.KillAsync();
        await node.BecomesAsync("degraded");
        await redis.StartAsync();
        await node.BecomesAsync("ready");
        var back = Count(node);
        await redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
        while (Count(node) == back)
        {
            await node.BecomesAsync("ready");
        }

        Assert.Equal($"{Messages}", await redis.CommandAsync("XLEN", History));

        static int Count(NodeProcess node) =>
            node.Log.Count(line => line.Contains("Redis is back", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("k3f9:1,k3f9:1", true)]
    [InlineData(",k3f9:1", true)]
    [InlineData("k3f9:1,", false)]
    [InlineData("", true)]
    public async Task A_message_is_missing_if_any_subscribed_room_has_not_received_it(string positions, bool isMissing)
    {
        using var services = new ServiceCollection().AddLogging().AddRedisRooms().BuildServiceProvider();
        var rooms = services.GetRequiredService<RedisRooms>();
        await rooms.SubscribeAsync("endpoint:z");
        Assert.Equal(
            isMissing,
            rooms.IsMissing(new PendingPublish("1", ["calls", "endpoint:z"], []) { Since = 0, Positions = positions })
        );
    }

    [Fact]
    public async Task A_message_with_a_reused_id_is_delivered_after_the_window()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await NodeProcess.StartReadyAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_IDEMPOTENCY_WINDOW", "1")
        );
        await using var backend = await TestBackend.RegisterAsync(By.Http, node.Url, redis, "billing");
        await using var user = await TestUser.JoinAsync(node.Url, backend.Bkid, "user-1");
        Assert.False((await backend.SendAsync("user-1", "1", "same")).IsDuplicate);
        while ((await backend.SendAsync("user-1", "2", "same")).IsDuplicate)
        {
            // Its answers set the pace.
        }

        Assert.Equal([("dmb:direct", "1"), ("dmb:direct", "2")], [await user.ReadAsync(), await user.ReadAsync()]);
    }

    private static Task<NodeProcess> StartAsync(int port) =>
        NodeProcess.StartReadyAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{port}"),
            ("DMB_HISTORY_SIZE", "10000")
        );

    private static async Task PublishAsync(NodeProcess node)
    {
        for (var i = 0; i < Messages; i++)
        {
            await node.NotifyAsync("call", $$"""{"endpoint":"z","i":{{i}}}""");
        }
    }
}
