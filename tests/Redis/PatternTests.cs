using System.Text.Json;

namespace Dmb.Tests.Redis;

/// <summary>Patterns of rooms over Redis, where the connection or the rights fail.</summary>
public sealed class PatternTests
{
    [Fact]
    public async Task Messages_published_while_the_connection_was_cut_reach_a_pattern_and_so_do_later_ones()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var first = await StartAsync(redis);
        await using var last = await StartAsync(redis);
        await using var client = await last.JoinAsync("endpoint:*");
        using var commands = await RedisClient.ConnectAsync(redis.Port);
        for (var round = 0; round < 3; round++)
        {
            await commands.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
            for (var i = 0; i < 20; i++)
            {
                await first.PushAsync("call", $$"""{"n":{{(round * 20) + i}},"endpoint":{{i}}}""");
            }

            for (var i = 0; i < 20; )
            {
                var frame = JsonElement.Parse(await client.ReadAsync());
                if (frame.GetProperty("event").GetString() == "call")
                {
                    Assert.Equal((round * 20) + i++, frame.GetProperty("data").GetProperty("n").GetInt32());
                }
            }

            await first.BecomesAsync("ready");
            await last.BecomesAsync("ready");
        }
    }

    [Fact]
    public async Task A_message_of_any_program_that_has_no_id_comes_once_to_a_room_and_a_pattern()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("endpoint:*", "endpoint:1");
        await using var room = await node.JoinAsync("endpoint:1");
        using var commands = await RedisClient.ConnectAsync(redis.Port);
        foreach (var place in new[] { 1, 2, 1 })
        {
            await commands.CommandAsync(
                "PUBLISH",
                $"dmb:room:endpoint:{place}",
                $$$"""{"event":"call","data":{"n":{{{place}}}}}"""
            );
        }

        foreach (var place in new[] { 1, 2, 1 })
        {
            Assert.Contains($"\"n\":{place}}}", await client.ReadAsync(), StringComparison.Ordinal);
        }

        Assert.Contains("\"n\":1}", await room.ReadAsync(), StringComparison.Ordinal);
        Assert.Contains("\"n\":1}", await room.ReadAsync(), StringComparison.Ordinal);
        var end = await node.NotifyAsync("call", """{"endpoint":1}""");
        Assert.Contains(end, await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Contains(end, await room.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_redis_that_does_not_allow_the_pattern_refuses_the_subscribe_and_nothing_else()
    {
        await using var redis = await RedisServer.StartAsync();
        using var commands = await RedisClient.ConnectAsync(redis.Port);
        var backends = "dmb:" + string.Concat(Enumerable.Repeat("[0-9a-f]", 32));
        await commands.CommandAsync(
            "ACL",
            "SETUSER",
            "default",
            "resetchannels",
            "&dmb:*",
            "&dmb:notify:*",
            "&" + backends
        );
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("endpoint:1");
        var refused = await client.AckAsync("subscribe", "\"endpoint:*\"");
        Assert.Contains("\"code\":\"backplane_down\"", refused, StringComparison.Ordinal);
        Assert.Contains("dmb:room:*", refused, StringComparison.Ordinal);
        await node.BecomesAsync("ready");
        var id = await node.NotifyAsync("call", """{"endpoint":1}""");
        Assert.Contains(id, await client.ReadAsync(), StringComparison.Ordinal);
        Assert.DoesNotContain(node.Log, line => line.Contains("Redis is away", StringComparison.Ordinal));
    }

    private static Task<NodeProcess> StartAsync(RedisServer redis) =>
        NodeProcess.StartReadyAsync(("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{redis.Port}"));
}
