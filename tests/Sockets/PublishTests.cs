using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §2, as it is seen from sockets.</summary>
public sealed class PublishTests
{
    public static TheoryData<string> AnyData =>
        [
            "{}",
            "[]",
            "null",
            "true",
            "42",
            "\"text\"",
            "\"\"",
            """{"a":1,"a":2,"b":{"a":3,"a":3}}""",
            "123456789012345678901234567890.000100e+5",
            "-0",
            "1E400",
            "-0.0e-0",
            "{ \"a\" :\t[ 1 ,\n2 ]\r\n}",
            """{"a":"\u0041\/\n\"\\","\u0062":"\ud83d\ude00","c":"\u0000"}""",
            """{"\ud800":"\udfff"}""",
            """{"a":"é€😀","b":"<script>&'","c":" """ + "\u2028\u007f\u0080" + "\"}",
            """{"event":"call","data":1,"ack":2,"id":"x"}""",
            """{"_in":["\ud800:1","x",5,{}],"endpoint":"\ud800"}""",
        ];

    [Theory]
    [MemberData(nameof(AnyData))]
    public async Task Data_arrives_byte_for_byte_as_it_was_sent(string data)
    {
        await using var node = await Node.StartAsync();
        await using var watching = await node.JoinAsync("calls");
        await using var sending = await node.ConnectAsync();

        await sending.SendAsync($$"""{"event":"call","data":{{data}}}""");
        Assert.Equal(data, await watching.ReadDataAsync("call"));

        await sending.SendAsync($$"""{ "ack" : null , "data" : {{data}} , "event" : "call" , "more" : [{}] }""");
        Assert.Equal(data, await watching.ReadDataAsync("call"));

        await node.NotifyAsync("call", data);
        Assert.Equal(data, await watching.ReadDataAsync("call"));
    }

    [Theory]
    [InlineData("""{"event":"call"}""", "null")]
    [InlineData("""{"event":"call","data":1,"data":2}""", "2")]
    [InlineData("""{"event":"nope","data":1,"event":"call"}""", "1")]
    [InlineData("""{"\u0065vent":"c\u0061ll","d\u0061ta":1}""", "1")]
    [InlineData("""{"event":"call","data":1,"EVENT":"x","Data":2,"":3}""", "1")]
    [InlineData(" \t\r\n{\"event\":\"call\",\"data\":1}\n ", "1")]
    public async Task A_frame_is_read_as_JSON_and_the_last_of_a_member_counts(string frame, string data)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendAsync(frame);
        Assert.Equal(data, await client.ReadDataAsync("call"));
        Assert.Empty(await client.ReadAllAsync());
    }

    [Fact]
    public async Task A_socket_publishes_to_the_default_bus_and_to_the_notification_rooms_of_in_but_not_to_an_endpoint()
    {
        await using var node = await Node.StartAsync();
        await using var bus = await node.JoinAsync("calls");
        await using var number = await node.JoinAsync("number:15005551234");
        await using var domain = await node.JoinAsync("domain:a.example");
        await using var others = await node.JoinAsync("endpoint:1234", "support");
        await using var sending = await node.ConnectAsync();

        var one = """{"endpoint":"1234","_in":"number:15005551234"}""";
        var many = """{"endpoint":"1234","_in":["support","domain:a.example",5,"number:15005551234","a b:c"]}""";
        Expect.Accepted(await sending.AckAsync("call", one));
        Expect.Accepted(await sending.AckAsync("call", many));

        Assert.Equal([one, many], [await bus.ReadDataAsync("call"), await bus.ReadDataAsync("call")]);
        Assert.Equal([one, many], [await number.ReadDataAsync("call"), await number.ReadDataAsync("call")]);
        Assert.Equal(many, await domain.ReadDataAsync("call"));
        Assert.Empty(await others.ReadAllAsync());
        Assert.Empty(await sending.ReadAllAsync());
    }

    [Fact]
    public async Task A_session_in_several_of_the_rooms_gets_one_copy_also_of_its_own_messages()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls", "a:1", "b:2", "endpoint:7");
        var data = """{"_in":["a:1","b:2","a:1"],"endpoint":7}""";
        var answer = await client.AckAsync("call", data);
        await node.NotifyAsync("call", data);

        Assert.Equal(data, await client.ReadDataAsync("call"));
        Assert.Equal(data, await client.ReadDataAsync("call"));
        Expect.Published(answer);
        Assert.Empty(await client.ReadAllAsync());
    }

    [Fact]
    public async Task The_ack_has_the_id_of_the_delivered_message()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        var answer = await client.AckAsync("call", "1");
        var id = answer[^39..^3];
        Assert.Equal($$"""{"event":"call","data":1,"id":"{{id}}"}""", await client.ReadAsync());
    }

    [Fact]
    public async Task Every_session_is_in_public_by_itself()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        await client.AckAsync("register", """{"event":"news","default_room":"public"}""");
        await node.NotifyAsync("news", "1");
        Assert.Equal("1", await client.ReadDataAsync("news"));
        Assert.Equal(1, await node.SessionsInAsync("public"));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(50)]
    public async Task A_thousand_messages_of_one_publisher_arrive_in_order_in_rooms_of_any_size(int sessions)
    {
        await using var node = await Node.StartAsync();
        await using var sending = await node.ConnectAsync();
        var watching = new List<TestClient> { await node.JoinAsync("calls", "a:1") };
        while (watching.Count < sessions)
        {
            watching.Add(await node.JoinAsync("calls"));
        }

        // Every other message goes to a small room, too.
        var all = Enumerable
            .Range(0, 1000)
            .Select(i => i % 2 == 0 ? $"{i}" : $$"""{"n":{{i}},"_in":"a:1"}""")
            .ToArray();
        var frames = all.Select(data => Encoding.UTF8.GetBytes($$"""{"event":"call","data":{{data}}}"""));
        await sending.SendBytesAsync([.. frames.SelectMany(frame => TestClient.Encode(Frame.Text, frame))]);

        foreach (var client in watching)
        {
            foreach (var data in all)
            {
                Assert.Equal(data, await client.ReadDataAsync("call"));
            }

            await client.DisposeAsync();
        }
    }

    [Fact]
    public async Task An_unregistered_event_is_ignored_or_unknown_event_if_an_ack_is_requested()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("a:1");
        await client.SendAsync("""{"event":"nope","data":{"_in":"a:1"}}""");
        await client.SendAsync("""{"event":"nope","data":{"_in":"a:1"},"ack":"x"}""");
        Expect.Refused("unknown_event", await client.ReadAsync());
        Assert.Empty(await client.ReadAllAsync());
    }

    [Fact]
    public async Task A_message_may_name_up_to_the_limit_of_rooms()
    {
        await using var node = await Node.StartAsync(("MaxIn", "3"));
        await using var client = await node.JoinAsync("a:3");
        Expect.Accepted(await client.AckAsync("call", """{"_in":["a:1","a:2","a:3"]}"""));
        Expect.Refused("too_many_rooms", await client.AckAsync("call", """{"_in":["a:1","a:2","a:3","a:4"]}"""));
        await client.SendAsync("""{"event":"call","data":{"_in":["a:1","a:2","a:3","a:4"]}}""");

        Assert.Equal("""{"_in":["a:1","a:2","a:3"]}""", await client.ReadDataAsync("call"));
        Expect.Failed("too_many_rooms", Assert.Single(await client.ReadAllAsync()));
    }
}
