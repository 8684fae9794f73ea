using Alba;

namespace Dmb.Tests.Endpoints;

/// <summary>/register: the event table, read and changed.</summary>
public sealed class RegisterTests
{
    [Fact]
    public async Task A_new_event_is_created_and_a_known_one_reported_as_registered()
    {
        await using var node = await AlbaNode.StartAsync();
        var created = await RegisterAsync(node, """{"event":"e-1","default_room":"calls"}""");
        Assert.Equal(201, created.Status);
        Assert.Equal("""{"ok":true,"event":"e-1","default_room":"calls","already_registered":false}""", created.Body);

        var known = await RegisterAsync(node, """{"event":"e-1","default_room":"calls"}""");
        Assert.Equal(200, known.Status);
        Assert.Equal("""{"ok":true,"event":"e-1","default_room":"calls","already_registered":true}""", known.Body);
    }

    [Fact]
    public async Task Registering_again_replaces_the_default_room()
    {
        await using var node = await AlbaNode.StartAsync();
        using var calls = await node.JoinAsync("calls");
        using var support = await node.JoinAsync("support");
        await RegisterAsync(node, """{"event":"news","default_room":"calls"}""");
        await GetsAsync(calls, "1", await node.NotifyAsync("news", "1"));

        await RegisterAsync(node, """{"event":"news","default_room":"support"}""");
        await GetsAsync(support, "2", await node.NotifyAsync("news", "2"));

        await RegisterAsync(node, """{"event":"news"}""");
        await node.NotifyAsync("news", "3");
        await RegisterAsync(node, """{"event":"news","default_room":"calls"}""");
        await GetsAsync(calls, "4", await node.NotifyAsync("news", "4"));
        await RegisterAsync(node, """{"event":"news","default_room":"support"}""");
        await GetsAsync(support, "5", await node.NotifyAsync("news", "5"));
    }

    [Theory]
    [InlineData("")]
    [InlineData(",\"default_room\":null")]
    [InlineData(",\"default_room\":\"nowhere\"")]
    [InlineData(",\"default_room\":\"endpoint:1\"")]
    [InlineData(",\"default_room\":\"Calls\"")]
    [InlineData(",\"default_room\":\"\"")]
    [InlineData(",\"default_room\":\"\\ud800\"")]
    [InlineData(",\"\\ud800\":\"calls\"")]
    [InlineData(",\"default_room\":42")]
    [InlineData(",\"default_room\":[\"calls\"]")]
    [InlineData(",\"default_room\":\"calls\",\"default_room\":{\"a\":1}")]
    public async Task A_default_room_that_is_not_a_bus_is_ignored(string member)
    {
        await using var node = await AlbaNode.StartAsync();
        var answer = await RegisterAsync(node, $$"""{"event":"e"{{member}}}""");
        Assert.Equal(201, answer.Status);
        Assert.Equal("""{"ok":true,"event":"e","default_room":null,"already_registered":false}""", answer.Body);
        await node.Scenario(scenario =>
        {
            scenario.Get.Url("/register");
            scenario.ContentShouldContain("""{"event":"e","default_room":null}""");
        });
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("42")]
    [InlineData("null")]
    [InlineData("\"call\"")]
    [InlineData("{\"event\":42}")]
    [InlineData("{\"event\":null}")]
    [InlineData("{\"event\":\"\\ud800\"}")]
    [InlineData("{\"event\":\"e\"")]
    [InlineData("{\"event\":\"e\"} x")]
    public async Task A_registration_that_is_not_an_object_with_an_event_is_refused(string body)
    {
        await using var node = await AlbaNode.StartAsync();
        (await RegisterAsync(node, body)).IsProblem(400, "bad_json");
        (await RegisterAsync(node, $$"""{"event":"{{new string('e', 262_144)}}"}""")).IsProblem(413, "too_big");
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("a b")]
    [InlineData("-a")]
    [InlineData("a/b")]
    [InlineData("caf\u00e9")]
    [InlineData("a\\u0000")]
    [InlineData("a\\n")]
    public async Task A_name_that_is_not_an_event_s_is_refused(string name)
    {
        await using var node = await AlbaNode.StartAsync();
        (await RegisterAsync(node, $$"""{"event":"{{name}}"}""")).IsProblem(400, "bad_name");
    }

