using System.Text;
using System.Text.Json;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Backends;

/// <summary>
/// What is wrong on a Redis channel is answered once, where there is a channel to answer on, and harms nobody.
/// </summary>
[Collection(RedisLane.Name)]
public sealed class BadRedisInputTests(SharedCluster shared) : IAsyncLifetime
{
    private static readonly string Long = new('x', 201);
    private static readonly string Deep = new string('[', 65) + new string(']', 65);
    private RedisClient _redis = null!;
    private RedisClient _inbox = null!;
    private string _reply = "";
    private string _bkid = "";

    /// <summary>
    /// What is sent, where REPLY is a channel that is listened to and BKID a backend; the type of the answer, its code,
    /// and its other members.
    /// </summary>
    public static TheoryData<string, string, string, string> Registrations =>
        new()
        {
            { """{"reply_to":"REPLY"}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":null,"reply_to":"REPLY"}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":{},"reply_to":"REPLY","nonce":"n"}""", "bk_connect_ack", "bad_json", ",\"nonce\":\"n\"" },
            { """{"type":"bk_message","reply_to":"REPLY"}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":"bk_connect","reply_to":"REPLY"}""", "bk_connect_ack", "bad_name", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","nonce":{"a":1}}""", "bk_connect_ack", "bad_name", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","nonce":""}""", "bk_connect_ack", "bad_name", "" },
            {
                """{"type":"bk_connect","reply_to":"REPLY","name":null,"nonce":"n"}""",
                "bk_connect_ack",
                "bad_name",
                ",\"nonce\":\"n\""
            },
            { """{"type":"bk_connect","reply_to":"REPLY","name":{}}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":[]}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":true}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":"a b"}""", "bk_connect_ack", "bad_name", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":"\ud800"}""", "bk_connect_ack", "bad_json", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","\ud800":"x"}""", "bk_connect_ack", "bad_name", "" },
            { $$"""{"type":"bk_connect","reply_to":"REPLY","name":"{{Long}}"}""", "bk_connect_ack", "bad_name", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":"x","bkid":"x"}""", "bk_connect_ack", "bad_name", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":"x","bkid":42}""", "bk_connect_ack", "bad_name", "" },
            { """{"type":"bk_connect","reply_to":"REPLY","name":"x","bkid":{}}""", "bk_connect_ack", "bad_json", "" },
            {
                """{"type":"bk_connect","reply_to":"REPLY","name":"x","bkid":"0123456789ABCDEF0123456789ABCDEF"}""",
                "bk_connect_ack",
                "bad_name",
                ""
            },
            {
                """{"type":"bk_connect","reply_to":"REPLY","name":"x","bkid":"BKID"}""",
                "bk_connect_ack",
                "forbidden_publish",
                ""
            },
            { """{"type":"bk_disconnect","reply_to":"REPLY"}""", "bk_disconnect_ack", "unknown_backend", "" },
            { """{"type":"bk_disconnect","reply_to":"REPLY","bkid":{}}""", "bk_disconnect_ack", "unknown_backend", "" },
            {
                """{"type":"bk_disconnect","reply_to":"REPLY","bkid":"events"}""",
                "bk_disconnect_ack",
                "unknown_backend",
                ""
            },
            {
                """{"type":"bk_disconnect","reply_to":"REPLY","bkid":"00000000000000000000000000000000"}""",
                "bk_disconnect_ack",
                "unknown_backend",
                ",\"bkid\":\"00000000000000000000000000000000\""
            },
        };

