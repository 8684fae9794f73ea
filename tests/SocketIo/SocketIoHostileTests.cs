namespace Dmb.Tests.SocketIo;

/// <summary>What hostile clients of Socket.IO send harms no one else (docs/protocol.md §5).</summary>
public sealed class SocketIoHostileTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private static readonly string Deep = new string('[', 20_000) + new string(']', 20_000);
    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Twenty_thousand_levels_on_a_socket_are_too_big(int version)
    {
        await using var client = await SocketIoSocket.ConnectAsync(_node, version);
        await client.SendAsync("421[\"call\"," + Deep + "]");
        Assert.Equal(1009, await client.ReadCloseAsync());
    }

    [Fact]
    public async Task Twenty_thousand_levels_are_too_big_behind_the_data_and_in_a_post()
    {
        await using (var client = await SocketIoSocket.ConnectAsync(_node, 4))
        {
            await client.SendAsync("421[\"call\",1," + Deep + "]");
            Assert.Equal(1009, await client.ReadCloseAsync());
        }

        await using var polling = await PollingClient.ConnectAsync(_node, 4);
        await polling.PostAsync("421[\"call\"," + Deep + "]");
        Assert.Equal("""42["bye",{"code":1009,"reconnect":false,"after_ms":0}]""", await polling.ReadAsync());
        Assert.Equal("41", await polling.ReadAsync());
    }

    [Fact]
    public async Task Twenty_thousand_levels_in_a_CONNECT_refuse_it()
    {
        await using var client = await SocketIoSocket.OpenAsync(_node, 4);
        await client.SendAsync("40{\"a\":" + Deep + "}");
        Assert.Equal(4000, await client.ReadCloseAsync());
        Assert.StartsWith("44{\"message\":", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("2:4\U0001F4DE")]
    [InlineData("1:\U0001F4DE")]
    [InlineData("2147483647:4a")]
    [InlineData("99999999999999999999:4a")]
    [InlineData("-1:4a")]
    [InlineData("0:")]
    [InlineData("1e1:4a")]
    public async Task A_length_that_lies_or_cuts_a_character_in_two_closes(string body)
    {
        await using var client = await PollingClient.ConnectAsync(_node, 3);
        Assert.Equal(400, (await client.PostAsync(body)).Status);
        Assert.Equal(400, (await client.GetAsync()).Status);
    }

    [Fact]
    public async Task A_binary_payload_that_lies_about_its_length_closes()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 3);
        var posted = await client.PostAsync("\0\t\t\t4a", "Content-Type: application/octet-stream");
        Assert.Equal(400, posted.Status);
        Assert.Equal(400, (await client.GetAsync()).Status);
    }

    [Fact]
    public async Task Packets_before_the_CONNECT_close_in_one_post_too()
    {
        await using var client = await PollingClient.OpenAsync(_node, 4);
        await client.PostAsync(client.Encode("""42["call",1]""", "40", """42["call",1]"""));
        Assert.Equal("""42["bye",{"code":4002,"reconnect":false,"after_ms":0}]""", await client.ReadAsync());
        Assert.Equal("41", await client.ReadAsync());
        Assert.Equal(400, (await client.GetAsync()).Status);
    }

    [Fact]
    public async Task A_body_of_very_many_packets_is_carried_out()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await client.SendAsync([.. Enumerable.Repeat("3", 50_000), """421["dmb:ping"]"""]);
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Fact]
    public async Task One_address_has_only_so_many_sessions_and_silent_ones_are_forgotten()
    {
        await using var node = await Node.StartAsync(("MaxSessionsPerAddress", "20"));
        for (var i = 0; i < 20; i++)
        {
            _ = await PollingClient.OpenAsync(node, 3 + (i % 2));
        }

        for (var i = 0; i < 20; i++)
        {
            var refused = await RawHttp.AskAsync(node, "GET " + PollingClient.Path(4, "polling"));
            refused.IsProblem(503, "rate_limited");
        }

        node.Time.Advance(TimeSpan.FromSeconds(45));
        node.Time.Advance(TimeSpan.FromSeconds(10));
        using var patience = new CancellationTokenSource(Node.Patience);
        while (
            (await RawHttp.AskAsync(node, "GET " + PollingClient.Path(4, "polling"))) is var answer
            && answer.Status != 200
        )
        {
            Assert.False(patience.IsCancellationRequested, $"{answer.Status} {answer.Body}");
        }

        node.Time.Advance(TimeSpan.FromSeconds(60));
    }

    [Theory]
    [InlineData("connect")]
    [InlineData("connect_error")]
    [InlineData("disconnect")]
    [InlineData("disconnecting")]
    [InlineData("newListener")]
    [InlineData("removeListener")]
    public async Task A_name_that_clients_use_themselves_can_not_be_registered(string name)
    {
        (await RawHttp.AskAsync(_node, "POST /register", $$"""{"event":"{{name}}"}""")).IsProblem(400, "bad_name");
        await using var client = await SocketIoSocket.ConnectAsync(_node, 4);
        await client.SendAsync($$"""421["register",{"event":"{{name}}"}]""");
        Assert.StartsWith("""431[false,{"code":"bad_name",""", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_event_of_such_a_name_reaches_other_sessions_and_is_counted_for_those_of_Socket_IO()
    {
        await using var node = await Node.StartAsync(("Events", "call=calls,disconnect=calls"));
        await using var other = await node.JoinAsync("calls");
        await using var client = await SocketIoSocket.ConnectAsync(node, 4);
        await client.SendAsync("""42["join","calls"]""");
        Assert.Equal("""42["joined","calls"]""", await client.ReadAsync());

        await node.NotifyAsync("disconnect", "1");
        await node.NotifyAsync("call", "2");

        Assert.Equal("1", await other.ReadDataAsync("disconnect"));
        Assert.Equal("""42["call",2]""", await client.ReadAsync());
        var metrics = await node.Http.GetStringAsync(new Uri(node.Url, "/metrics"));
        Assert.Matches("""dmb_messages_dropped_total\{reason="reserved_event"\} 1\n""", metrics);
    }
}
