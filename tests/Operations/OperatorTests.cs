using System.Net;
using System.Text.Json;

namespace Dmb.Tests.Operations;

/// <summary>The operator's API: nodes, rooms, statistics and histories are seen, and histories emptied.</summary>
public sealed class OperatorTests : IAsyncLifetime
{
    private AlbaNode _node = null!;

    public async ValueTask InitializeAsync() => _node = await AlbaNode.StartAsync(("HistorySize", "100"));

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_node_reports_its_version_state_and_counts()
    {
        using var client = await _node.JoinAsync("calls");
        var answer = await GetAsync("/nodes");
        var node = Assert.Single(Items(answer));
        Assert.Equal(
            ["id", "version", "started", "host", "sessions", "rooms", "state", "publishes_s", "deliveries_s"],
            node.EnumerateObject().Select(member => member.Name)
        );
        Assert.Equal(
            (1, 1, "ready"),
            (node.GetProperty("sessions").GetInt32(), node.GetProperty("rooms").GetInt32(), Text(node, "state"))
        );
        Assert.Equal(JsonValueKind.Null, answer.GetProperty("next").ValueKind);
        Assert.Empty(answer.GetProperty("missing").EnumerateArray());
    }

    [Fact]
    public async Task Each_step_of_the_statistics_has_its_counts()
    {
        using var client = await _node.JoinAsync("calls");
        _node.Time.Advance(TimeSpan.FromSeconds(5));
        await _node.NotifyAsync("call", "1");
        Assert.StartsWith("id: ", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.StartsWith("event: call\ndata: 1\n", await client.ReadAsync(), StringComparison.Ordinal);
        _node.Time.Advance(TimeSpan.FromSeconds(5));

        var stats = await GetAsync("/stats");
        Assert.Equal(5, stats.GetProperty("step_s").GetInt32());
        var last = Items(stats)[^1];
        Assert.Equal(
            ["time", "publishes", "deliveries", "sessions", "drops", "closes", "lag_p50_ms", "lag_p99_ms", "redis_up"],
            last.EnumerateObject().Select(member => member.Name)
        );
        Assert.Equal(
            (1, 1, 1),
            (
                last.GetProperty("publishes").GetInt32(),
                last.GetProperty("deliveries").GetInt32(),
                last.GetProperty("sessions").GetInt32()
            )
        );
        Assert.True(last.GetProperty("redis_up").GetBoolean());
        Assert.Equal(0.2, Assert.Single(Items(await GetAsync("/nodes"))).GetProperty("publishes_s").GetDouble());

        for (var i = 0; i < 200; i++)
        {
            _node.Time.Advance(TimeSpan.FromSeconds(5));
        }

        Assert.Equal(180, Items(await GetAsync("/stats")).Length);
    }

    [Fact]
    public async Task Rooms_are_listed_by_name_in_pages_with_their_history()
    {
        using var one = await _node.JoinAsync("endpoint:1", "endpoint:2", "support");
        using var two = await _node.JoinAsync("endpoint:2");
        await _node.NotifyAsync("call", """{"_in":"endpoint:2"}""");

        var first = await GetAsync("/rooms?prefix=endpoint:&limit=1");
        Assert.Equal("endpoint:1", Text(Assert.Single(Items(first)), "room"));
        var second = await GetAsync(
            "/rooms?prefix=endpoint:&limit=1&after=" + Uri.EscapeDataString(first.GetProperty("next").GetString()!)
        );
        var room = Assert.Single(Items(second));
        Assert.Equal(
            ("endpoint:2", 2, 1),
            (Text(room, "room"), room.GetProperty("sessions").GetInt32(), room.GetProperty("kept").GetInt32())
        );
        Assert.EndsWith(":1", Text(room, "pos"), StringComparison.Ordinal);
        Assert.Equal(JsonValueKind.Null, second.GetProperty("next").ValueKind);
    }

    [Theory]
    [InlineData("/rooms")]
    [InlineData("/sessions")]
    [InlineData("/backends")]
    [InlineData("/webhooks")]
    [InlineData("/dead")]
    [InlineData("/rooms/support/sessions")]
    [InlineData("/rooms/support/history")]
    public async Task A_limit_that_is_no_number_is_refused(string path)
    {
        using var answer = await _node.Http.GetAsync(path + "?limit=x");
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        var problem = JsonElement.Parse(await answer.Content.ReadAsStringAsync());
        Assert.Equal("bad_json", Text(problem, "code"));
        Assert.StartsWith("A parameter of the query has no valid value", Text(problem, "detail"));
    }

    [Fact]
    public async Task A_history_is_read_from_a_position_and_emptied()
    {
        for (var i = 1; i <= 3; i++)
        {
            await _node.NotifyAsync("report_csr", $"{i}");
        }

        var all = await GetAsync("/rooms/support/history");
        Assert.Equal(["1", "2", "3"], Items(all).Select(item => item.GetProperty("data").GetRawText()));
        Assert.Equal(["event", "data", "id", "pos"], Items(all)[0].EnumerateObject().Select(member => member.Name));
        var since = Uri.EscapeDataString(Text(Items(all)[0], "pos"));
        var rest = await GetAsync($"/rooms/support/history?since={since}&limit=1");
        Assert.Equal("2", Assert.Single(Items(rest)).GetProperty("data").GetRawText());
        Assert.Equal(Text(all, "pos"), Text(rest, "pos"));

        Assert.Equal(204, (await _node.AskAsync("DELETE /rooms/support/history")).Status);
        var empty = await GetAsync("/rooms/support/history");
        Assert.Empty(Items(empty));
        Assert.Equal(Text(all, "pos"), Text(empty, "pos"));
    }

    private async Task<JsonElement> GetAsync(string path)
    {
        var answer = await _node.AskAsync("GET " + path);
        Assert.Equal(200, answer.Status);
        return answer.Json;
    }

    private static JsonElement[] Items(JsonElement answer) => [.. answer.GetProperty("items").EnumerateArray()];

    private static string Text(JsonElement item, string member) => item.GetProperty(member).GetString()!;
}