    [Fact]
    public async Task A_name_may_have_128_characters_and_no_more()
    {
        await using var node = await AlbaNode.StartAsync();
        Assert.Equal(201, (await RegisterAsync(node, $$"""{"event":"{{new string('a', 128)}}"}""")).Status);
        (await RegisterAsync(node, $$"""{"event":"{{new string('a', 129)}}"}""")).IsProblem(400, "bad_name");
    }

    [Fact]
    public async Task The_table_is_sorted_by_event()
    {
        await using var node = await AlbaNode.StartAsync();
        await RegisterAsync(node, """{"event":"Zebra"}""");
        await RegisterAsync(node, """{"event":"abc","default_room":"traces"}""");

        var answer = await node.AskAsync("GET /register");
        Assert.Equal(200, answer.Status);
        var events = answer.Json.EnumerateArray().Select(entry => entry.GetProperty("event").GetString()).ToArray();
        Assert.Equal(26, events.Length);
        Assert.Equal(events.Order(StringComparer.Ordinal), events);
        Assert.Contains("""{"event":"statistics:add","default_room":"calls"}""", answer.Body, StringComparison.Ordinal);
        Assert.Contains("""{"event":"abc","default_room":"traces"}""", answer.Body, StringComparison.Ordinal);
        Assert.Contains("""{"event":"Zebra","default_room":null}""", answer.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_deleted_event_is_unknown()
    {
        await using var node = await AlbaNode.StartAsync();
        await RegisterAsync(node, """{"event":"a:b"}""");
        await node.NotifyAsync("a:b", "{}");

        var deleted = await node.AskAsync("DELETE /register/a%3Ab");
        Assert.Equal((204, ""), (deleted.Status, deleted.Body));
        (await node.AskAsync("DELETE /register/a:b")).IsProblem(404, "unknown_event");
        Assert.Contains("ignore", (await node.AskAsync("POST /_notify/a:b")).Body, StringComparison.Ordinal);
        Assert.Equal(201, (await RegisterAsync(node, """{"event":"a:b"}""")).Status);
    }

    [Fact]
    public async Task A_deleted_event_of_the_default_table_is_reset_to_its_default()
    {
        await using var node = await AlbaNode.StartAsync();
        using var calls = await node.JoinAsync("calls");
        await RegisterAsync(node, """{"event":"call","default_room":"support"}""");
        await node.NotifyAsync("call", "1");

        Assert.Equal(204, (await node.AskAsync("DELETE /register/call")).Status);
        Assert.Equal($"event: call\ndata: 2\nid: {await node.NotifyAsync("call", "2")}", await calls.ReadAsync());
        Assert.Equal(204, (await node.AskAsync("DELETE /register/call")).Status);
    }

    [Fact]
    public async Task The_table_is_limited_to_its_maximum_number_of_events()
    {
        await using var node = await AlbaNode.StartAsync(("MaxEvents", "25"));
        Assert.Equal(201, (await RegisterAsync(node, """{"event":"a"}""")).Status);
        (await RegisterAsync(node, """{"event":"b"}""")).IsProblem(409, "too_many_events");
        Assert.Equal(200, (await RegisterAsync(node, """{"event":"a","default_room":"calls"}""")).Status);

        await node.AskAsync("DELETE /register/a");
        Assert.Equal(201, (await RegisterAsync(node, """{"event":"b"}""")).Status);
    }

    [Fact]
    public async Task A_registration_counts_as_a_publish()
    {
        await using var node = await AlbaNode.StartAsync(("PublishRate", "2"));
        var statuses = new List<int>();
        for (var i = 0; i < 3; i++)
        {
            statuses.Add((await RegisterAsync(node, $$"""{"event":"event-{{i}}"}""")).Status);
        }

        Assert.Equal([201, 201, 429], statuses);
    }

    [Theory]
    [InlineData("Content-Type: application/x-www-form-urlencoded")]
    [InlineData("X-Content-Type: none")]
    public async Task Any_content_type_is_accepted(string header)
    {
        await using var node = await AlbaNode.StartAsync();
        Assert.Equal(201, (await node.AskAsync("POST //register", "\uFEFF{\"event\":\"e\"}", header)).Status);
    }

    private static async Task GetsAsync(EventReader stream, string data, string id) =>
        Assert.Equal($"event: news\ndata: {data}\nid: {id}", await stream.ReadAsync());

    private static Task<RawAnswer> RegisterAsync(AlbaNode node, string body)
    {
        return node.AskAsync("POST /register", body, "Content-Type: application/json");
    }
}
