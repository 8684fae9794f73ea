using System.Net;
using System.Text.Json;
using Dmb.Tests.Backends;

namespace Dmb.Tests.Redis;

/// <summary>
/// A key in Redis that holds something else than the broker keeps there affects its room or backend alone.
/// </summary>
[Collection(RedisLane.Name)]
public sealed class PoisonedKeyTests
{
    [Theory]
    [InlineData("SET", "dmb:history:n:poisoned", "x")]
    [InlineData("SET", "dmb:pos:n:poisoned", "x")]
    [InlineData("HSET", "dmb:pos:n:poisoned", "seq", "x")]
    [InlineData("SET", "dmb:epoch", "x")]
    [InlineData("HSET", "dmb:epoch", "count", "x")]
    public async Task A_room_begins_anew_and_every_message_is_still_delivered(string command, params string[] words)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var poisoned = await node.JoinAsync("n:poisoned");
        await using var other = await node.JoinAsync("n:other");
        await node.NotifyAsync("any", """{"n":1,"_in":["n:poisoned","n:other"]}""");
        await redis.CommandAsync("DEL", words[0]);
        await redis.CommandAsync([command, .. words]);

        await node.NotifyAsync("any", """{"n":2,"_in":["n:poisoned","n:other"]}""");
        await node.NotifyAsync("any", """{"n":3,"_in":["n:poisoned"]}""");
        await node.NotifyAsync("any", """{"n":4,"_in":["n:other"]}""");

        Assert.Equal(
            ["1", "2", "3"],
            [await NumberAsync(poisoned), await NumberAsync(poisoned), await NumberAsync(poisoned)]
        );
        Assert.Equal(["1", "2", "4"], [await NumberAsync(other), await NumberAsync(other), await NumberAsync(other)]);
        await IsWholeAsync(node);
        if (words[0] != "dmb:epoch")
        {
            await IsToldAsync(node);
        }