    public static TheoryData<string> Nowhere =>
        [
            "",
            "{",
            "null",
            "[]",
            "\"x\"",
            "{}",
            """{"type":"bk_connect"}""",
            """{"type":"bk_connect","reply_to":7,"reply_to":{}}""",
            """{"type":"bk_connect","reply_to":"a b"}""",
            """{"type":"bk_connect","reply_to":""}""",
            """{"type":"bk_connect","reply_to":"\ud800"}""",
            """{"type":"bk_disconnect"}""",
            """{"type":"bk_disconnect","bkid":"x"}""",
            "\u0001",
            $$"""{"type":"bk_connect","a":{{Deep}},"reply_to":"REPLY"}""",
            """{"type":"bk_connect","reply_to":"REPLY","name":"x","x":"BIG"}""",
        ];

    public static TheoryData<string, string, string> Messages =>
        new()
        {
            { "", "bad_json", "" },
            { "{", "bad_json", "" },
            { "[1]", "bad_json", "" },
            { "\"x\"", "bad_json", "" },
            { """{"id":"m"}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","to":"u"}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"type":"bk_connect"}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"type":{}}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"to":{}}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"to":["u"]}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"to":true}""", "bad_json", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"to":""}""", "bad_name", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"to":"u\u0000"}""", "bad_name", ",\"id\":\"m\"" },
            { """{"id":"m","data":1,"to":"\udc00"}""", "bad_json", ",\"id\":\"m\"" },
            { $$"""{"id":"m","data":1,"to":"{{Long}}"}""", "bad_name", ",\"id\":\"m\"" },
            { $$"""{"id":"{{Long}}","data":1}""", "bad_name", $",\"id\":\"{Long}\"" },
            { """{"id":{"a":1},"data":1}""", "bad_json", ",\"id\":{\"a\":1}" },
            { """{"id":"","data":1}""", "bad_name", ",\"id\":\"\"" },
            { """{"id":"\ud800","data":1}""", "bad_json", ",\"id\":\"\\ud800\"" },
            { """{"\ud800":1}""", "bad_json", "" },
            { $$"""{"id":"m","data":{{Deep}}}""", "bad_json", "" },
            { """{"id":"m","data":"BIG"}""", "too_big", "" },
        };

    public async ValueTask InitializeAsync()
    {
        (_redis, _inbox, _reply) = (
            await shared.Redis.OpenAsync(),
            await shared.Redis.OpenAsync(),
            "reply:" + Guid.NewGuid()
        );
        await _inbox.SubscribeAsync(_reply);
        await PublishAsync("dmb:register", """{"type":"bk_connect","name":"victim","reply_to":"REPLY"}""");
        _bkid = JsonElement.Parse((await _inbox.ReadMessageAsync()).Body).GetProperty("bkid").GetString()!;
        await _inbox.SubscribeAsync($"dmb:{_bkid}:ack");
    }

    public ValueTask DisposeAsync()
    {
        _redis.Dispose();
        _inbox.Dispose();
        return ValueTask.CompletedTask;
    }

    [Theory]
    [MemberData(nameof(Registrations))]
    public async Task A_bad_registration_is_answered_once(string body, string type, string code, string members)
    {
        await PublishAsync("dmb:register", body);
        var (channel, ack) = await _inbox.ReadMessageAsync();
        Assert.Equal(_reply, channel);
        IsRefusal(type, code, members, ack);
        await StillWorksAsync();
    }

    [Theory]
    [MemberData(nameof(Nowhere))]
    public async Task An_invalid_registration_without_a_channel_to_answer_is_dropped(string body)
    {
        await PublishAsync("dmb:register", body);
        await StillWorksAsync();
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public async Task A_bad_message_is_answered_once(string body, string code, string members)
    {
        await PublishAsync("dmb:" + _bkid, body);
        var (channel, ack) = await _inbox.ReadMessageAsync();
        Assert.Equal($"dmb:{_bkid}:ack", channel);
        IsRefusal("bk_message_ack", code, members, ack);
        await StillWorksAsync();
    }

    [Fact]
    public async Task Invalid_UTF_8_in_a_message_is_replaced()
    {
        await using var user = await TestUser.JoinAsync(shared.Nodes[0].Url, _bkid, "u");
        await _redis.CommandAsync(
            "PUBLISH"u8.ToArray(),
            Encoding.UTF8.GetBytes("dmb:" + _bkid),
            [.. "{\"data\":\"Gr"u8, 0xFC, .. "n\"}"u8]
        );
        await user.GetsAsync("dmb:broadcast", "\"Gr\uFFFDn\"");
        Assert.Equal("""{"type":"bk_message_ack","ok":true,"nodes":1}""", (await _inbox.ReadMessageAsync()).Body);
    }

    [Fact]
    public async Task Ten_thousand_registrations_are_each_answered_once_and_a_node_grows_little_by_them()
    {
        const int Storm = 10_000;
        await using var cluster = await Cluster.StartAsync(NodeProcess.Patient);
        using var sender = await cluster.Redis.OpenAsync();
        using var inbox = await cluster.Redis.OpenAsync();
        await inbox.SubscribeAsync("storm");
        var before = cluster.Nodes.ConvertAll(node => node.MemoryBytes);
        var sending = sender.PublishAllAsync(
            "dmb:register",
            [
                .. Enumerable
                    .Range(0, Storm)
                    .Select(i =>
                        Encoding.UTF8.GetBytes(
                            $$"""{"type":"bk_connect","name":"storm","reply_to":"storm","n":{{i}}}"""
                        )
                    ),
            ]
        );
        var bkids = new HashSet<string>();
        while (bkids.Count < Storm)
        {
            var ack = JsonElement.Parse((await inbox.ReadMessageAsync()).Body);
            Assert.True(ack.GetProperty("ok").GetBoolean());
            Assert.True(bkids.Add(ack.GetProperty("bkid").GetString()!));
        }

        await sending;
        await sender.CommandAsync(
            "PUBLISH",
            "dmb:register",
            """{"type":"bk_connect","name":"last","reply_to":"storm","nonce":"last"}"""
        );
        Assert.EndsWith(",\"nonce\":\"last\"}", (await inbox.ReadMessageAsync()).Body, StringComparison.Ordinal);
        Assert.All(cluster.Nodes.Zip(before), pair =>
            Assert.InRange(pair.First.MemoryBytes - pair.Second, long.MinValue, 128 << 20)
        );
        await cluster.ReadyAsync();
    }

    private static void IsRefusal(string type, string code, string members, string ack)
    {
        var start = $$$"""{"type":"{{{type}}}"{{{members}}},"ok":false,"error":{"code":"{{{code}}}","message":""";
        Assert.StartsWith(start, ack, StringComparison.Ordinal);
        Assert.EndsWith("\",\"retry\":false}}", ack, StringComparison.Ordinal);
    }

    /// <summary>The answer to what is sent next is the next that comes, on each of the channels.</summary>
    private async Task StillWorksAsync()
    {
        await PublishAsync(
            "dmb:register",
            """{"type":"bk_connect","name":"victim","bkid":"BKID","reply_to":"REPLY"}"""
        );
        var (where, ack) = await _inbox.ReadMessageAsync();
        Assert.Equal(_reply, where);
        Assert.StartsWith(
            $$"""{"type":"bk_connect_ack","ok":true,"bkid":"{{_bkid}}",""",
            ack,
            StringComparison.Ordinal
        );
        await PublishAsync("dmb:" + _bkid, """{"id":"still","to":"nobody","data":1}""");
        Assert.Equal(
            """{"type":"bk_message_ack","id":"still","ok":true,"nodes":0}""",
            (await _inbox.ReadMessageAsync()).Body
        );
    }

    private Task<string> PublishAsync(string channel, string body) =>
        _redis.CommandAsync(
            "PUBLISH",
            channel,
            body.Replace("REPLY", _reply, StringComparison.Ordinal)
                .Replace("BKID", _bkid, StringComparison.Ordinal)
                .Replace("BIG", new string('x', 262_144), StringComparison.Ordinal)
        );
}
