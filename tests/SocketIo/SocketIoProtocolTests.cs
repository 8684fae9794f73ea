using Dmb.Tests.Sockets;

namespace Dmb.Tests.SocketIo;

/// <summary>Socket.IO's packets on a socket: CONNECT, namespaces, events, acks, closing (docs/protocol.md §5).</summary>
public sealed class SocketIoProtocolTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private const string Id = """\{"id":"[0-9a-f-]{36}"\}""";
    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData("40")]
    [InlineData("40/,")]
    [InlineData("40/?token=1,")]
    [InlineData("40{}")]
    [InlineData("""40{"a":1}""")]
    public async Task A_client_of_protocol_4_connects_and_gets_an_id_that_is_not_its_sid(string packet)
    {
        await using var client = await SocketIoSocket.OpenAsync(_node, 4);
        await client.SendAsync(packet);
        var connected = await client.ReadAsync();
        Assert.Matches("""^40\{"sid":"[0-9a-f]{32}"\}$""", connected);
        Assert.DoesNotContain(client.Sid, connected, StringComparison.Ordinal);
        var id = connected["40{\"sid\":\"".Length..^2];
        Assert.StartsWith($$"""42["welcome",{"id":"{{id}}",""", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_of_protocol_3_is_connected_unasked_and_its_id_is_its_sid()
    {
        await using var client = await SocketIoSocket.OpenAsync(_node, 3);
        Assert.Equal("40", await client.ReadAsync());
        Assert.StartsWith(
            $$"""42["welcome",{"id":"{{client.Sid}}",""",
            await client.ReadAsync(),
            StringComparison.Ordinal
        );

        // Clients 1.x that have a query in their URL connect again with it.
        await client.SendAsync("40/?token=1");
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Theory]
    [InlineData(3, """44/chat,"Invalid namespace" """)]
    [InlineData(4, """44/chat,{"message":"Invalid namespace"} """)]
    public async Task Another_namespace_is_invalid_and_the_session_goes_on(int version, string refusal)
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, version);
        await client.SendAsync("40/chat,");
        Assert.Equal(refusal.TrimEnd(), await client.ReadAsync());
        await client.SendAsync("41/chat,");
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Theory]
    [InlineData("""42["call",1]""")]
    [InlineData("41")]
    [InlineData("431[]")]
    [InlineData("""44{"message":"no"}""")]
    [InlineData("""42/chat,["call",1]""")]
    [InlineData("""40{"a":""")]
    [InlineData("40[1]")]
    public async Task What_comes_before_the_CONNECT_or_is_none_closes(string packet)
    {
        await using var client = await SocketIoSocket.OpenAsync(_node, 4);
        await client.SendAsync(packet);
        Assert.Equal(packet.StartsWith("40", StringComparison.Ordinal) ? 4000 : 4002, await client.ReadCloseAsync());
    }

    [Theory]
    [InlineData("4abc")]
    [InlineData("4")]
    [InlineData("abc")]
    [InlineData("40")]
    [InlineData("""44{"message":"no"}""")]
    [InlineData("42")]
    [InlineData("42{}")]
    [InlineData("42[]")]
    [InlineData("42[1]")]
    [InlineData("""42["call",""")]
    [InlineData("""42abc["call",1]""")]
    [InlineData("""42["connect"]""")]
    [InlineData("""42["disconnect","me"]""")]
    [InlineData("""42["\ud83d"]""")]
    [InlineData("""42/chat,["call",1]""")]
    [InlineData("45[]")]
    [InlineData("""4511-["call",{}]""")]
    [InlineData("""459999999999-["call",{}]""")]
    [InlineData("5")]
    [InlineData("0")]
    [InlineData("7")]
    public async Task What_is_no_packet_of_a_connected_client_closes_for_good(string packet)
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.SendAsync(packet);
        Assert.Equal(4002, await client.ReadCloseAsync());
        Assert.Equal("""42["bye",{"code":4002,"reconnect":false,"after_ms":0}]""", await client.ReadAsync());
        Assert.Equal("41", await client.ReadAsync());
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Acks_have_the_forms_that_clients_know(int version)
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, version);
        (string Event, string Answer)[] cases =
        [
            ("""["subscribe","a:1"]""", @"\[true\]"),
            ("""["join","a:2"]""", @"\[true\]"),
            ("""["join",["a:3","a:4"]]""", """\[true,\{"rooms":\["a:3","a:4"\]\}\]"""),
            ("""["subscribe",{"room":"a:5"}]""", """\[true,\{"room":"a:5"\}\]"""),
            ("""["leave","a:1"]""", @"\[true\]"),
            ("""["unsubscribe","a:2"]""", @"\[true\]"),
            ("""["unsubscribe",["a:3"]]""", """\[true,\{"rooms":\["a:3"\]\}\]"""),
            ("""["configure",{"traces":true}]""", """\[true,\{"traces":true\}\]"""),
            ("""["dmb:ping",1]""", @"\[true,\{\}\]"),
            ("""["call",{"_in":["a:9"]}]""", $@"\[true,{Id}\]"),
            ("""["call"]""", $@"\[true,{Id}\]"),
            ("""["call",{"_in":["a:9"]},"more",2]""", $@"\[true,{Id}\]"),
            ("""["shout",1]""", $@"\[true,{Id}\]"),
            ("""["subscribe","no room"]""", """\[false,\{"code":"bad_name","message":"[^"]+","retry":false\}\]"""),
            ("""["subscribe",1]""", """\[false,\{"code":"bad_frame","message":".+","retry":false\}\]"""),
            ("""["no_such_event",1]""", """\[false,\{"code":"unknown_event","message":"[^"]+","retry":false\}\]"""),
        ];
        for (var i = 0; i < cases.Length; i++)
        {
            await client.SendAsync($"42{i}{cases[i].Event}");
            string answer;
            while ((answer = await client.ReadAsync()).StartsWith("42", StringComparison.Ordinal)) { }

            Assert.Matches($"^43{i}{cases[i].Answer}$", answer);
        }
    }

    [Fact]
    public async Task An_ack_keeps_the_digits_of_its_id()
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        foreach (var id in (string[])["0", "007", "9007199254740993"])
        {
            await client.SendAsync($"42{id}[\"dmb:ping\"]");
            Assert.Equal($"43{id}[true,{{}}]", await client.ReadAsync());
        }
    }

    [Fact]
    public async Task Events_arrive_with_their_data_alone_and_an_answer_to_them_is_ignored()
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.SendAsync("""42["join","b:1"]""");
        Assert.Equal("""42["joined","b:1"]""", await client.ReadAsync());
        foreach (var data in (string[])["""{"_in":["b:1"],"text":"Zoë \ud83d"}""", """{ "_in" : "b:1" }"""])
        {
            await _node.NotifyAsync("call", data);
            Assert.Equal($"""42["call",{data}]""", await client.ReadAsync());
        }

        await client.SendAsync("43[]");
        await client.SendAsync("437[1]");
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Fact]
    public async Task An_event_without_data_is_published_with_null()
    {
        await using var other = await _node.JoinAsync("everyone");
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.SendAsync("""42["notify_users"]""");
        Assert.Equal("null", await other.ReadDataAsync("notify"));
    }

    [Fact]
    public async Task Binary_attachments_are_counted_and_dropped_and_their_event_is_refused()
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.SendAsync("""452-9["call",{"_placeholder":true,"num":0},{"_placeholder":true,"num":99}]""");
        await client.Socket.SendFrameAsync(Frame.Binary, [1, 2, 3]);
        await client.Socket.SendFrameAsync(Frame.Binary, []);
        Assert.Matches("""^439\[false,\{"code":"bad_frame",.+\}\]$""", await client.ReadAsync());

        await client.SendAsync("""451-["call",{"_placeholder":true,"num":0}]""");
        await client.Socket.SendFrameAsync(Frame.Binary, [1]);
        Assert.Matches("""^42\["failed",\{"code":"bad_frame",.+\}\]$""", await client.ReadAsync());

        await client.SendAsync("""450-8["call",1]""");
        Assert.Matches("""^438\[false,\{"code":"bad_frame",.+\}\]$""", await client.ReadAsync());

        await client.SendAsync("""461-7[{"_placeholder":true,"num":0}]""");
        await client.Socket.SendFrameAsync(Frame.Binary, [1]);
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Theory]
    [InlineData(3, "b4AQID")]
    [InlineData(4, "bAQID")]
    public async Task Attachments_that_are_posted_are_counted_too(int version, string attachment)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        await client.SendAsync("""451-9["call",{"_placeholder":true,"num":0}]""", attachment, """421["dmb:ping"]""");
        Assert.Matches("""^439\[false,\{"code":"bad_frame",.+\}\]$""", await client.ReadAsync());
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Fact]
    public async Task An_attachment_that_no_packet_announced_closes()
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.Socket.SendFrameAsync(Frame.Binary, [1]);
        Assert.Equal(4002, await client.ReadCloseAsync());
    }

    [Fact]
    public async Task Text_where_an_attachment_was_announced_closes()
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.SendAsync("""451-["call",{}]""");
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal(4002, await client.ReadCloseAsync());
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_message_over_the_limit_closes_with_1009(int version)
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, version);
        await client.SendAsync("""42["call",""" + '"' + new string('x', 262_144) + "\"]");
        Assert.Equal(1009, await client.ReadCloseAsync());
        Assert.Equal("""42["bye",{"code":1009,"reconnect":false,"after_ms":0}]""", await client.ReadAsync());
        Assert.Equal("41", await client.ReadAsync());
    }

    [Theory]
    [InlineData("websocket")]
    [InlineData("polling")]
    public async Task A_client_that_disconnects_is_out_of_its_rooms(string transport)
    {
        var room = "leaving:" + transport;
        if (transport == "websocket")
        {
            await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
            await client.SendAsync($"42[\"join\",\"{room}\"]");
            Assert.Equal($"42[\"joined\",\"{room}\"]", await client.ReadAsync());
            await client.SendAsync("41");
            Assert.Equal(1000, await client.ReadCloseAsync());
        }
        else
        {
            await using var client = await PollingClient.ConnectAsync(_node, 4);
            await client.SendAsync($"42[\"join\",\"{room}\"]");
            Assert.Equal($"42[\"joined\",\"{room}\"]", await client.ReadAsync());
            await client.SendAsync("41");
            Assert.Equal(400, (await client.GetAsync()).Status);
        }

        await _node.UntilSessionsInAsync(room, 0);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_client_that_is_kicked_is_told_never_to_come_back(int version)
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, version);
        Assert.Equal(204, (await RawHttp.AskAsync(_node, $"DELETE /sessions/{client.Id}")).Status);
        Assert.Equal(4001, await client.ReadCloseAsync());
        Assert.Equal("""42["bye",{"code":4001,"reconnect":false,"after_ms":0}]""", await client.ReadAsync());
        Assert.Equal("41", await client.ReadAsync());
    }

    [Fact]
    public async Task A_client_that_polls_and_is_kicked_is_told_so_too()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 3);
        using var pending = await client.BeginGetAsync();
        Assert.Equal(204, (await RawHttp.AskAsync(_node, $"DELETE /sessions/{client.Sid}")).Status);
        Assert.Equal(
            client.Encode("""42["bye",{"code":4001,"reconnect":false,"after_ms":0}]""", "41"),
            (await pending.ReadAsync()).Body
        );
        Assert.Equal(400, (await client.GetAsync()).Status);
    }

    [Fact]
    public async Task A_node_that_stops_cuts_its_clients_so_that_they_come_back()
    {
        await using var node = await Node.StartAsync();
        await using var client = await SocketIoSocket.ConnectAsync(node, 4);
        var polling = await PollingClient.ConnectAsync(node, 4);
        using var pending = await polling.BeginGetAsync();
        var stopping = node.DisposeAsync();

        Assert.Equal(1012, await client.ReadCloseAsync());
        List<string> packets = [.. await client.ReadAllAsync()];
        var answer = await pending.ReadAsync();
        while (true)
        {
            string[] polled = [.. polling.Decode(answer.Body)];
            packets.AddRange(polled);
            if (polled.Any(packet => packet.StartsWith("42[\"bye\"", StringComparison.Ordinal)))
            {
                break;
            }

            answer = await polling.GetAsync();
            Assert.Equal(200, answer.Status);
        }

        await client.DisposeAsync();
        await stopping;
        Assert.DoesNotContain("41", packets);
        Assert.Equal(
            2,
            packets.Count(packet => packet.StartsWith("42[\"bye\",{\"code\":1012,", StringComparison.Ordinal))
        );
    }
}
