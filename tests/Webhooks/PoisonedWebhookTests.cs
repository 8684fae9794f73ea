namespace Dmb.Tests.Webhooks;

/// <summary>
/// A key of the webhooks in Redis that holds something else, or an entry that is none, holds up no webhook.
/// </summary>
[Collection(Redis.RedisLane.Name)]
public sealed class PoisonedWebhookTests
{
    private const string Call = "\"events\":[\"call\"]";

    [Theory]
    [InlineData("dmb:hooks:owners")]
    [InlineData("dmb:hooks:nodes")]
    [InlineData("dmb:hooks:")]
    public async Task A_key_that_holds_something_else_is_removed_and_all_webhooks_go_on(string key)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var receiver = await Receiver.StartAsync();
        await using var others = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, Call);
        while ((await TestHook.RegisterAsync(node.Http, others.Url, Call)).Id[0] == hook.Id[0])
        {
            // In the same stream.
        }

        await node.NotifyAsync("call", "1");
        await GetsAsync(receiver, "1");
        await GetsAsync(others, "1");
        await redis.CommandAsync("SET", key[^1] == ':' ? key + Convert.ToInt32(hook.Id[..1], 16) : key, "x");
        foreach (var data in (string[])["2", "3"])
        {
            await node.NotifyAsync("call", data);
            await GetsAsync(receiver, data);
            await GetsAsync(others, data);
        }

        await node.LogAsync("held something else than it should");
        Assert.DoesNotContain(node.Log, line => line.Contains("Redis is away", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("XADD", "dmb:hooks:5", "*", "x", "y")]
    [InlineData("XADD", "dmb:hooks:5", "*", "w", "zz", "d", "1")]
    [InlineData("XADD", "dmb:hooks:5", "*", "w", "")]
    [InlineData("HSET", "dmb:hooks", "x", "{}", "y", "null", "z", "no JSON", "", "[]")]
    [InlineData(
        "HSET",
        "dmb:hooks",
        "x",
        """{"id":"00000000000000000000000000000000","url":"http://x","secrets":[null]}"""
    )]
    public async Task What_is_no_message_or_no_webhook_holds_up_no_other(params string[] command)
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync(command);
        await using var node = await StartAsync(redis);
        await using var receiver = await Receiver.StartAsync();
        await TestHook.RegisterAsync(node.Http, receiver.Url, Call);
        await redis.CommandAsync(command);
        await node.NotifyAsync("call", "1");
        await GetsAsync(receiver, "1");
        while (command[0] == "XADD" && await redis.CommandAsync("XLEN", command[1]) != "0")
        {
            await Task.Yield();
        }

        await node.NotifyAsync("call", "2");
        await GetsAsync(receiver, "2");
    }

    private static Task<NodeProcess> StartAsync(RedisServer redis) =>
        NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            .. NodeProcess.Patient,
        ]);

    /// <summary>The next that a receiver gets is this, perhaps after what came before it once more.</summary>
    private static async Task GetsAsync(Receiver receiver, string data)
    {
        string body;
        do
        {
            body = (await receiver.NextAsync()).Body;
        } while (string.CompareOrdinal(body, data) < 0);

        Assert.Equal(data, body);
    }
}
