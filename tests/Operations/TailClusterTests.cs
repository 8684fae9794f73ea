using System.Net;
using System.Text;
using System.Text.Json;
using Dmb.Tests.Commands;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Operations;

/// <summary>GET /tail over Redis: a tail of one node shows what becomes of publishes on all.</summary>
[Collection(RedisLane.Name)]
public sealed class TailClusterTests(SharedCluster shared)
{
    [Fact]
    public async Task A_publish_on_one_node_is_read_on_another_with_the_sessions_of_all()
    {
        var (here, there) = (shared.Nodes[0], shared.Nodes[1]);
        await using var one = await here.JoinAsync("endpoint:tail");
        await using var two = await there.JoinAsync("endpoint:tail");
        using var tail = await TailReader.OpenAsync(here.Http, here.Url, "?room=endpoint:tail");
        var id = await there.NotifyAsync("call", """{"_in":"endpoint:tail"}""");
        var trace = await tail.ReadAsync();
        Assert.Equal(
            ("call", id, "http", null),
            (Text(trace, "event"), Text(trace, "id"), Text(trace, "from"), Text(trace, "why"))
        );
        Assert.Equal((2, 2), (trace.GetProperty("nodes").GetInt32(), trace.GetProperty("sessions").GetInt32()));
    }

    [Fact]
    public async Task Each_reason_is_read_on_the_other_node()
    {
        var (here, there) = (shared.Nodes[0], shared.Nodes[1]);
        using var tail = await TailReader.OpenAsync(here.Http, here.Url, "?event=report_tail");
        await IsNextAsync(tail, there, "{}", "http", "unknown_event");
        using var registered = await there.Http.PostAsync(
            new Uri(there.Url, "/register"),
            new StringContent("""{"event":"report_tail"}""")
        );
        registered.EnsureSuccessStatusCode();
        await IsNextAsync(tail, there, "{}", "http", "no_room");
        await IsNextAsync(tail, there, """{"_in":"endpoint:nobody"}""", "http", "no_subscriber");
        await IsNextAsync(tail, there, "{", "http", "refused:bad_json");
        await IsNextAsync(tail, there, """{"endpoint":"k"}""", "http", "no_subscriber", "tail-key");
        await IsNextAsync(tail, there, """{"endpoint":"k"}""", "http", "duplicate", "tail-key");

        await shared.Redis.CommandAsync("PUBLISH", "dmb:notify:report_tail", """{"_in":"endpoint:nobody"}""");
        await IsNextAsync(tail, "redis", "no_subscriber");
        await shared.Redis.CommandAsync("PUBLISH", "dmb:notify:report_tail", "{}");
        await IsNextAsync(tail, "redis", "no_room");
        await shared.Redis.CommandAsync("PUBLISH", "dmb:notify:report_tail", "{");
        await IsNextAsync(tail, "redis", "refused:bad_json");
    }

    [Fact]
    public async Task While_Redis_is_away_a_message_is_traced_as_spooled_and_the_tail_stays()
    {
        await using var cluster = await Cluster.StartAsync();
        var node = cluster.Nodes[0];
        await using var client = await node.JoinAsync("endpoint:spooled");
        using var tail = await TailReader.OpenAsync(node.Http, node.Url, "?event=call");
        await using var command = NodeProcess.RunBare(
            ["tail", "--why", "-n", "1"],
            NodeProcess.AppDirectory,
            ("DMB_URL", node.Url.ToString())
        );
        await command.LineAsync("Waiting for publishes");
        await cluster.Redis.KillAsync();
        await node.BecomesAsync("degraded");
        await IsNextAsync(tail, node, """{"_in":"endpoint:spooled"}""", "http", "spooled", @event: "call");
        var ended = await CommandResult.OfAsync(command);
        Assert.EndsWith(
            " spooled: Redis is away; sessions of other nodes get it when it is back",
            Assert.Single(ended.Output),
            StringComparison.Ordinal
        );
    }

    private static async Task IsNextAsync(
        TailReader tail,
        NodeProcess node,
        string body,
        string from,
        string? why,
        string? key = null,
        string @event = "report_tail"
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(node.Url, "/_notify/" + @event));
        request.Content = new StringContent(body, Encoding.UTF8);
        if (key is not null)
        {
            request.Headers.Add("Idempotency-Key", key);
        }

        using var answer = await node.Http.SendAsync(request);
        Assert.NotEqual(HttpStatusCode.InternalServerError, answer.StatusCode);
        await IsNextAsync(tail, from, why);
    }

    private static async Task IsNextAsync(TailReader tail, string from, string? why)
    {
        var trace = await tail.ReadAsync();
        Assert.Equal((from, why), (Text(trace, "from"), Text(trace, "why")));
    }

    private static string? Text(JsonElement item, string member) => item.GetProperty(member).GetString();
}
