using System.Text.Json;

namespace Dmb.Tests.Redis;

/// <summary>
/// What every backplane promises: the same tests for a node that runs alone and for nodes over Redis.
/// </summary>
/// <param name="nodes">One node or several.</param>
/// <param name="isOrderedOverRooms">Whether one publisher's messages keep their order over rooms too.</param>
public abstract class BackplaneSpec(IReadOnlyList<NodeProcess> nodes, bool isOrderedOverRooms = true)
{
    private NodeProcess First => nodes[0];

    private NodeProcess Last => nodes[^1];

    [Fact]
    public async Task A_message_published_after_the_ack_of_a_subscribe_arrives()
    {
        for (var i = 0; i < 50; i++)
        {
            await using var client = await Last.JoinAsync($"ack:{i}");
            await First.NotifyAsync("call", $$"""{"n":{{i}},"_in":"ack:{{i}}"}""");
            Assert.Contains($"\"n\":{i},", await client.ReadAsync(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_session_in_several_rooms_of_a_message_gets_one_copy_byte_for_byte()
    {
        await using var client = await Last.JoinAsync("copy:1", "copy:2", "endpoint:copy");
        const string Data =
            """{"_in":["copy:1", "copy:2"],"endpoint":"copy" , "x":1e400,"x":12345678901234567890.00}""";
        var id = await First.NotifyAsync("call", Data);
        var last = await First.NotifyAsync("call", """{"_in":"copy:2"}""");

        Assert.Equal($$"""{"event":"call","data":{{Data}},"id":"{{id}}"}""", await client.ReadAsync());
        Assert.Equal($$$"""{"event":"call","data":{"_in":"copy:2"},"id":"{{{last}}}"}""", await client.ReadAsync());
    }

    [Fact]
    public async Task The_messages_of_one_publisher_arrive_in_order_also_at_the_publisher()
    {
        await using var client = await Last.JoinAsync("order:1");
        await using var sender = await First.JoinAsync("order:1");
        await Task.WhenAll(SendAsync(), GetAsync(client), GetAsync(sender));

        async Task SendAsync()
        {
            for (var i = 0; i < 500; i++)
            {
                await sender.SendAsync($$$"""{"event":"call","data":{"n":{{{i}}},"_in":"order:1"}}""");
            }
        }

        static async Task GetAsync(TestClient subscriber)
        {
            for (var i = 0; i < 500; i++)
            {
                Assert.Equal(
                    i,
                    JsonElement.Parse(await subscriber.ReadAsync()).GetProperty("data").GetProperty("n").GetInt32()
                );
            }
        }
    }

    [Fact]
    public async Task A_subscriber_that_has_left_gets_no_messages()
    {
        await using var client = await Last.JoinAsync("left:1", "left:2");
        await client.AckAsync("leave", "\"left:1\"");
        Assert.Contains("\"left\"", await client.ReadAsync(), StringComparison.Ordinal);
        await First.NotifyAsync("call", """{"n":1,"_in":"left:1"}""");
        await First.NotifyAsync("call", """{"n":2,"_in":"left:2"}""");
        Assert.Contains("\"n\":2,", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pattern_gets_the_messages_of_all_rooms_that_match_once_and_in_order()
    {
        var type = $"p{Guid.NewGuid():N}";
        await using var client = await Last.JoinAsync($"{type}:*", $"{type}:1");
        await using var only = await Last.JoinAsync($"{type}:deep:*");
        for (var i = 0; i < 200; i++)
        {
            await First.NotifyAsync("call", $$"""{"n":{{i}},"_in":["{{type}}:{{i % 3}}","{{type}}:deep:{{i}}"]}""");
            await First.NotifyAsync("report_csr", $$"""{"n":{{i}},"_in":"{{type}}:{{i % 3}}"}""");
        }

        var (all, deep) = (new List<(string, int)>(), new List<(string, int)>());
        for (var i = 0; i < 200; i++)
        {
            all.Add(await EventAsync(client));
            all.Add(await EventAsync(client));
            deep.Add(await EventAsync(only));
        }

        (string, int)[] calls = [.. Enumerable.Range(0, 200).Select(i => ("call", i))];
        (string, int)[] both = [.. calls.SelectMany(call => ((string, int)[])[call, ("report_csr", call.Item2)])];
        if (isOrderedOverRooms)
        {
            Assert.Equal(both, all);
            Assert.Equal(calls, deep);
        }

        // Each once, and what is in one room alone in the order of that room.
        Assert.Equal(both.Order(), all.Order());
        Assert.Equal(calls, deep.Order());
        for (var room = 0; room < 3; room++)
        {
            var there = all.Where(message => message.Item1 == "report_csr" && message.Item2 % 3 == room).ToArray();
            Assert.Equal(there.Order(), there);
        }

        Assert.Contains("\"ok\":true", await client.AckAsync("unsubscribe", $"\"{type}:*\""), StringComparison.Ordinal);
        await client.ReadAllAsync();
        await First.NotifyAsync("report_csr", $$"""{"_in":"{{type}}:2"}""");
        var last = await First.NotifyAsync("report_csr", $$"""{"n":"last","_in":"{{type}}:1"}""");
        Assert.Contains(last, await client.ReadAsync(), StringComparison.Ordinal);
    }

    private static async Task<(string Event, int Number)> EventAsync(TestClient client)
    {
        var frame = JsonElement.Parse(await client.ReadAsync());
        return (frame.GetProperty("event").GetString()!, frame.GetProperty("data").GetProperty("n").GetInt32());
    }

    [Theory]
    [InlineData("""{"room":"endpoint:*","since":"k3f9:1"}""", "bad_frame")]
    [InlineData("\"endpoint:1*\"", "bad_name")]
    [InlineData("\"*\"", "bad_name")]
    public async Task A_pattern_with_a_place_and_what_is_no_pattern_are_refused(string data, string code)
    {
        await using var client = await Last.ConnectAsync();
        var answer = await client.AckAsync("subscribe", data);
        Assert.Contains($"\"code\":\"{code}\"", answer, StringComparison.Ordinal);
        using var history = await Last.Http.GetAsync(new Uri(Last.Url, "/rooms/endpoint:*/history"));
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, history.StatusCode);
    }

    [Fact]
    public async Task A_room_is_counted_over_all_nodes()
    {
        await using var here = await First.JoinAsync("count:1");
        await using var there = await Last.JoinAsync("count:1");
        Assert.Equal(
            """{"room":"count:1","sessions":2,"pos":null}""",
            await First.Http.GetStringAsync(new Uri(First.Url, "/rooms/count:1"))
        );
    }

    [Fact]
    public async Task A_key_identifies_one_message_on_all_nodes()
    {
        await using var client = await Last.JoinAsync("key:1");
        var (_, first) = await First.PushAsync("call", """{"n":1,"_in":"key:1"}""", "spec-key");
        var (_, second) = await Last.PushAsync("call", """{"n":2,"_in":"key:1"}""", "spec-key");
        Assert.Equal(first.Replace("}", ",\"duplicate\":true}", StringComparison.Ordinal), second);
        await First.NotifyAsync("call", """{"n":3,"_in":"key:1"}""");
        Assert.Contains("\"n\":1,", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Contains("\"n\":3,", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_backplane_is_ready()
    {
        Assert.Equal("""{"status":"ready"}""", await Last.Http.GetStringAsync(new Uri(Last.Url, "/readyz?strict=1")));
    }
}

/// <summary>The promise, kept by a node that runs alone.</summary>
public sealed class EmbeddedBackplaneTests(EmbeddedBackplaneTests.Alone alone)
    : BackplaneSpec([alone.Node]),
        IClassFixture<EmbeddedBackplaneTests.Alone>
{
    public sealed class Alone : IAsyncLifetime
    {
        public NodeProcess Node { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));

        public ValueTask DisposeAsync() => Node.DisposeAsync();
    }
}

/// <summary>The promise, kept by three nodes over Redis.</summary>
[Collection(RedisLane.Name)]
public sealed class RedisBackplaneTests(SharedCluster shared) : BackplaneSpec(shared.Nodes);
