namespace Dmb.Tests.Redis;

/// <summary>How a node finds its Redis, waits for it, and says why it can't use it.</summary>
[Collection(RedisLane.Name)]
public sealed class FirstConnectionTests
{
    [Fact]
    public async Task The_first_requests_wait_for_the_first_connection()
    {
        await using var redis = await RedisServer.StartAsync();
        for (var i = 0; i < 3; i++)
        {
            await using var node = await NodeProcess.StartAsync([.. At(redis), .. NodeProcess.Patient]);
            using var name = new StringContent("""{"name":"billing"}""", System.Text.Encoding.UTF8, "application/json");
            var registering = node.Http.PostAsync(new Uri(node.Url, "/register/backend"), name);
            var pushing = node.PushAsync("call", "1");
            using var registered = await registering;
            Assert.True(registered.IsSuccessStatusCode, await registered.Content.ReadAsStringAsync());
            Assert.Equal(200, (await pushing).Status);
        }
    }

    [Theory]
    [InlineData("connection refused")]
    [InlineData("no such host")]
    [InlineData("no password: Redis answered NOAUTH")]
    [InlineData("wrong password: Redis answered WRONGPASS")]
    [InlineData("no permission: Redis answered NOPERM")]
    [InlineData("read only: Redis answered READONLY")]
    [InlineData("moved to a cluster: Redis answered")]
    public async Task A_Redis_that_can_not_be_used_is_warned_of_once_with_the_reason(string reason)
    {
        string[] options = reason.Split(':')[0] switch
        {
            "no password" or "wrong password" => ["--requirepass", "right"],
            "read only" => ["--replicaof", "127.0.0.1 1"],
            "moved to a cluster" => ["--cluster-enabled", "yes", "--cluster-port", $"{RedisServer.FreePort()}"],
            _ => [],
        };
        await using var redis = new RedisServer(options);
        if (reason is not ("connection refused" or "no such host"))
        {
            await redis.StartAsync();
        }

        if (reason.StartsWith("no permission", StringComparison.Ordinal))
        {
            await redis.CommandAsync("ACL", "SETUSER", "default", "-evalsha", "-eval");
        }

        await using var node = await NodeProcess.StartAsync(
            (
                "REDIS_URL",
                reason switch
                {
                    "no such host" => "redis://redis.invalid:6379",
                    ['w', ..] => $"redis://:wrong@127.0.0.1:{redis.Port}",
                    _ => $"redis://127.0.0.1:{redis.Port}",
                }
            )
        );
        var line = await node.LogAsync(reason);
        Assert.Contains("warn", line, StringComparison.Ordinal);
        await node.BecomesAsync("degraded", reason);

        // More attempts fail in the time in which this is answered.
        for (var i = 0; i < 100; i++)
        {
            await node.PushAsync("call", "1");
        }

        Assert.Single(node.Log, other => other.Contains(reason, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Another_reason_is_warned_of_too()
    {
        await using var redis = new RedisServer("--requirepass", "right");
        await using var node = await NodeProcess.StartAsync(At(redis));
        await node.LogAsync("connection refused");
        await redis.StartAsync();
        await node.LogAsync("no password: Redis answered NOAUTH");
    }

    [Fact]
    public async Task A_password_is_read_from_its_file_at_each_attempt()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "right");
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, "wrong\n");
            await using var node = await NodeProcess.StartAsync([.. At(redis), ("REDIS_PASSWORD_FILE", file)]);
            await node.LogAsync("wrong password");
            await File.WriteAllTextAsync(file, "right\n");
            await node.BecomesAsync("ready");
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static (string, string)[] At(RedisServer redis) =>
        [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{redis.Port}")];
}
