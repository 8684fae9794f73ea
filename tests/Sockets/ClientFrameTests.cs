using System.Text.RegularExpressions;

namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §4: what a client may send, and what it is told.</summary>
public sealed class ClientFrameTests
{
    /// <summary>An event and its data; the frames that it is answered with; the data of the ack.</summary>
    public static TheoryData<string, string, string[], string> Commands =>
        new()
        {
            { "subscribe", "\"support\"", [Joined("support")], """{"room":"support"}""" },
            { "join", "\"support\"", [Joined("support")], """{"room":"support"}""" },
            { "join", "\"\\u0061:\\u0062\"", [Joined("a:b")], """{"room":"a:b"}""" },
            { "subscribe", """["a:1","b:2"]""", [Joined("a:1"), Joined("b:2")], """{"rooms":["a:1","b:2"]}""" },
            { "subscribe", """["a:1"]""", [Joined("a:1")], """{"rooms":["a:1"]}""" },
            { "subscribe", """{"room":"a:1"}""", [Joined("a:1")], """{"room":"a:1"}""" },
            { "subscribe", """{"since":"k3f9:431","room":"a:1"}""", [Joined("a:1")], """{"room":"a:1"}""" },
            { "unsubscribe", "\"a:1\"", [Left("a:1")], """{"room":"a:1"}""" },
            { "leave", "\"a:1\"", [Left("a:1")], """{"room":"a:1"}""" },
            { "leave", """["a:1","b:2"]""", [Left("a:1"), Left("b:2")], """{"rooms":["a:1","b:2"]}""" },
            { "configure", "{ \"x\":[1] }", ["""{"event":"configured","data":{ "x":[1] }}"""], "{ \"x\":[1] }" },
            { "register", """{"event":"mine","default_room":"calls"}""", [], Registered("mine", "\"calls\"", "false") },
            { "register", """{"event":"mine"}""", [], Registered("mine", "null", "false") },
            { "register", """{"event":"mine","default_room":"endpoint:1"}""", [], Registered("mine", "null", "false") },
            { "register", """{"event":"mine","default_room":5}""", [], Registered("mine", "null", "false") },
            {
                "register",
                """{"default_room":"traces","event":"call"}""",
                [],
                Registered("call", "\"traces\"", "true")
            },
        };

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task A_command_is_answered_and_then_acknowledged_if_requested(
        string @event,
        string data,
        string[] answers,
        string ackData
    )
    {
        await using var node = await Node.StartAsync();
        await using var asking = await node.ConnectAsync();
        await asking.SendAsync($$"""{"event":"{{@event}}","data":{{data}},"ack":7}""");
        foreach (var answer in answers)
        {
            Assert.Equal(answer, await asking.ReadAsync());
        }

        Assert.Equal($$"""{"ack":7,"ok":true,"data":{{ackData}}}""", await asking.ReadAsync());

        await using var silent = await node.ConnectAsync();
        await silent.SendAsync($$"""{"event":"{{@event}}","data":{{data}}}""");
        Assert.Equal(answers, await silent.ReadAllAsync());
    }

    [Theory]
    [InlineData("subscribe", "42")]
    [InlineData("subscribe", "true")]
    [InlineData("join", "null")]
    [InlineData("join", "{}")]
    [InlineData("subscribe", """{"rooms":["a:1"]}""")]
    [InlineData("subscribe", """{"room":["a:1"]}""")]
    [InlineData("subscribe", """["a:1",5]""")]
    [InlineData("unsubscribe", "42")]
    [InlineData("leave", """["a:1",null]""")]
    [InlineData("configure", "42")]
    [InlineData("configure", """["calls"]""")]
    [InlineData("register", "42")]
    [InlineData("register", "{}")]
    [InlineData("register", """{"event":5}""")]
    public async Task Data_of_another_shape_is_ignored_or_a_bad_frame_if_an_ack_was_wanted(string @event, string data)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();

        await client.SendAsync($$"""{"event":"{{@event}}","data":{{data}}}""");
        Assert.Empty(await client.ReadAllAsync());

