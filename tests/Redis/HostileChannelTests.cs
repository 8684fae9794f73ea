using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Redis;

/// <summary>
/// Anybody may write to Redis: what is no message is counted and logged once a minute, and stops nothing.
/// </summary>
[Collection(RedisLane.Name)]
public sealed class HostileChannelTests
{
    private static readonly string[] NoMessages =
    [
        "",
        " ",
        "x",
        "{",
        "}",
        "null",
        "true",
        "42",
        "-",
        "\"text\"",
        "[]",
        "[{}]",
        "{}",
        "{\"event\":\"call\"}",
        "{\"data\":1}",
        "{\"event\":\"call\",\"data\":",
        "{\"event\":\"call\",\"data\":{\"a\":}}",
        "{\"event\":\"call\",\"data\":1}}",
        "{\"event\":\"call\",\"data\":1} x",
        "{\"event\":42,\"data\":1}",
        "{\"event\":null,\"data\":1}",
        "{\"event\":[],\"data\":1}",
        "{\"event\":{\"event\":\"call\"},\"data\":1}",
        "{\"event\":\"\",\"data\":1}",
        "{\"event\":\"a b\",\"data\":1}",
        "{\"event\":\"<script>\",\"data\":1}",
        $"{{\"event\":\"{new string('e', 129)}\",\"data\":1}}",
        "{'event':'call','data':1}",
        "{\"event\":\"call\",\"data\":NaN}",
        "{\"event\":\"call\",\"data\":1,}",
        "{\"event\":\"call\",\"data\":\"\ud83d\"}",
        "probe",
        "probe 1",
        "probe x y",
        "probe 1 x",
        "probe 1 -",
        "probe 1 1-2-3",
        "probe 99999999999999999999 1-1",
        "count",
        "count x y z",
        "count 1",
        "sessions",
        "sessions x y",
        "sessions 1 2 3",
        "sessions 1 999999999999",
        "register",
        "\0\0\0\0",
        "\u0001\u0002",
        new string('[', 100_000),
        new string('{', 100_000),
        string.Concat(Enumerable.Repeat("{\"a\":", 100_000)),
    ];

    private static readonly byte[][] NotUtf8 =
    [
        [0xff, 0xfe, 0xfd],
        [0x80],
        [0xc0, 0xaf],
        [0xed, 0xa0, 0x80],
        [.. "{\"event\":\"call\",\"data\":\""u8, 0xff, .. "\"}"u8],
        [.. "{\"event\":\"\u00ff\",\"data\":1"u8],
        new byte[1_048_576],
        [.. Enumerable.Repeat((byte)'9', 1_048_576)],
        [.. "{\"event\":\"call\",\"data\":\""u8, .. Enumerable.Repeat((byte)'x', 1_048_576)],
    ];

    [Theory]
    [InlineData("dmb:room:calls")]
    [InlineData("dmb:room:public")]
    [InlineData("dmb:notify:call")]
    [InlineData("dmb:notify:a b")]
    [InlineData("dmb:notify:")]
    [InlineData("opensips:call")]
    [InlineData("opensips:")]
    [InlineData("dmb:events")]
    [InlineData("dmb:nodes")]
    [InlineData("dmb:register")]
    [InlineData("dmb:uplink")]
    public async Task An_invalid_message_is_logged_at_most_once_and_nodes_continue(string channel)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("calls");
        var before = node.Log.Length;
        await SendAllAsync(redis, channel);

