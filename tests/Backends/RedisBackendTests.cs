using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Backends;

/// <summary>What a backend that has nothing but Redis is promised: docs/protocol.md §6, to the letter.</summary>
[Collection(RedisLane.Name)]
public sealed partial class RedisBackendTests(SharedCluster shared) : IAsyncLifetime
{
    private const string NoBkid = "00000000000000000000000000000000";
    private RedisClient _redis = null!;
    private RedisClient _inbox = null!;
    private string _name = "";

    public async ValueTask InitializeAsync()
    {
        (_redis, _inbox, _name) = (
            await shared.Redis.OpenAsync(),
            await shared.Redis.OpenAsync(),
            "billing-" + Guid.NewGuid().ToString("N")[..8]
        );
        await _inbox.SubscribeAsync("dmb:register:" + _name);
        await _inbox.SubscribeAsync(_name + ":inbox");
    }

    public ValueTask DisposeAsync()
    {
        _redis.Dispose();
        _inbox.Dispose();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task An_expired_backend_is_taken_out_of_the_operators_list()
    {
        await PublishAsync("dmb:register", $$"""{"type":"bk_connect","name":"{{_name}}"}""");
        var bkid = JsonElement.Parse((await _inbox.ReadMessageAsync()).Item2).GetProperty("bkid").GetString()!;
        var list = new Uri(shared.Nodes[1].Url, "/backends?prefix=" + _name);
        Assert.Contains(bkid, await shared.Nodes[1].Http.GetStringAsync(list), StringComparison.Ordinal);
        Assert.Equal("0", await _redis.CommandAsync("ZSCORE", "dmb:backends", $"{_name} {bkid}"));

        await _redis.CommandAsync("DEL", "dmb:" + bkid);

        Assert.DoesNotContain(bkid, await shared.Nodes[1].Http.GetStringAsync(list), StringComparison.Ordinal);
        Assert.Equal("", await _redis.CommandAsync("ZSCORE", "dmb:backends", $"{_name} {bkid}"));
    }

    [Theory]
    [InlineData("", "dmb:register:NAME", "")]
    [InlineData(",\"reply_to\":\"NAME:inbox\"", "NAME:inbox", "")]
    [InlineData(",\"reply_to\":null,\"bkid\":null", "dmb:register:NAME", "")]
    [InlineData(",\"reply_to\":\"NAME:inbox\",\"nonce\":\"n \\u00e9 1\"", "NAME:inbox", ",\"nonce\":\"n \\u00e9 1\"")]
    [InlineData(",\"nonce\":17", "dmb:register:NAME", ",\"nonce\":17")]
    [InlineData(",\"unknown\":{\"a\":[]},\"reply_to\":{\"a\":1}", "dmb:register:NAME", "")]
    public async Task A_registration_is_answered_as_written(string members, string channel, string nonce)
    {
        await PublishAsync(
            "dmb:register",
            $$"""{"type":"bk_connect","name":"{{_name}}"{{members.Replace("NAME", _name, StringComparison.Ordinal)}}}"""
        );
        var (where, ack) = await _inbox.ReadMessageAsync();
        var bkid = JsonElement.Parse(ack).GetProperty("bkid").GetString()!;
        Assert.Matches("^[0-9a-f]{32}$", bkid);
        Assert.Equal(channel.Replace("NAME", _name, StringComparison.Ordinal), where);
        Assert.Equal(
            $$"""{"type":"bk_connect_ack","ok":true,"bkid":"{{bkid}}","channel":"dmb:{{bkid}}","ack":"dmb:{{bkid}}:ack","uplink":"dmb:uplink","ttl_s":86400{{nonce}}}""",
            ack
        );
        Assert.Equal($"name\n{_name}", await _redis.CommandAsync("HGETALL", "dmb:" + bkid));
        Assert.InRange(
            int.Parse(await _redis.CommandAsync("TTL", "dmb:" + bkid), CultureInfo.InvariantCulture),
            86_300,
            86_400
        );
    }

    [Fact]
    public async Task A_message_is_answered_and_arrives_as_written()
    {
        var bkid = await ConnectAsync();
        await using var user = await TestUser.JoinAsync(shared.Nodes[1].Url, bkid, "user-42");
        foreach (
            var (message, ack) in ((string, string)[])
                [
                    (
                        """{"type":"bk_message","id":"m1","to":"user-42","data":{"n":1.0}}""",
                        """{"type":"bk_message_ack","id":"m1","ok":true,"nodes":1}"""
                    ),
                    (
                        """{"type":"bk_message","id":"m1","to":"user-42","data":{"n":1.0}}""",
                        """{"type":"bk_message_ack","id":"m1","ok":true,"nodes":1,"duplicate":true}"""
                    ),
                    (
                        $$"""{"type":"bk_message","data":2,"id":7}""",
                        """{"type":"bk_message_ack","id":7,"ok":true,"nodes":1}"""
                    ),
                    (
                        $$"""{ "data" : 3 , "id" : "\u00e9<\/\u2028" }""",
                        """{"type":"bk_message_ack","id":"\u00e9<\/\u2028","ok":true,"nodes":1}"""
                    ),
                    (
                        $$"""{"type":"bk_message","to":"user-4","data":4}""",
                        """{"type":"bk_message_ack","ok":true,"nodes":0}"""
                    ),
                    (
                        $$"""{"type":"bk_message","to":null,"id":null,"data":null}""",
                        """{"type":"bk_message_ack","id":null,"ok":true,"nodes":1}"""
                    ),
                ]
        )
        {
            Assert.Equal(ack, await AskAsync(bkid, message));
        }

        Assert.Equal(
            [("dmb:direct", "{\"n\":1.0}"), ("dmb:broadcast", "2"), ("dmb:broadcast", "3"), ("dmb:broadcast", "null")],
            [await user.ReadAsync(), await user.ReadAsync(), await user.ReadAsync(), await user.ReadAsync()]
        );
    }

    [Fact]
    public async Task Only_nodes_with_connected_sessions_of_the_user_are_counted()
    {
        var bkid = await ConnectAsync();
        await using var stays = await TestUser.JoinAsync(shared.Nodes[1].Url, bkid, "user-42");
        await using var leaves = await TestUser.JoinAsync(shared.Nodes[2].Url, bkid, "user-42");
        Assert.EndsWith(
            "\"nodes\":2}",
            await AskAsync(bkid, """{"type":"bk_message","to":"user-42","data":1}"""),
            StringComparison.Ordinal
        );
        await leaves.Client.AckAsync("dmb:disconnect", "null");
        Assert.EndsWith(
            "\"nodes\":1}",
            await AskAsync(bkid, """{"type":"bk_message","to":"user-42","data":2}"""),
            StringComparison.Ordinal
        );
        Assert.EndsWith(
            "\"nodes\":1}",
            await AskAsync(bkid, """{"type":"bk_message","data":3}"""),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_message_of_an_unregistered_backend_is_refused()
    {
        await _inbox.SubscribeAsync($"dmb:{NoBkid}:ack");
        Assert.Equal(
            $$$"""{"type":"bk_message_ack","id":"m1","ok":false,"error":{"code":"unknown_backend","message":"There is no backend {{{NoBkid}}}: it was never registered, was freed, or has expired.","retry":false}}""",
            await AskAsync(NoBkid, """{"type":"bk_message","id":"m1","data":1}""")
        );
        await PublishAsync("dmb:register", $$"""{"type":"bk_disconnect","bkid":"{{NoBkid}}"}""");
        Assert.StartsWith(
            $$$"""{"type":"bk_disconnect_ack","bkid":"{{{NoBkid}}}","ok":false,"error":{"code":"unknown_backend",""",
            (await _inbox.ReadMessageAsync()).Body,
            StringComparison.Ordinal
        );
        Assert.Equal("", await _redis.CommandAsync("KEYS", $"*{NoBkid}*"));
    }

    [Fact]
    public async Task User_messages_and_presence_arrive_on_the_uplink_channel_and_in_the_stream()
    {
        var bkid = await ConnectAsync();
        await _inbox.SubscribeAsync("dmb:uplink");
        var user = await TestUser.JoinAsync(shared.Nodes[2].Url, bkid, "user 42");
        var ack = await user.SayAsync("""{"n" : 1e400}""");
        await user.DisposeAsync();
        var told = new List<string>();
        while (told.Count < 3)
        {
            var (channel, body) = await _inbox.ReadMessageAsync();
            Assert.Equal("dmb:uplink", channel);
            if (body.Contains(bkid, StringComparison.Ordinal))
            {
                told.Add(body);
            }
        }

        var id = JsonElement.Parse(ack).GetProperty("data").GetProperty("id").GetString()!;
        var time = JsonElement.Parse(told[1]).GetProperty("time").GetString()!;
        Assert.Equal(
            [
                $$"""{"type":"connect","bkid":"{{bkid}}","user":"user 42","session":"{{user.Session}}","sessions":1}""",
                $$"""{"type":"message","bkid":"{{bkid}}","user":"user 42","session":"{{user.Session}}","id":"{{id}}","data":{"n" : 1e400},"time":"{{time}}"}""",
                $$"""{"type":"disconnect","bkid":"{{bkid}}","user":"user 42","session":"{{user.Session}}","sessions":0}""",
            ],
            told
        );
        Assert.Equal(TimeSpan.Zero, DateTimeOffset.Parse(time, CultureInfo.InvariantCulture).Offset);

        var stream = (await _redis.CommandAsync("XRANGE", $"dmb:{bkid}:uplink", "-", "+")).Split('\n');
        Assert.Equal(told, stream.Where((_, i) => i % 5 == 4));
        Assert.Equal(id, stream[5 + 2]);
        Assert.All(stream.Chunk(5), entry => Assert.Equal(("id", "message"), (entry[1], entry[3])));
    }

    [Fact]
    public async Task A_backend_reads_missed_uplinks_with_a_consumer_group()
    {
        var bkid = await ConnectAsync();
        await using var user = await TestUser.JoinAsync(shared.Nodes[0].Url, bkid, "u");
        await user.SayAsync("1");
        var stream = $"dmb:{bkid}:uplink";
        await _redis.CommandAsync("XGROUP", "CREATE", stream, "workers", "0");

        // It reads two, handles one, and dies; what it had not handled is there for the next.
        var first = (
            await _redis.CommandAsync("XREADGROUP", "GROUP", "workers", "one", "COUNT", "2", "STREAMS", stream, ">")
        ).Split('\n');
        Assert.Contains("\"type\":\"connect\"", first[5], StringComparison.Ordinal);
        Assert.Equal("1", await _redis.CommandAsync("XACK", stream, "workers", first[1]));
        await user.SayAsync("2");
        await user.SayAsync("3");
        Assert.Equal(bkid, await ConnectAsync(bkid));
        var pending = await _redis.CommandAsync("XREADGROUP", "GROUP", "workers", "one", "STREAMS", stream, "0");
        Assert.Equal(["1"], DataIn(pending));
        var missed = await _redis.CommandAsync(
            "XREADGROUP",
            "GROUP",
            "workers",
            "two",
            "BLOCK",
            "0",
            "STREAMS",
            stream,
            ">"
        );
        Assert.Equal(["2", "3"], DataIn(missed));
        await user.SayAsync("4");
        Assert.Equal(
            ["4"],
            DataIn(
                await _redis.CommandAsync("XREADGROUP", "GROUP", "workers", "two", "BLOCK", "0", "STREAMS", stream, ">")
            )
        );

        static string[] DataIn(string entries) => [.. Data().Matches(entries).Select(match => match.Groups[1].Value)];
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Each_of_a_hundred_messages_is_processed_by_one_node(bool areEqual)
    {
        var bkid = await ConnectAsync();
        await using var user = await TestUser.JoinAsync(shared.Nodes[1].Url, bkid, "u");
        var data = Enumerable.Range(0, 100).Select(i => areEqual ? "0" : $"{i}").ToArray();
        await _redis.PublishAllAsync(
            "dmb:" + bkid,
            [.. data.Select(one => Encoding.UTF8.GetBytes($$"""{"type":"bk_message","data":{{one}}}"""))]
        );
        for (var i = 0; i < 100; i++)
        {
            Assert.Equal("""{"type":"bk_message_ack","ok":true,"nodes":1}""", (await _inbox.ReadMessageAsync()).Body);
            await user.GetsAsync("dmb:broadcast", data[i]);
        }

        // One more of either would come before these.
        Assert.Equal(
            """{"type":"bk_message_ack","id":"last","ok":true,"nodes":1}""",
            await AskAsync(bkid, """{"id":"last","data":"last"}""")
        );
        await user.GetsAsync("dmb:broadcast", "\"last\"");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Each_of_a_hundred_registrations_is_processed_by_one_node(bool areEqual)
    {
        await _redis.PublishAllAsync(
            "dmb:register",
            [
                .. Enumerable
                    .Range(0, 100)
                    .Select(i =>
                        Encoding.UTF8.GetBytes(
                            $$"""{"type":"bk_connect","name":"{{_name}}","n":{{(areEqual ? 0 : i)}}}"""
                        )
                    ),
            ]
        );
        await PublishAsync(
            "dmb:register",
            $$"""{"type":"bk_connect","name":"{{_name}}","reply_to":"{{_name}}:inbox"}"""
        );
        var bkids = new HashSet<string>();
        for (
            var (channel, body) = await _inbox.ReadMessageAsync();
            !channel.EndsWith(":inbox", StringComparison.Ordinal);
            (channel, body) = await _inbox.ReadMessageAsync()
        )
        {
            Assert.True(bkids.Add(JsonElement.Parse(body).GetProperty("bkid").GetString()!), body);
        }

        Assert.Equal(100, bkids.Count);
    }

    [Fact]
    public async Task Bad_registrations_are_each_refused_once()
    {
        for (var i = 0; i < 50; i++)
        {
            await PublishAsync("dmb:register", $$"""{"type":"bk_connect","name":"a b","reply_to":"{{_name}}:inbox"}""");
        }

        await PublishAsync("dmb:register", $$"""{"type":"bk_connect","name":"{{_name}}"}""");
        for (var i = 0; i < 50; i++)
        {
            Assert.Contains("\"code\":\"bad_name\"", (await _inbox.ReadMessageAsync()).Body, StringComparison.Ordinal);
        }

        Assert.Contains("\"ok\":true", (await _inbox.ReadMessageAsync()).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_same_nonce_gives_the_same_bkid_as_long_as_it_is_registered()
    {
        var connect = $$"""{"type":"bk_connect","name":"{{_name}}","nonce":"n1"}""";
        var first = await RegisterAsync(connect);
        Assert.Equal(first, await RegisterAsync(connect));
        Assert.Equal(first, await RegisterAsync(connect));
        Assert.NotEqual(first, await RegisterAsync(connect.Replace("n1", "n2", StringComparison.Ordinal)));

        var bkid = JsonElement.Parse(first).GetProperty("bkid").GetString()!;
        await _inbox.SubscribeAsync($"dmb:{bkid}:ack");
        await FreeAsync(bkid);
        var again = JsonElement.Parse(await RegisterAsync(connect)).GetProperty("bkid").GetString()!;
        Assert.Equal("1", await _redis.CommandAsync("EXISTS", "dmb:" + again));

        async Task<string> RegisterAsync(string body)
        {
            await PublishAsync("dmb:register", body);
            return (await _inbox.ReadMessageAsync()).Body;
        }
    }

    [Fact]
    public async Task A_registered_bkid_with_another_name_is_refused()
    {
        var bkid = await ConnectAsync();
        await PublishAsync(
            "dmb:register",
            $$"""{"type":"bk_connect","name":"other","bkid":"{{bkid}}","reply_to":"{{_name}}:inbox","nonce":"n"}"""
        );
        Assert.Equal(
            $$$"""{"type":"bk_connect_ack","nonce":"n","ok":false,"error":{"code":"forbidden_publish","message":"The backend {{{bkid}}} has another name than other.","retry":false}}""",
            (await _inbox.ReadMessageAsync()).Body
        );
    }

    [Fact]
    public async Task Freeing_a_bkid_removes_every_key_of_it()
    {
        var bkid = await ConnectAsync();
        TestUser[] users =
        [
            .. await Task.WhenAll(shared.Nodes.Select(node => TestUser.JoinAsync(node.Url, bkid, "u"))),
        ];
        await users[0].SayAsync("1");
        await AskAsync(bkid, """{"id":"m1","to":"u","data":1}""");
        Assert.Equal(5, (await KeysAsync(bkid)).Length);

        await FreeAsync(bkid);
        foreach (var user in users)
        {
            await user.GetsAsync("dmb:direct", "1");
            await user.GetsAsync("dmb:disconnected", $$"""{"service":"{{bkid}}"}""");
            Assert.Contains("\"code\":\"unknown_backend\"", await user.SayAsync("2"), StringComparison.Ordinal);
            await user.DisposeAsync();
        }

        Assert.Contains(
            "\"code\":\"unknown_backend\"",
            await AskAsync(bkid, """{"id":"m1","to":"u","data":1}"""),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "\"code\":\"unknown_backend\"",
            await AskAsync(bkid, """{"to":"u","data":1}"""),
            StringComparison.Ordinal
        );
        Assert.Empty(await KeysAsync(bkid));
    }

    [Fact]
    public async Task An_answer_to_a_channel_of_the_brokers_own_starts_no_round()
    {
        var bkid = await ConnectAsync();
        foreach (
            var channel in (string[])
                ["dmb:register", $"dmb:{bkid}", "dmb:nodes", "dmb:uplink", "dmb:room:public", "dmb:events"]
        )
        {
            await PublishAsync(
                "dmb:register",
                $$"""{"type":"bk_connect","name":"{{_name}}","reply_to":"{{channel}}","nonce":"n"}"""
            );
        }

        // The one on its own channel is no message, and it is told so once.
        Assert.Contains("\"code\":\"bad_json\"", (await _inbox.ReadMessageAsync()).Body, StringComparison.Ordinal);
        Assert.Equal(
            """{"type":"bk_message_ack","id":"m1","ok":true,"nodes":0}""",
            await AskAsync(bkid, """{"id":"m1","data":1}""")
        );
    }

    [Fact]
    public async Task A_repeated_equal_message_is_delivered_also_after_ten_thousand_others()
    {
        var bkid = await ConnectAsync();
        const string Message = """{"type":"bk_message","to":"nobody","data":"again"}""";
        for (var i = 0; i < 5; i++)
        {
            await AskAsync(bkid, Message);
        }

        await _redis.PublishAllAsync(
            "dmb:" + bkid,
            [
                .. Enumerable
                    .Range(0, 10_000)
                    .Select(i => Encoding.UTF8.GetBytes($$"""{"id":"m{{i}}","to":"nobody","data":1}""")),
            ]
        );
        for (var i = 0; i < 10_000; i++)
        {
            Assert.Equal(
                $$"""{"type":"bk_message_ack","id":"m{{i}}","ok":true,"nodes":0}""",
                (await _inbox.ReadMessageAsync()).Body
            );
        }

        await PublishAsync("dmb:" + bkid, Message);
        await PublishAsync("dmb:" + bkid, """{"id":"last","data":1}""");
        Assert.Equal("""{"type":"bk_message_ack","ok":true,"nodes":0}""", (await _inbox.ReadMessageAsync()).Body);
    }

    [Fact]
    public async Task A_backends_registration_and_all_that_is_stored_of_it_expires_and_use_keeps_it()
    {
        var bkid = await ConnectAsync();
        var user = await TestUser.JoinAsync(shared.Nodes[0].Url, bkid, "u");
        await user.SayAsync("1");
        await AskAsync(bkid, """{"id":"m1","data":1}""");
        foreach (var key in await KeysAsync(bkid))
        {
            Assert.InRange(
                long.Parse(await _redis.CommandAsync("PTTL", key), CultureInfo.InvariantCulture),
                1,
                86_400_000
            );
        }

        foreach (
            var use in (Func<Task>[])
                [
                    () => AskAsync(bkid, """{"data":1}"""),
                    () => user.SayAsync("2"),
                    () => ConnectAsync(bkid),
                    () =>
                        shared
                            .Nodes[1]
                            .Http.GetStringAsync(new Uri(shared.Nodes[1].Url, $"/backend/{bkid}/uplink/stored")),
                    async () => await (await TestUser.JoinAsync(shared.Nodes[2].Url, bkid, "v")).DisposeAsync(),
                ]
        )
        {
            await _redis.CommandAsync("PEXPIRE", "dmb:" + bkid, "60000");
            await use();
            Assert.InRange(
                long.Parse(await _redis.CommandAsync("PTTL", "dmb:" + bkid), CultureInfo.InvariantCulture),
                86_000_000,
                86_400_000
            );
        }

        // Past its time it is unknown, and comes back with its bkid.
        await user.DisposeAsync();
        await _redis.CommandAsync("DEL", "dmb:" + bkid);
        Assert.Contains(
            "\"code\":\"unknown_backend\"",
            await AskAsync(bkid, """{"data":1}"""),
            StringComparison.Ordinal
        );
        Assert.Equal(bkid, await ConnectAsync(bkid));
        Assert.Equal(
            """{"type":"bk_message_ack","ok":true,"nodes":0}""",
            await AskAsync(bkid, """{"to":"nobody","data":1}""")
        );
    }

    [Theory]
    [InlineData("events")]
    [InlineData("log")]
    [InlineData("nodes")]
    public async Task A_service_that_is_not_a_bkid_is_unknown_even_if_Redis_has_such_a_key(string key)
    {
        var node = shared.Nodes[0];
        await node.Http.PostAsync(new Uri(node.Url, "/register"), new StringContent("""{"event":"kept"}"""));
        await using var user = await TestUser.OpenAsync(node.Url, key, "u");
        Assert.Contains(
            "\"code\":\"unknown_backend\"",
            await user.Client.AckAsync("dmb:connect", $$"""{"service":"{{key}}","user":"u"}"""),
            StringComparison.Ordinal
        );
        foreach (
            var request in (HttpRequestMessage[])
                [
                    new(HttpMethod.Delete, $"/register/backend/{key}"),
                    new(HttpMethod.Post, $"/backend/{key}/messages") { Content = new StringContent("""{"data":1}""") },
                    new(HttpMethod.Get, $"/backend/{key}/uplink"),
                    new(HttpMethod.Get, $"/backend/{key}/uplink/stored"),
                    new(HttpMethod.Get, $"/events?service={key}&user=u"),
                ]
        )
        {
            using var response = await node.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            Assert.Contains(
                "\"code\":\"unknown_backend\"",
                await response.Content.ReadAsStringAsync(),
                StringComparison.Ordinal
            );
        }

        Assert.Equal("1", await _redis.CommandAsync("EXISTS", "dmb:" + key));

        // The log's own life, at most, and not that of a backend.
        Assert.InRange(
            long.Parse(await _redis.CommandAsync("PTTL", "dmb:" + key), CultureInfo.InvariantCulture),
            -1,
            120_000
        );
    }

    private Task<string> PublishAsync(string channel, string body) => _redis.CommandAsync("PUBLISH", channel, body);

    /// <summary>Registers, or comes back, and hears of its acks from then on.</summary>
    private async Task<string> ConnectAsync(string? bkid = null)
    {
        await PublishAsync(
            "dmb:register",
            $$"""{"type":"bk_connect","name":"{{_name}}"{{(bkid is null ? "" : $",\"bkid\":\"{bkid}\"")}}}"""
        );
        var own = JsonElement.Parse((await _inbox.ReadMessageAsync()).Body).GetProperty("bkid").GetString()!;
        if (bkid is null)
        {
            await _inbox.SubscribeAsync($"dmb:{own}:ack");
        }

        return own;
    }

    private async Task<string> AskAsync(string bkid, string message)
    {
        await PublishAsync("dmb:" + bkid, message);
        var (channel, ack) = await _inbox.ReadMessageAsync();
        Assert.Equal($"dmb:{bkid}:ack", channel);
        return ack;
    }

    private async Task FreeAsync(string bkid)
    {
        await PublishAsync("dmb:register", $$"""{"type":"bk_disconnect","bkid":"{{bkid}}"}""");
        Assert.Equal(
            $$"""{"type":"bk_disconnect_ack","bkid":"{{bkid}}","ok":true}""",
            (await _inbox.ReadMessageAsync()).Body
        );
    }

    private async Task<string[]> KeysAsync(string bkid) =>
        (await _redis.CommandAsync("KEYS", $"*{bkid}*")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    [GeneratedRegex("\"data\":([^,]+),\"time\"")]
    private static partial Regex Data();
}