        Expect.Refused("bad_frame", await client.AckAsync(@event, data));
        Assert.Equal(0, await node.SessionsInAsync("a:1"));
    }

    [Fact]
    public async Task A_subscribe_without_data_is_ignored()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        await client.SendAsync("""{"event":"subscribe"}""");
        Assert.Empty(await client.ReadAllAsync());
    }

    [Theory]
    [InlineData("subscribe", "\"\"")]
    [InlineData("subscribe", "\"a b\"")]
    [InlineData("subscribe", "\"a\\u0000\"")]
    [InlineData("subscribe", "\"a\\n\"")]
    [InlineData("subscribe", """{"room":"a b"}""")]
    [InlineData("subscribe", """["a:1","a b"]""")]
    [InlineData("subscribe", "\"\\ud800\"")]
    [InlineData("subscribe", "\"end*point:1\"")]
    [InlineData("register", """{"event":"a b"}""")]
    [InlineData("register", """{"event":""}""")]
    public async Task A_bad_name_is_refused_whole(string @event, string data)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();

        Expect.Refused("bad_name", await client.AckAsync(@event, data));
        Assert.Equal(0, await node.SessionsInAsync("a:1"));

        await client.SendAsync($$"""{"event":"{{@event}}","data":{{data}}}""");
        Expect.Failed("bad_name", Assert.Single(await client.ReadAllAsync()));
    }

    [Fact]
    public async Task A_room_has_a_name_of_up_to_200_bytes()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        var longest = new string('é', 100);
        Expect.Accepted(await client.AckAsync("subscribe", $"\"{longest}\""));
        Expect.Refused("bad_name", await client.AckAsync("subscribe", $"\"{longest}x\""));
    }

    [Fact]
    public async Task A_message_published_after_the_ack_of_a_subscribe_arrives()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        for (var i = 0; i < 100; i++)
        {
            Expect.Accepted(await client.AckAsync("subscribe", $"\"number:{i}\""));
            Assert.Equal(Joined($"number:{i}"), await client.ReadAsync());

            var data = $$"""{"_in":"number:{{i}}"}""";
            await node.NotifyAsync("call", data);
            Assert.Equal(data, await client.ReadDataAsync("call"));
        }
    }

    [Fact]
    public async Task A_message_published_after_the_ack_of_an_unsubscribe_does_not_arrive()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls", "endpoint:1");
        await client.AckAsync("unsubscribe", "\"calls\"");
        Assert.Equal(Left("calls"), await client.ReadAsync());

        await node.NotifyAsync("call", "1");
        await node.NotifyAsync("call", """{"endpoint":1}""");
        Assert.Equal("""{"endpoint":1}""", await client.ReadDataAsync("call"));
    }

    [Fact]
    public async Task Joining_twice_and_leaving_twice_are_answered_as_the_first_time()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        Assert.Equal("""{"ack":1,"ok":true,"data":{"room":"calls"}}""", await client.AckAsync("join", "\"calls\""));
        Assert.Equal(Joined("calls"), await client.ReadAsync());
        await node.NotifyAsync("call", "1");
        Assert.Equal("1", await client.ReadDataAsync("call"));
        Assert.Empty(await client.ReadAllAsync());

        Expect.Accepted(await client.AckAsync("leave", "[\"calls\",\"traces\"]"));
        Assert.Equal([Left("calls"), Left("traces")], await client.ReadAllAsync());
        Assert.Equal(0, await node.SessionsInAsync("calls"));
    }

    [Fact]
    public async Task Configure_joins_and_leaves_private_and_host_buses_only()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("traces", "internal");
        await client.AckAsync(
            "configure",
            """{"calls":true,"traces":false,"everyone":true,"public":false,"endpoint:1":true,"x":true}"""
        );

        string[] rooms = ["calls", "internal", "public", "traces", "everyone", "endpoint:1", "x"];
        var sessions = new List<int>();
        foreach (var room in rooms)
        {
            sessions.Add(await node.SessionsInAsync(room));
        }

        Assert.Equal([1, 1, 1, 0, 0, 0, 0], sessions);
    }

    [Fact]
    public async Task An_aliveness_check_is_answered_with_its_ack_alone()
    {
        await using var node = await Node.StartAsync();
        await using var all = await node.JoinAsync("dial_calls", "locations", "traces");
        Assert.Equal("""{"ack":1,"ok":true,"data":{}}""", await all.AckAsync("dmb:ping", "null"));
        Assert.Empty(await all.ReadAllAsync());
    }

    [Fact]
    public async Task Ping_and_pong_have_names_that_every_client_can_send()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("dial_calls", "internal");
        await client.SendAsync("""{"event":"dmb:ping","data":1}""");
        Assert.Equal("1", await client.ReadDataAsync("ping"));
        Expect.Published(await client.AckAsync("dmb:pong", "2"));
        Assert.Equal("2", await client.ReadDataAsync("pong"));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{\"a\":[1, 2]}")]
    [InlineData("\"x\"")]
    public async Task Ping_is_delivered_to_every_host_bus_in_one_copy_per_session(string data)
    {
        await using var node = await Node.StartAsync();
        await using var all = await node.JoinAsync("dial_calls", "locations", "traces");
        await using var one = await node.JoinAsync("traces");
        await using var other = await node.JoinAsync("calls", "internal", "everyone");

        var answer = await other.AckAsync("ping", data);
        Assert.Equal(data, await all.ReadDataAsync("ping"));
        Assert.Equal(data, await one.ReadDataAsync("ping"));
        Expect.Published(answer);
        Assert.Empty(await all.ReadAllAsync());
        Assert.Empty(await other.ReadAllAsync());
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{\"a\":[1, 2]}")]
    [InlineData("\"x\"")]
    public async Task Shout_is_delivered_to_internal_with_the_id_of_its_session(string data)
    {
        await using var node = await Node.StartAsync();
        await using var shouting = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
        var id = Regex.Match(await shouting.ReadAsync(), "\"id\":\"([^\"]+)\"").Groups[1].Value;
        await using var client = await node.JoinAsync("internal");

        var answer = await shouting.AckAsync("shout", data);
        Assert.Equal($$"""{"id":"{{id}}","data":{{data}}}""", await client.ReadDataAsync("shouted"));
        Expect.Published(answer);
        Assert.Empty(await shouting.ReadAllAsync());
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{\"a\":[1, 2]}")]
    [InlineData("\"x\"")]
    public async Task Notify_users_is_delivered_to_internal_and_everyone_in_one_copy_per_session(string data)
    {
        await using var node = await Node.StartAsync();
        await using var both = await node.JoinAsync("internal", "everyone");
        await using var one = await node.JoinAsync("everyone");
        await using var other = await node.JoinAsync("calls");

        var answer = await other.AckAsync("notify_users", data);
        Assert.Equal(data, await both.ReadDataAsync("notify"));
        Assert.Equal(data, await one.ReadDataAsync("notify"));
        Expect.Published(answer);
        Assert.Empty(await both.ReadAllAsync());
        Assert.Empty(await other.ReadAllAsync());
    }

    [Fact]
    public async Task An_event_registered_by_one_socket_can_be_published_by_another()
    {
        await using var node = await Node.StartAsync();
        await using var first = await node.JoinAsync("calls");
        await using var second = await node.ConnectAsync();
        Expect.Refused("unknown_event", await second.AckAsync("mine", "1"));

        await first.AckAsync("register", """{"event":"mine","default_room":"calls"}""");
        Expect.Accepted(await second.AckAsync("mine", "2"));
        Assert.Equal("2", await first.ReadDataAsync("mine"));
        Assert.EndsWith(
            Registered("mine", "null", "true") + "}",
            await second.AckAsync("register", """{"event":"mine"}"""),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task More_events_than_the_limit_are_refused()
    {
        await using var node = await Node.StartAsync(("MaxEvents", "25"));
        await using var client = await node.ConnectAsync();
        Expect.Accepted(await client.AckAsync("register", """{"event":"e25"}"""));
        Expect.Refused("too_many_events", await client.AckAsync("register", """{"event":"e26"}"""));
        Expect.Accepted(await client.AckAsync("register", """{"event":"e25"}"""));
    }

    private static string Joined(string room) => $$"""{"event":"joined","data":"{{room}}"}""";

    private static string Left(string room) => $$"""{"event":"left","data":"{{room}}"}""";

    private static string Registered(string @event, string room, string already) =>
        $$"""{"event":"{{@event}}","default_room":{{room}},"already_registered":{{already}}}""";
}