        await StillWorksAsync(redis, node, client);
        Assert.True(node.Log.Length - before <= 1, string.Join('\n', node.Log));
        Assert.All(node.Log, line => Assert.True(line.Length < 1_000, line));
    }

    [Fact]
    public async Task An_invalid_line_on_a_nodes_own_channel_has_no_effect()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("calls");
        var own = (await redis.CommandAsync("PUBSUB", "CHANNELS", "dmb:node:*")).Split('\n');
        await SendAllAsync(redis, Assert.Single(own));
        await ComesBackAsync(redis, client);
        await StillWorksAsync(redis, node, client);
    }

    [Fact]
    public async Task Invalid_messages_are_counted_in_the_log_line()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("calls");
        await redis.CommandAsync("PUBLISH", "dmb:room:calls", "no message");
        Assert.Matches(@"\] 1 messages? .*'calls'", await node.LogAsync("warn"));
        await StillWorksAsync(redis, node, client);
    }

    [Theory]
    [InlineData("""{"event":"call","data":{"a":1}}""", """{"a":1}""")]
    [InlineData("""{"data":{"a":1},"event":"call"}""", """{"a":1}""")]
    [InlineData(""" { "event" : "call" , "data" :  [ 1 ]  } """, "[ 1 ]")]
    [InlineData(
        """{"event":"call","data":2,"version":99,"unknown":{"event":"x","data":3,"rooms":["y"]},"x":[[]]}""",
        "2"
    )]
    [InlineData("""{"event":"call","data":4,"id":42}""", "4")]
    [InlineData(
        """{"event":"call","data":5,"id":"","rooms":"x","from":[],"again":"maybe","pos":7,"traceparent":{}}""",
        "5"
    )]
    [InlineData("""{"event":"wrong","event":"call","data":6}""", "6")]
    [InlineData("""{"event":"call","data":7,"id":"a\"b"}""", "7")]
    [InlineData("""{"event":"call","data":8,"rooms":["calls","calls",1,null,{}]}""", "8")]
    [InlineData("""{"event":"unregistered","data":9}""", "9")]
    public async Task A_message_of_another_program_or_version_needs_event_and_data_only(string body, string data)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("calls");
        await redis.CommandAsync("PUBLISH", "dmb:room:calls", body);
        var frame = JsonElement.Parse(await client.ReadAsync());
        Assert.Equal(data, frame.GetProperty("data").GetRawText());
        Assert.Equal(JsonValueKind.String, frame.GetProperty("id").ValueKind);
        Assert.NotEqual("", frame.GetProperty("id").GetString());
        await StillWorksAsync(redis, node, client);
    }

    [Theory]
    [InlineData("dmb:events", "HSET", "a b", "calls", "ok_event", "no bus", "", "", "reference", "support", "\0", "\0")]
    [InlineData("dmb:log", "XADD", "*", "m", "no message", "z", "z")]
    [InlineData("dmb:log", "XADD", "*", "other", "field")]
    [InlineData("dmb:log", "XADD", "99999999999999-0", "m", "{}")]
    public async Task A_key_with_unexpected_content_has_no_effect(string key, string command, params string[] values)
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync([command, key, .. values]);
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("calls");
        await StillWorksAsync(redis, node, client);

        await ComesBackAsync(redis, client);
        await StillWorksAsync(redis, node, client);
    }

    [Theory]
    [InlineData("dmb:log")]
    [InlineData("dmb:events")]
    public async Task A_key_of_a_wrong_type_is_degraded_and_says_so_until_it_is_gone(string key)
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync("SET", key, "x");
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}")
        );
        await node.BecomesAsync("degraded", "WRONGTYPE");
        Assert.Equal(202, (await node.PushAsync("call", "1")).Status);

        await redis.CommandAsync("DEL", key);
        await node.BecomesAsync("ready");
    }

    /// <summary>Cuts the node's connections, and waits until it reads the log from its place there.</summary>
    private static async Task ComesBackAsync(RedisServer redis, TestClient client)
    {
        await redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
        await redis.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
        while (await client.ReadAsync() != """{"event":"backplane","data":{"state":"up"}}""")
        {
            // Down, and up again.
        }
    }

    private static Task<NodeProcess> StartAsync(RedisServer redis) =>
        NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_NOTIFY_CHANNELS", "opensips:*"),
            .. NodeProcess.Patient,
        ]);

    private static async Task SendAllAsync(RedisServer redis, string channel)
    {
        using var publisher = await redis.OpenAsync();
        await publisher.PublishAllAsync(channel, [.. NoMessages.Select(Encoding.UTF8.GetBytes), .. NotUtf8]);
    }

    /// <summary>The next message by each way still arrives, unless something of the hostile ones was one.</summary>
    private static async Task StillWorksAsync(RedisServer redis, NodeProcess node, TestClient client)
    {
        string[] ids =
        [
            await node.NotifyAsync("call", "\"by HTTP\""),
            await PublishAsync("dmb:room:calls", """{"event":"call","data":"by channel","id":"ch-{0}"}"""),
            await PublishAsync("dmb:notify:call", """{"id":"no-{0}"}"""),
        ];
        var missing = ids.ToHashSet();
        while (missing.Count > 0)
        {
            var frame = JsonElement.Parse(await client.ReadAsync());
            missing.RemoveWhere(id => frame.GetRawText().Contains(id, StringComparison.Ordinal));
        }

        await node.BecomesAsync("ready");

        async Task<string> PublishAsync(string channel, string body)
        {
            var id = Guid.NewGuid().ToString("N")[..8];
            await redis.CommandAsync("PUBLISH", channel, body.Replace("{0}", id, StringComparison.Ordinal));
            return id;
        }
    }
}
