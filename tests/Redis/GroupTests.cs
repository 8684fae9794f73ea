using System.Globalization;
using System.Text.Json;
using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>Groups of rooms: their names, their number, and what happens to one of them alone.</summary>
[Collection(RedisLane.Name)]
public sealed class GroupTests
{
    private const int Groups = 8;

    /// <summary>Rooms of three groups; the first is in the group that has all that is no room's.</summary>
    private static readonly string[] Rooms = ["number:1", "n:1", "n:2"];

    [Theory]
    [InlineData("123456789", 0x31C3)]
    [InlineData("", 0)]
    [InlineData("zürich", 0xBBDA)]
    public void The_hash_is_that_of_a_cluster(string text, int checksum) =>
        Assert.Equal(checksum, HashSlot.Checksum(text));

    [Theory]
    [InlineData("dmb:", 0, "dmb:")]
    [InlineData("dmb:", 3, "{dmb:g3}:")]
    [InlineData("{dmb}:", 0, "{dmb}:")]
    [InlineData("{dmb}:", 3, "{dmb.g3}:")]
    public void A_group_has_a_hash_tag_of_its_own(string prefix, int group, string expected) =>
        Assert.Equal(expected, RedisChannels.PrefixOf(prefix, group));

    [Fact]
    public async Task Rooms_are_spread_over_keys_of_their_groups()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync(Rooms);
        var id = await node.NotifyAsync("any", """{"_in":["number:1","n:1","n:2"]}""");
        var frame = await client.ReadAsync();
        Assert.Contains(id, frame, StringComparison.Ordinal);
        foreach (var room in Rooms)
        {
            Assert.Equal("1", await redis.CommandAsync("XLEN", $"{PrefixOf(room)}history:{room}"));
            Assert.Equal("1", await redis.CommandAsync("HGET", $"{PrefixOf(room)}pos:{room}", "seq"));
        }

