using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Endpoints;

/// <summary>POST /_notify: several events in one request.</summary>
public sealed class BatchTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Fact]
    public async Task Each_item_has_its_result_and_they_are_delivered_in_order()
    {
        await using var client = await _node.JoinAsync("calls", "endpoint:1", "support");
        var answer = await SendAsync(
            """
            [
              {"event":"call","data":{"b":1e400,"a":[1 ,2],"a":"\u00e9"}},
              {"data":{"endpoint":1,"_in":"endpoint:1"},"event":"trace"},
              {"event":"unheard","data":{"_in":"endpoint:1"}},
              {"event":"not a name","data":1},
              {"event":"report_csr","\ud800":"unknown members are ignored"}
            ]
            """
        );

        var results = Results(answer);
        Assert.Equal(5, results.Length);
        Assert.Equal($$"""{"ok":true,"id":"{{Id(results[0])}}"}""", results[0].GetRawText());
        Assert.Equal($$"""{"ok":true,"id":"{{Id(results[1])}}"}""", results[1].GetRawText());
        Assert.Equal("""{"ok":false,"ignore":true}""", results[2].GetRawText());
        Assert.Matches(
            """^\{"ok":false,"error":\{"code":"bad_name","message":"[^"]+","retry":false}}$""",
            results[3].GetRawText()
        );
        Assert.Equal($$"""{"ok":true,"id":"{{Id(results[4])}}"}""", results[4].GetRawText());
        Assert.StartsWith("""{"ok":false,"results":[""", answer.Body, StringComparison.Ordinal);

        await client.GetsAsync("call", """{"b":1e400,"a":[1 ,2],"a":"\u00e9"}""", Id(results[0]));
        await client.GetsAsync("trace", """{"endpoint":1,"_in":"endpoint:1"}""", Id(results[1]));
        await client.GetsAsync("report_csr", "{}", Id(results[4]));
    }

    [Fact]
    public async Task It_is_ok_when_all_its_items_are()
    {
        var answer = await SendAsync("""[{"event":"call"},{"event":"trace","data":null}]""");
        Assert.StartsWith("""{"ok":true,"results":[{"ok":true,"id":""", answer.Body, StringComparison.Ordinal);
        Assert.Equal("""{"ok":true,"results":[]}""", (await SendAsync("[]")).Body);
    }

    [Theory]
    [InlineData("42")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("{\"event\":42}")]
    [InlineData("{\"event\":\"a b\"}")]
    [InlineData("{\"event\":\"\\ud800\"}")]
    [InlineData("{\"event\":\"call\",\"id\":\"\"}")]
    [InlineData("{\"event\":\"call\",\"id\":\"12345678901234567890123456789012345678901234567890123456789012345\"}")]
    public async Task A_bad_item_is_an_error_of_its_own(string item)
    {
        await using var client = await _node.JoinAsync("calls");
        var answer = await SendAsync($$"""[{"event":"call","data":1},{{item}},{"event":"call","data":2}]""");
        var results = Results(answer);
        Assert.Equal([true, false, true], results.Select(result => result.GetProperty("ok").GetBoolean()));
        Assert.True(results[1].TryGetProperty("error", out _));
        await client.GetsAsync("call", "1", Id(results[0]));
        await client.GetsAsync("call", "2", Id(results[2]));
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("42")]
    [InlineData("[{\"event\":\"call\"}")]
    [InlineData("[{\"event\":\"call\"},]")]
    [InlineData("[{\"event\":\"call\"}] x")]
    [InlineData("[{\"event\":\"call\"},{\"event\":\"call\",\"data\":}]")]
    public async Task A_batch_that_is_not_an_array_is_refused_as_a_whole(string body)
    {
        await using var client = await _node.JoinAsync("calls");
        (await SendAsync(body)).IsProblem(400, "bad_json");
        await _node.ReachesAsync(client, "call", "\"the next one\"");
    }

    [Fact]
    public async Task It_may_have_100_items_and_no_more()
    {
        await using var client = await _node.JoinAsync("calls");
        string Items(int count)
        {
            var items = Enumerable.Range(0, count).Select(i => $$"""{"event":"call","data":{{i}}}""");
            return $"[{string.Join(',', items)}]";
        }

        var results = Results(await SendAsync(Items(100)));
        Assert.Equal(100, results.Length);
        for (var i = 0; i < 100; i++)
        {
            await client.GetsAsync("call", $"{i}", Id(results[i]));
        }

        (await SendAsync(Items(101))).IsProblem(400, "bad_json");
        await _node.ReachesAsync(client, "call", "\"the next one\"");
    }

    [Fact]
    public async Task An_id_again_is_a_duplicate_in_the_same_batch_and_in_the_next()
    {
        await using var client = await _node.JoinAsync("calls");
        const string Items = """[{"event":"call","data":1,"id":"batch-1"},{"event":"call","data":2,"id":"batch-1"}]""";

        var first = Results(await SendAsync(Items));
        var id = Id(first[0]);
        var duplicate = $$"""{"ok":true,"id":"{{id}}","duplicate":true}""";
        Assert.Equal($$"""{"ok":true,"id":"{{id}}"}""", first[0].GetRawText());
        Assert.Equal(duplicate, first[1].GetRawText());
        Assert.Equal($$"""{"ok":true,"results":[{{duplicate}},{{duplicate}}]}""", (await SendAsync(Items)).Body);

        await client.GetsAsync("call", "1", id);
        await _node.ReachesAsync(client, "call", "\"the next one\"");
    }

    [Fact]
    public async Task Each_item_may_be_as_big_as_a_message_and_all_together_4_MiB()
    {
        await using var client = await _node.JoinAsync("traces");
        string Item(int bytes) => $$"""{"event":"trace","data":"{{new string('x', bytes - 2)}}"}""";

        var results = Results(await SendAsync($"[{Item(262_144)},{Item(262_145)}]"));
        Assert.Contains(Id(results[0]), await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Equal("too_big", results[1].GetProperty("error").GetProperty("code").GetString());

        var most = "[" + new string(' ', 4_194_304 - 2) + "]";
        Assert.Equal(200, (await SendAsync(most)).Status);
        (await SendAsync(most + " ")).IsProblem(413, "too_big");
    }

    [Fact]
    public async Task An_item_may_be_64_deep_and_no_deeper()
    {
        string Items(int depth)
        {
            return $$"""[{"event":"call","data":{{new string('[', depth)}}{{new string(']', depth)}}}]""";
        }

        Assert.StartsWith("""{"ok":true,""", (await SendAsync(Items(64))).Body, StringComparison.Ordinal);
        (await SendAsync(Items(65))).IsProblem(400, "bad_json");
    }

    [Fact]
    public async Task A_byte_that_is_not_UTF_8_is_delivered_as_U_FFFD()
    {
        await using var client = await _node.JoinAsync("calls");
        var body = Encoding.Latin1.GetBytes("""[{"event":"call","data":"André"},{"event":"call","data":"é"}]""");
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync($"POST /_notify HTTP/1.1\nHost: localhost\nContent-Length: {body.Length}", body);
        var results = Results(await http.ReadAsync());
        await client.GetsAsync("call", "\"Andr\uFFFD\"", Id(results[0]));
        await client.GetsAsync("call", "\"\uFFFD\"", Id(results[1]));
    }

    [Theory]
    [InlineData("/_notify")]
    [InlineData("//_notify")]
    [InlineData("/_notify/")]
    public async Task It_may_be_sent_as_a_form_and_with_a_slash_too_many(string path)
    {
        var answer = await RawHttp.AskAsync(
            _node,
            "POST " + path,
            """[{"event":"call"}]""",
            "Content-Type: application/x-www-form-urlencoded"
        );
        Assert.StartsWith("""{"ok":true""", answer.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_small_body_that_unpacks_to_a_big_one_is_too_big()
    {
        var body = RawHttp.Gzip(Encoding.ASCII.GetBytes("[" + new string(' ', 20_000_000) + "]"));
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(
            $"POST /_notify HTTP/1.1\nHost: localhost\nContent-Encoding: gzip\nContent-Length: {body.Length}",
            body
        );
        (await http.ReadAsync()).IsProblem(413, "too_big");
    }

    private Task<RawAnswer> SendAsync(string items) => RawHttp.AskAsync(_node, "POST /_notify", items);

    private static JsonElement[] Results(RawAnswer answer)
    {
        Assert.Equal(200, answer.Status);
        return [.. answer.Json.GetProperty("results").EnumerateArray()];
    }

    private static string Id(JsonElement result) => result.GetProperty("id").GetString()!;
}
