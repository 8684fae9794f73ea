namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §4: how a session begins, how an ack looks, and how a session ends.</summary>
public sealed class SessionTests
{
    [Fact]
    public async Task The_first_frame_is_a_welcome_with_the_session_and_the_limits()
    {
        await using var node = await Node.StartAsync(("MaxRoomsPerSession", "10"), ("MaxMessageBytes", "2048"));
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
        await using var other = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));

        var welcome = await client.ReadAsync();
        Assert.Matches("""^\{"event":"welcome","data":\{"id":"[0-9A-Za-z_-]{8,}","name":"dmb",""", welcome);
        Assert.Matches(""","name":"dmb","version":"\d+\.\d+\.\d+","public":false,"limits":""", welcome);
        var limits =
            """{"message_bytes":2048,"rooms":10,"rooms_per_subscribe":100,"in":100,"ping_s":25,"silent_s":45}""";
        Assert.EndsWith($$$""","limits":{{{limits}}}}}""", welcome, StringComparison.Ordinal);
        Assert.NotEqual(welcome, await other.ReadAsync());
    }

    public static TheoryData<string> Acks =>
        [
            "0",
            "7",
            "-1",
            "1.50",
            "1e2",
            "123456789012345678901234567890",
            "1E400",
            "\"\"",
            "\"x\"",
            $"\"{new string('x', 64)}\"",
            $"\"{new string('é', 64)}\"",
            "\"\\u0041\\\"\\/\\n\"",
            $"\"{string.Concat(Enumerable.Repeat("\\u0041", 64))}\"",
        ];

    [Theory]
    [MemberData(nameof(Acks))]
    public async Task An_ack_is_returned_unchanged(string ack)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();

        await client.SendAsync($$"""{"ack": {{ack}} ,"event":"subscribe","data":"a:1"}""");
        Assert.Equal("""{"event":"joined","data":"a:1"}""", await client.ReadAsync());
        Assert.Equal($$$"""{"ack":{{{ack}}},"ok":true,"data":{"room":"a:1"}}""", await client.ReadAsync());

        await client.SendAsync($$"""{"event":"nope","ack":{{ack}}}""");
        Assert.StartsWith($$"""{"ack":{{ack}},"ok":false,""", await client.ReadAsync(), StringComparison.Ordinal);
    }

    public static TheoryData<string> NoAcks =>
        ["true", "{}", "[]", "[1]", $"\"{new string('x', 65)}\"", $"\"{new string('é', 65)}\""];

    [Theory]
    [MemberData(nameof(NoAcks))]
    public async Task An_invalid_ack_is_rejected_without_side_effects(string ack)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendAsync($$"""{"event":"call","data":1,"ack":{{ack}}}""");
        Expect.Failed("bad_frame", Assert.Single(await client.ReadAllAsync()));
    }

    [Fact]
    public async Task An_ack_of_null_requests_no_answer()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        await client.SendAsync("""{"event":"nope","ack":null}""");
        Assert.Empty(await client.ReadAllAsync());
    }

    [Theory]
    [InlineData("", 1000)]
    [InlineData("03e8", 1000)]
    [InlineData("03e8627965", 1000)]
    [InlineData("03e9", 1001)]
    [InlineData("0bb8", 3000)]
    [InlineData("1387", 4999)]
    public async Task A_close_from_the_client_is_answered_with_its_code(string payload, int code)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendFrameAsync(Frame.Close, Convert.FromHexString(payload));
        Assert.Equal(code, (await client.ReadCloseAsync()).Code);
        await client.ReadEndAsync();
        await node.UntilSessionsInAsync("calls", 0);
    }

    [Theory]
    [InlineData("", false)]
    [InlineData("", true)]
    [InlineData("81", true)]
    [InlineData("8185a1b2c3", true)]
    [InlineData("818500000000616263", false)]
    [InlineData("818500000000616263", true)]
    [InlineData("018100000000", false)]
    public async Task A_client_that_disconnects_at_any_place_has_left_its_rooms(string lastBytes, bool reset)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls", "a:1");
        await client.SendBytesAsync(Convert.FromHexString(lastBytes));
        if (reset)
        {
            client.Reset();
        }
        else
        {
            await client.DisposeAsync();
        }

        await node.UntilSessionsInAsync("calls", 0);
        await node.UntilSessionsInAsync("a:1", 0);
        await node.UntilSessionsInAsync("public", 0);
    }

    [Fact]
    public async Task A_stopping_node_sends_bye_with_reconnect_to_its_sessions()
    {
        var node = await Node.StartAsync();
        await using var first = await node.JoinAsync("calls");
        await using var second = await node.ConnectAsync();

        var stopping = node.DisposeAsync().AsTask();
        foreach (var client in new[] { first, second })
        {
            await Expect.ClosedAsync(1012, reconnect: true, client);
            await client.SendFrameAsync(Frame.Close, [0x03, 0xf4]);
        }

        await stopping.WaitAsync(Node.Patience, TestContext.Current.CancellationToken);
    }
}