        Assert.Equal("8", await redis.CommandAsync("HGET", "dmb:format", "groups"));
    }

    [Fact]
    public async Task A_session_in_rooms_of_several_groups_gets_each_message_once_and_rooms_keep_their_order()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var one = await StartAsync(redis);
        await using var two = await StartAsync(redis);
        await using var all = await two.JoinAsync(Rooms);
        await using var pattern = await two.JoinAsync("number:1", "n:*");
        await using var last = await two.JoinAsync("n:2");
        for (var i = 0; i < 300; i++)
        {
            await one.NotifyAsync("any", $$"""{"n":{{i}},"_in":["number:1","n:1","n:2"]}""");
        }

        await one.NotifyAsync("any", """{"n":"end","_in":["number:1"]}""");
        await one.NotifyAsync("any", """{"n":"end","_in":["n:2"]}""");
        foreach (var client in (TestClient[])[all, pattern, last])
        {
            var numbers = new List<string>();
            for (var ends = client == last ? 1 : 2; ends > 0; )
            {
                var number = JsonElement.Parse(await client.ReadAsync()).GetProperty("data").GetProperty("n");
                ends -= number.ValueKind == JsonValueKind.String ? 1 : 0;
                if (number.ValueKind == JsonValueKind.Number)
                {
                    numbers.Add(number.GetRawText());
                }
            }

            Assert.Equal(Enumerable.Range(0, 300).Select(n => n.ToString(CultureInfo.InvariantCulture)), numbers);
        }
    }

    [Fact]
    public async Task A_session_that_resumes_in_rooms_of_several_groups_gets_each_missed_message_once()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.ConnectAsync();
        var answer = await client.AckAsync("subscribe", """["n:1","n:2"]""");
        var since = JsonElement
            .Parse(answer)
            .GetProperty("data")
            .GetProperty("positions")
            .EnumerateArray()
            .Select(place => (place.GetProperty("room").GetString(), place.GetProperty("pos").GetString()))
            .ToArray();
        await client.DisposeAsync();
        for (var i = 0; i < 5; i++)
        {
            await node.NotifyAsync("any", $$"""{"n":{{i}},"_in":["n:1","n:2"]}""");
        }

        await using var back = await node.ConnectAsync();
        var rooms = string.Join(
            ',',
            since.Select(place => $$"""{"room":"{{place.Item1}}","since":"{{place.Item2}}"}""")
        );
        var resumed = await back.AckAsync("subscribe", $"[{rooms}]");
        Assert.Equal(2, resumed.Split("\"recovered\":true").Length - 1);
        await node.NotifyAsync("any", """{"n":5,"_in":["n:1","n:2"]}""");
        for (var i = 0; i < 6; i++)
        {
            Assert.Equal(i, await NumberAsync(back));
        }

        await node.NotifyAsync("any", """{"n":6,"_in":["n:1"]}""");
        Assert.Equal(6, await NumberAsync(back));
    }

    [Fact]
    public async Task An_input_over_Redis_goes_to_rooms_of_several_groups_once()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var one = await StartAsync(redis);
        await using var two = await StartAsync(redis);
        await using var client = await two.JoinAsync(Rooms);
        for (var i = 0; i < 20; i++)
        {
            await redis.CommandAsync("PUBLISH", "dmb:notify:any", $$"""{"n":{{i}},"_in":["n:1","n:2","number:1"]}""");
            Assert.Equal(i, await NumberAsync(client));
        }

        await one.NotifyAsync("any", """{"n":20,"_in":["number:1"]}""");
        Assert.Equal(20, await NumberAsync(client));
        Assert.Equal("20", await redis.CommandAsync("XLEN", $"{PrefixOf("n:1")}history:n:1"));
    }

    [Fact]
    public async Task A_log_that_is_something_else_takes_its_group_away_alone()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis, isPatient: false);
        await using var client = await node.JoinAsync(Rooms);
        var log = PrefixOf("n:1") + "log";
        await redis.CommandAsync("DEL", log);
        await redis.CommandAsync("SET", log, "x");
        await redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
        await node.BecomesAsync("degraded", "1 of 8 groups: Redis answered WRONGTYPE");
        var ready = await node.GetAsync("/readyz");
        Assert.Equal(6, Assert.Single(ready.GetProperty("groups").EnumerateArray()).GetProperty("group").GetInt32());

        var (status, body) = await node.PushAsync("any", """{"n":1,"_in":["n:2","number:1"]}""");
        Assert.Equal((200, false), (status, body.Contains("degraded", StringComparison.Ordinal)));
        (status, body) = await node.PushAsync("any", """{"n":2,"_in":["n:1"]}""");
        Assert.Equal((202, true), (status, body.Contains("\"degraded\":\"spooled\"", StringComparison.Ordinal)));
        (status, body) = await node.PushAsync("any", """{"n":3,"_in":["n:1","n:2"]}""");
        Assert.Equal((202, true), (status, body.Contains("\"degraded\":\"spooled\"", StringComparison.Ordinal)));

        await redis.CommandAsync("DEL", log);
        await node.BecomesAsync("ready");
        await node.NotifyAsync("any", """{"n":4,"_in":["n:1"]}""");
        int[] numbers =
        [
            await NumberAsync(client),
            await NumberAsync(client),
            await NumberAsync(client),
            await NumberAsync(client),
        ];
        Assert.Equal([1, 2, 3, 4], numbers.Order());
        Assert.Equal("3", await redis.CommandAsync("XLEN", $"{PrefixOf("n:1")}history:n:1"));
    }

    [Fact]
    public async Task A_node_with_another_number_of_groups_stops_with_a_clear_line()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var other = NodeProcess.Run([.. Settings(redis), ("DMB_GROUPS", "4")]);
        Assert.Equal(2, await other.EndAsync());
        Assert.Single(other.Lines, line =>
            line.Contains("DMB_GROUPS is 4 here, and 8 on the nodes that share dmb: in Redis", StringComparison.Ordinal)
        );
        await using var client = await node.JoinAsync("n:1");
        await node.NotifyAsync("any", """{"n":1,"_in":["n:1"]}""");
        Assert.Equal(1, await NumberAsync(client));
    }

    [Fact]
    public async Task A_living_node_of_a_version_before_groups_has_one_group()
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync("HSET", "dmb:epoch", "mark", "abc");
        await redis.CommandAsync("SADD", "dmb:members", "old");
        await redis.CommandAsync("SET", "dmb:node:old", "1");
        await using var other = NodeProcess.Run([.. Settings(redis), ("DMB_GROUPS", "8")]);
        Assert.Equal(2, await other.EndAsync());
        Assert.Contains(other.Lines, line =>
            line.Contains("DMB_GROUPS is 8 here, and 1 on the nodes", StringComparison.Ordinal)
        );

        await using var same = await NodeProcess.StartReadyAsync([.. Settings(redis), ("DMB_GROUPS", "1")]);
        Assert.Equal("abc", await redis.CommandAsync("HGET", "dmb:epoch", "mark"));
    }

    [Fact]
    public async Task A_version_that_knows_no_groups_is_refused_by_Redis_when_it_starts_later()
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync("SADD", "dmb:nodes", "before");
        await using (var node = await StartAsync(redis))
        {
            // The first that such a version writes when it connects.
            var refused = await Assert.ThrowsAsync<RedisErrorException>(() =>
                redis.CommandAsync("SADD", "dmb:nodes", "old")
            );
            Assert.StartsWith("WRONGTYPE", refused.Message, StringComparison.Ordinal);
            Assert.Equal("2", await redis.CommandAsync("SCARD", "dmb:nodes:grouped"));
            await using var client = await node.JoinAsync("n:1");
            await node.NotifyAsync("any", """{"n":1,"_in":["n:1"]}""");
            Assert.Equal(1, await NumberAsync(client));
        }

        await redis.CommandAsync("DEL", await redis.CommandAsync("KEYS", "dmb:node:*"));
        await using var one = await NodeProcess.StartReadyAsync([.. Settings(redis), ("DMB_GROUPS", "1")]);
        Assert.Equal("0", await redis.CommandAsync("EXISTS", "dmb:nodes:grouped"));
        Assert.Equal("1", await redis.CommandAsync("SADD", "dmb:nodes", "old"));
    }

    [Theory]
    [InlineData("FLUSHALL")]
    [InlineData("DEL", "dmb:format")]
    [InlineData("DEL", "dmb:members")]
    [InlineData("DEL", "dmb:nodes")]
    [InlineData("DEL", "dmb:format", "dmb:nodes")]
    public async Task What_nodes_have_recorded_of_their_layout_is_written_again_when_it_was_deleted(
        params string[] command
    )
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis, isPatient: false);
        await using var second = await StartAsync(redis, isPatient: false);
        const string Recorded = """
            return tostring(redis.call('HGET', 'dmb:format', 'groups')) .. ' ' .. redis.call('SCARD', 'dmb:members')
              .. ' ' .. redis.call('SCARD', 'dmb:nodes:grouped') .. ' ' .. redis.call('TYPE', 'dmb:nodes').ok
            """;
        Assert.Equal("8 2 2 string", await redis.CommandAsync("EVAL", Recorded, "0"));

        await redis.CommandAsync(command);
        using var patience = new CancellationTokenSource(Node.Patience);
        while (await redis.CommandAsync("EVAL", Recorded, "0") is var recorded && recorded != "8 2 2 string")
        {
            Assert.False(patience.IsCancellationRequested, recorded);
        }

        await using var other = NodeProcess.Run([.. Settings(redis), ("DMB_GROUPS", "4")]);
        Assert.Equal(2, await other.EndAsync());
        await node.BecomesAsync("ready");
        await second.BecomesAsync("ready");
        foreach (var log in (string[][])[node.Log, second.Log])
        {
            Assert.DoesNotContain(log, line => line.Contains("Redis is away", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task A_node_that_was_taken_for_dead_stops_when_the_others_have_another_number_by_then()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis, isPatient: false);
        node.Stop();
        await redis.CommandAsync("DEL", await redis.CommandAsync("KEYS", "dmb:node:*"));
        await using var other = await NodeProcess.StartReadyAsync([.. Settings(redis), ("DMB_GROUPS", "4")]);
        node.Continue();
        Assert.Equal(2, await node.EndAsync());
        Assert.Contains(node.Log, line =>
            line.Contains("DMB_GROUPS is 8 here, and 4 on the nodes that share dmb: in Redis", StringComparison.Ordinal)
        );
        await other.BecomesAsync("ready");
    }

    [Fact]
    public async Task Positions_begin_anew_when_the_number_of_groups_changes()
    {
        await using var redis = await RedisServer.StartAsync();
        var position = "";
        foreach (var groups in (string[])["8", "4", "8"])
        {
            await using (var node = await NodeProcess.StartReadyAsync([.. Settings(redis), ("DMB_GROUPS", groups)]))
            {
                await using var client = await node.ConnectAsync();
                if (position.Length > 0)
                {
                    var answer = await client.AckAsync("subscribe", $$"""{"room":"n:1","since":"{{position}}"}""");
                    Assert.Contains("\"recovered\":false,\"why\":\"epoch\"", answer, StringComparison.Ordinal);
                }

                await node.NotifyAsync("any", """{"n":1,"_in":["n:1"]}""");
                position = (await node.GetAsync("/rooms/n:1")).GetProperty("pos").GetString()!;
            }

            // As after the time that a node counts as living.
            await redis.CommandAsync("DEL", await redis.CommandAsync("KEYS", "dmb:node:*"));
        }
    }

    private static string PrefixOf(string room) => RedisChannels.PrefixOf("dmb:", HashSlot.Checksum(room) % Groups);

    private static (string, string)[] Settings(RedisServer redis) =>
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_EVENTS", "any="),
            ("DMB_HISTORY_SIZE", "100"),
        ];

    private static Task<NodeProcess> StartAsync(RedisServer redis, bool isPatient = true) =>
        NodeProcess.StartReadyAsync([
            .. Settings(redis),
            ("DMB_GROUPS", $"{Groups}"),
            .. isPatient ? NodeProcess.Patient : [],
        ]);

    /// <summary>The number in the next message.</summary>
    private static async Task<int> NumberAsync(TestClient client)
    {
        while (true)
        {
            var frame = JsonElement.Parse(await client.ReadAsync());
            if (frame.GetProperty("event").GetString() == "any")
            {
                return frame.GetProperty("data").GetProperty("n").GetInt32();
            }
        }
    }
}
