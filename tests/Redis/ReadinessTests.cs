using System.Net;

namespace Dmb.Tests.Redis;

/// <summary>
/// GET /readyz says what is true: ready is proven by a probe that came back, whatever connections look like.
/// </summary>
[Collection(RedisLane.Name)]
public sealed class ReadinessTests
{
    [Fact]
    public async Task A_node_is_degraded_while_Redis_is_dead_and_ready_when_it_is_back()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis.Port);
        await IsReadyAndDegradedAndReadyAsync(node, redis.KillAsync, redis.StartAsync);
    }

    [Fact]
    public async Task A_node_is_degraded_while_Redis_is_stopped_though_all_connections_stand()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis.Port);
        await IsReadyAndDegradedAndReadyAsync(node, () => Do(redis.Stop), () => Do(redis.Continue));
    }

    [Theory]
    [InlineData(Way.Both, false)]
    [InlineData(Way.ToRedis, false)]
    [InlineData(Way.FromRedis, false)]
    [InlineData(Way.ToRedis, true)]
    [InlineData(Way.FromRedis, true)]
    public async Task A_node_is_degraded_while_its_connections_are_stalled(Way ways, bool isLost)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var proxy = new FaultProxy(redis.Port);
        await using var node = await StartAsync(proxy.Port);
        await IsReadyAndDegradedAndReadyAsync(
            node,
            () => Do(() => (isLost ? (Action<Way>)proxy.Swallow : proxy.Stall)(ways)),
            () => Do(proxy.Heal)
        );
    }

    [Theory]
    [InlineData("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", false)]
    [InlineData("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", true)]
    [InlineData("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", false)]
    [InlineData("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", true)]
    public async Task A_node_is_degraded_while_its_master_takes_no_writes(string fail, string heal, bool isPublishing)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await NodeProcess.StartAsync(("REDIS_URL", $"redis://127.0.0.1:{redis.Port}"));
        await IsReadyAndDegradedAndReadyAsync(
            node,
            async () =>
            {
                await redis.CommandAsync(fail.Split(' '));
                if (isPublishing)
                {
                    Assert.Equal(202, (await node.PushAsync("call", "1")).Status);
                }
            },
            () => redis.CommandAsync(heal.Split(' '))
        );
    }

    [Fact]
    public async Task A_node_started_without_its_Redis_serves_and_is_degraded_until_Redis_is_up()
    {
        await using var redis = new RedisServer();
        await using var node = await StartAsync(redis.Port);
        await IsDegradedAsync(node);
        Assert.Equal("""{"status":"alive"}""", await node.Http.GetStringAsync(new Uri(node.Url, "/healthz")));
        await using var client = await node.JoinAsync("calls");
        Assert.Equal(202, (await node.PushAsync("call", "1")).Status);
        Assert.Equal("1", await client.ReadDataAsync("call"));

        await redis.StartAsync();
        Assert.Equal("""{"event":"backplane","data":{"state":"up"}}""", await client.ReadAsync());
        await IsReadyAsync(node);
    }

    [Fact]
    public async Task A_node_that_starts_while_its_Redis_is_stopped_serves_and_is_degraded_until_it_goes_on()
    {
        await using var redis = await RedisServer.StartAsync();
        redis.Stop();
        await using var node = await StartAsync(redis.Port);
        await IsDegradedAsync(node);
        Assert.Equal(202, (await node.PushAsync("call", "1")).Status);
        redis.Continue();
        await node.BecomesAsync("ready");
    }

    [Fact]
    public async Task A_node_stops_without_an_error_while_it_connects_to_a_Redis_that_does_not_answer()
    {
        await using var redis = await RedisServer.StartAsync();
        redis.Stop();
        await using var node = await StartAsync(redis.Port);
        await IsDegradedAsync(node);
        Assert.Equal(0, await node.TerminateAsync());
        Assert.DoesNotContain(node.Log, line => line.Contains("xception", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_wrong_password_is_degraded_with_the_reason()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "right");
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_URL", $"redis://:wrong-secret@127.0.0.1:{redis.Port}")
        );
        await IsDegradedAsync(node);
        Assert.DoesNotContain("wrong-secret", string.Join('\n', node.Log), StringComparison.Ordinal);
        await redis.CommandAsync("CONFIG", "SET", "requirepass", "wrong-secret");
        await node.BecomesAsync("ready");
    }

    [Fact]
    public async Task Changes_are_logged_once_each()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis.Port);
        await node.BecomesAsync("ready");

        // Logged a moment after the node is ready.
        await node.LogAsync("Connected to Redis");
        var before = node.Log.Length;
        await using var client = await node.ConnectAsync();
        await redis.KillAsync();
        await ReadBackplaneAsync(client, "down");

        // Long enough for several attempts to connect, which nobody wants to read of.
        for (var i = 0; i < 20; i++)
        {
            await node.PushAsync("call", "1");
        }

        await redis.StartAsync();
        await ReadBackplaneAsync(client, "up");
        await node.LogAsync("Redis is back");
        var since = node.Log[before..];
        Assert.Single(since, line => line.Contains("Redis is away", StringComparison.Ordinal));
        Assert.Single(since, line => line.Contains("Redis is back", StringComparison.Ordinal));
        Assert.True(since.Length <= 3, string.Join('\n', since));
    }

    private static Task<NodeProcess> StartAsync(int port) =>
        NodeProcess.StartAsync(("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{port}"));

    private static Task Do(Action action)
    {
        action();
        return Task.CompletedTask;
    }

    private static async Task IsReadyAndDegradedAndReadyAsync(
        NodeProcess node,
        Func<Task> failAsync,
        Func<Task> healAsync
    )
    {
        await node.BecomesAsync("ready");
        await IsReadyAsync(node);
        await using var client = await node.ConnectAsync();

        await failAsync();
        await ReadBackplaneAsync(client, "down");
        await IsDegradedAsync(node);

        await healAsync();
        await ReadBackplaneAsync(client, "up");
        await IsReadyAsync(node);
    }

    private static async Task ReadBackplaneAsync(TestClient client, string state) =>
        Assert.Equal($$$"""{"event":"backplane","data":{"state":"{{{state}}}"}}""", await client.ReadAsync());

    private static async Task IsReadyAsync(NodeProcess node)
    {
        foreach (var query in new[] { "", "?strict=1" })
        {
            using var response = await node.Http.GetAsync(new Uri(node.Url, "/readyz" + query));
            Assert.Equal(
                (HttpStatusCode.OK, """{"status":"ready"}"""),
                (response.StatusCode, await response.Content.ReadAsStringAsync())
            );
        }
    }

    private static async Task IsDegradedAsync(NodeProcess node)
    {
        foreach (
            var (query, status) in new[] { ("", HttpStatusCode.OK), ("?strict=1", HttpStatusCode.ServiceUnavailable) }
        )
        {
            using var response = await node.Http.GetAsync(new Uri(node.Url, "/readyz" + query));
            Assert.Equal(status, response.StatusCode);
            Assert.Matches(
                """^\{"status":"degraded","reason":"[^"]+"\}$""",
                await response.Content.ReadAsStringAsync()
            );
        }

        Assert.Equal("""{"status":"alive"}""", await node.Http.GetStringAsync(new Uri(node.Url, "/healthz")));
    }
}