        // What is kept from here on is read again.
        await using var late = await node.JoinAsync("n:poisoned");
        await node.NotifyAsync("any", """{"n":5,"_in":["n:poisoned"]}""");
        Assert.Equal("5", await NumberAsync(late));
    }

    [Theory]
    [InlineData("SET", "dmb:history:n:poisoned", "x")]
    [InlineData("SET", "dmb:pos:n:poisoned", "x")]
    [InlineData("HSET", "dmb:pos:n:poisoned", "seq", "x")]
    public async Task Who_comes_back_to_such_a_room_is_told_that_it_began_anew(string command, params string[] words)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.ConnectAsync();
        await redis.CommandAsync([command, .. words]);

        var answer = await client.AckAsync("subscribe", """{"room":"n:poisoned","since":"abc:7"}""");

        Assert.Contains("\"recovered\":false,\"why\":\"epoch\"", answer, StringComparison.Ordinal);
        await IsWholeAsync(node);
        await IsToldAsync(node);
    }

    [Theory]
    [InlineData("x", "y")]
    [InlineData("t", "x")]
    [InlineData("t", "x", "id", "y", "m", "z")]
    public async Task An_entry_of_a_history_that_is_no_message_is_passed_over(params string[] fields)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await node.NotifyAsync("any", """{"n":1,"_in":["n:poisoned"]}""");
        await redis.CommandAsync(["XADD", "dmb:history:n:poisoned", "1-1", .. fields]);
        await node.NotifyAsync("any", """{"n":2,"_in":["n:poisoned"]}""");
        var epoch = await redis.CommandAsync("HGET", "dmb:pos:n:poisoned", "epoch");

        await using var client = await node.ConnectAsync();
        var answer = await client.AckAsync("subscribe", $$"""{"room":"n:poisoned","since":"{{epoch}}:0"}""");
        Assert.Contains("\"recovered\":true", answer, StringComparison.Ordinal);
        Assert.Contains("joined", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Equal(["1", "2"], [await NumberAsync(client), await NumberAsync(client)]);
        await IsWholeAsync(node);
    }

    [Theory]
    [InlineData("", false)]
    [InlineData(":users", true)]
    [InlineData(":sessions", true)]
    [InlineData(":uplink", false)]
    public async Task A_backend_is_refused_alone_and_can_be_freed(string key, bool isRead)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var poisoned = await TestBackend.RegisterAsync(By.Http, node.Url, null, "poisoned");
        await using var other = await TestBackend.RegisterAsync(By.Http, node.Url, null, "other");
        await using var user = await TestUser.JoinAsync(node.Url, other.Bkid, "ann");
        await other.HearsAsync("connect", user, 1);
        await using var lost = await TestUser.JoinAsync(node.Url, poisoned.Bkid, "bob");
        await redis.CommandAsync("SET", $"dmb:{poisoned.Bkid}{key}", "x");

        // Whatever the key holds: a user comes, a user goes, and the backend writes to all.
        await using var late = await TestUser.OpenAsync(node.Url, poisoned.Bkid, "cid");
        await late.Client.AckAsync("dmb:connect", $$"""{"service":"{{poisoned.Bkid}}","user":"cid"}""");
        await lost.Client.AckAsync("dmb:disconnect", "null");
        await HttpBackend.PostAsync(new Uri(node.Url, $"/backend/{poisoned.Bkid}/messages"), """{"data":1}""");

        if (key.Length == 0)
        {
            var (status, _) = await HttpBackend.PostAsync(
                new Uri(node.Url, "/register/backend"),
                $$"""{"name":"poisoned","bkid":"{{poisoned.Bkid}}"}"""
            );
            Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
        }

        if (isRead)
        {
            await IsToldAsync(node);
        }

        Assert.Equal(new Ack(1, false), await other.SendAsync("ann", "2"));
        await user.GetsAsync("dmb:direct", "2");
        await user.SayAsync("3");
        await other.HearsAsync(user, "3");
        await IsWholeAsync(node);

        using var freed = await node.Http.DeleteAsync(new Uri(node.Url, "/register/backend/" + poisoned.Bkid));
        Assert.Equal(HttpStatusCode.NoContent, freed.StatusCode);
    }

    [Fact]
    public async Task A_key_of_an_idempotency_key_holds_it_no_more()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await node.PushAsync("any", """{"_in":"n:other"}""", "one");
        var key = await redis.CommandAsync("KEYS", "dmb:idempotency:*");
        await using var second = await StartAsync(redis);
        await redis.CommandAsync("DEL", key);
        await redis.CommandAsync("SADD", key, "x");
        Assert.Equal(200, (await second.PushAsync("any", """{"_in":"n:other"}""", "one")).Status);
        await IsToldAsync(second);
        await IsWholeAsync(second);
    }

    [Fact]
    public async Task The_key_of_dead_letters_stops_no_input()
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync("SET", "dmb:dead", "x");
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("n:1");
        await redis.CommandAsync("PUBLISH", "dmb:notify:any", "no JSON");
        await redis.CommandAsync("PUBLISH", "dmb:notify:any", """{"n":1,"_in":"n:1"}""");
        Assert.Equal("1", await NumberAsync(client));
        await IsToldAsync(node);
        await IsWholeAsync(node);
    }

    private static Task<NodeProcess> StartAsync(RedisServer redis) =>
        NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_EVENTS", "any="),
            ("DMB_HISTORY_ROOMS", "n:*=10/60"),
            .. NodeProcess.Patient,
        ]);

    /// <summary>The number in the next message.</summary>
    private static async Task<string> NumberAsync(TestClient client) =>
        JsonElement.Parse(await client.ReadAsync()).GetProperty("data").GetProperty("n").GetRawText();

    /// <summary>The node never took Redis to be away.</summary>
    private static async Task IsWholeAsync(NodeProcess node)
    {
        await node.BecomesAsync("ready");
        Assert.DoesNotContain(node.Log, line => line.Contains("Redis is away", StringComparison.Ordinal));
    }

    /// <summary>It is counted and logged.</summary>
    private static async Task IsToldAsync(NodeProcess node)
    {
        await node.LogAsync("held something else than it should");
        var metrics = await node.Http.GetStringAsync(new Uri(node.Url, "/metrics"));
        Assert.Matches("""dmb_messages_dropped_total\{reason="poisoned_key"\} [1-9]""", metrics);
    }
}
