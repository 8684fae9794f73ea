namespace Dmb.Tests.SocketIo;

/// <summary>Who pings whom, and what becomes of the silent (docs/protocol.md §5).</summary>
public sealed class EngineIoHeartbeatTests : IAsyncLifetime
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(45);
    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(100);

    private Node _node = null!;

    public async ValueTask InitializeAsync() => _node = await Node.StartAsync();

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_client_of_protocol_4_is_pinged_over_polling()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        for (var i = 0; i < 3; i++)
        {
            _node.Time.Advance(Interval);
            Assert.Equal("2", await client.ReadAsync());
            await client.SendAsync("3");
        }
    }

    [Fact]
    public async Task A_client_of_protocol_4_is_pinged_on_a_socket()
    {
        await using var client = await ConnectAsync(4);
        for (var i = 0; i < 3; i++)
        {
            _node.Time.Advance(Interval);
            Assert.Equal("2", await client.ReadAsync());
            await client.SendAsync("3");
            await IsAliveAsync(client);
        }
    }

    [Fact]
    public async Task A_client_of_protocol_3_pings_and_is_never_pinged()
    {
        await using var polling = await PollingClient.ConnectAsync(_node, 3);
        await using var client = await ConnectAsync(3);
        for (var i = 0; i < 3; i++)
        {
            _node.Time.Advance(Interval);
            await polling.SendAsync("2");
            Assert.Equal("3", await polling.ReadAsync());
            await client.SendAsync("2");
            Assert.Equal("3", await client.ReadAsync());
        }
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_session_that_polls_no_more_ends_and_not_before_its_time(int version)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        _node.Time.Advance(Silence - Moment);
        await client.SendAsync("""421["dmb:ping"]""");
        while (await client.ReadAsync() is var packet && packet != "431[true,{}]")
        {
            Assert.Equal("2", packet);
        }

        _node.Time.Advance(Silence);
        var answer = await client.GetAsync();
        Assert.Equal((400, """{"code":1,"message":"Session ID unknown"}"""), (answer.Status, answer.Body));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_silent_socket_is_cut_so_that_its_client_comes_back(int version)
    {
        await using var client = await ConnectAsync(version);
        _node.Time.Advance(Silence);

        Assert.Equal(4101, (await client.ReadCloseAsync()).Code);
        var last = await ReadLastAsync(client);
        Assert.Equal("""42["bye",{"code":4101,"reconnect":true,"after_ms":0}]""", last);
    }

    [Fact]
    public async Task A_ping_of_a_client_of_protocol_4_closes()
    {
        await using var client = await ConnectAsync(4);
        await client.SendAsync("2");
        Assert.Equal(4002, (await client.ReadCloseAsync()).Code);
        Assert.Equal("""42["bye",{"code":4002,"reconnect":false,"after_ms":0}]""", await client.ReadAsync());
        Assert.Equal("41", await client.ReadAsync());
    }

    [Fact]
    public async Task A_client_of_protocol_4_that_never_connects_is_closed_though_it_answers_pings()
    {
        await using var client = await TestClient.ConnectAsync(new Uri(_node.Url, PollingClient.Path(4, "websocket")));
        Assert.StartsWith("0{", await client.ReadAsync(), StringComparison.Ordinal);
        _node.Time.Advance(Interval);
        Assert.Equal("2", await client.ReadAsync());
        await client.SendAsync("3");
        _node.Time.Advance(Silence - Interval);
        Assert.Equal(4101, (await client.ReadCloseAsync()).Code);
    }

    private async Task<TestClient> ConnectAsync(int version)
    {
        var client = await TestClient.ConnectAsync(new Uri(_node.Url, PollingClient.Path(version, "websocket")));
        Assert.StartsWith("0{", await client.ReadAsync(), StringComparison.Ordinal);
        if (version == 4)
        {
            await client.SendAsync("40");
        }

        Assert.StartsWith("40", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.StartsWith("42[\"welcome\",", await client.ReadAsync(), StringComparison.Ordinal);
        return client;
    }

    private static async Task IsAliveAsync(TestClient client)
    {
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    private static async Task<string> ReadLastAsync(TestClient client)
    {
        string last;
        while ((last = await client.ReadAsync()) == "2") { }
        return last;
    }
}
