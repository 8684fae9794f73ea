namespace Dmb.Tests.SocketIo;

/// <summary>From polling to a socket (docs/protocol.md §5).</summary>
public sealed class EngineIoUpgradeTests : IAsyncLifetime
{
    private Node _node = null!;

    public async ValueTask InitializeAsync() => _node = await Node.StartAsync();

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_client_upgrades_and_every_GET_meanwhile_gets_an_empty_packet_at_once(int version)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        using var pending = await client.BeginGetAsync();
        await using var socket = await ProbeAsync(client, version);
        var empty = client.Encode("6");
        Assert.Equal(empty, (await pending.ReadAsync()).Body);
        Assert.Equal(empty, (await client.GetAsync()).Body);
        Assert.Equal(empty, (await client.GetAsync()).Body);

        await socket.SendAsync("5");
        await socket.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await socket.ReadAsync());
        Assert.Equal("""{"code":3,"message":"Bad request"}""", (await client.GetAsync()).Body);
        Assert.Equal(400, (await client.PostAsync(client.Encode("4"))).Status);
        await Assert.ThrowsAsync<IOException>(() => OpenSocketAsync(client, version));

        await socket.SendAsync("""422["dmb:ping"]""");
        Assert.Equal("432[true,{}]", await socket.ReadAsync());
    }

    [Fact]
    public async Task What_was_not_polled_goes_out_on_the_socket_in_its_order()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await using var socket = await ProbeAsync(client, 4);
        await client.SendAsync([.. Enumerable.Range(0, 30).Select(i => $"42{i}[\"dmb:ping\"]")]);
        await socket.SendAsync("5");
        for (var i = 0; i < 30; i++)
        {
            Assert.Equal($"43{i}[true,{{}}]", await socket.ReadAsync());
        }
    }

    [Fact]
    public async Task Packets_that_come_while_a_socket_is_probed_can_be_polled()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await using var socket = await ProbeAsync(client, 4);
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", (await client.GetAsync()).Body);
        Assert.Equal("6", (await client.GetAsync()).Body);
    }

    [Theory]
    [InlineData("2abc")]
    [InlineData("5")]
    [InlineData("40")]
    public async Task A_socket_that_does_not_probe_is_closed_and_polling_goes_on(string packet)
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await using (var socket = await OpenSocketAsync(client, 4))
        {
            await socket.SendAsync(packet);
            await socket.ReadEndAsync();
        }

        await GoesOnAsync(client);
    }

    [Fact]
    public async Task A_probe_that_never_upgrades_is_cut_and_polling_goes_on()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await using (var socket = await ProbeAsync(client, 4))
        {
            Assert.Equal("6", (await client.GetAsync()).Body);
            _node.Time.Advance(TimeSpan.FromSeconds(10));
            await socket.ReadEndAsync();
        }

        await GoesOnAsync(client);
    }

    [Fact]
    public async Task A_probe_that_is_cut_leaves_polling_as_it_was()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await using (var socket = await ProbeAsync(client, 4))
        {
            socket.Reset();
        }

        await GoesOnAsync(client);
    }

    [Fact]
    public async Task One_socket_at_a_time_is_probed()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await using var socket = await ProbeAsync(client, 4);
        var refused = await Assert.ThrowsAsync<IOException>(() => OpenSocketAsync(client, 4));
        Assert.StartsWith("HTTP/1.1 400 ", refused.Message, StringComparison.Ordinal);

        await socket.SendAsync("5");
        await socket.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await socket.ReadAsync());
    }

    [Fact]
    public async Task Nothing_is_lost_or_doubled_by_an_upgrade_under_load()
    {
        const int Count = 400;
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await client.SendAsync("""42["subscribe","load:1"]""");
        Assert.Equal("""42["joined","load:1"]""", await client.ReadAsync());
        var publishing = Task.Run(async () =>
        {
            for (var i = 0; i < Count; i++)
            {
                await _node.NotifyAsync("trace", $$"""{"_in":["load:1"],"n":{{i}}}""");
            }
        });
        var received = new List<string>();
        for (var polls = 0; polls < 10; polls++)
        {
            received.AddRange(client.Decode((await client.GetAsync()).Body));
        }

        await using var socket = await ProbeAsync(client, 4);
        for (string[] got = []; !got.Contains("6"); received.AddRange(got.Where(packet => packet != "6")))
        {
            got = [.. client.Decode((await client.GetAsync()).Body)];
        }

        await socket.SendAsync("5");
        while (received.Count < Count)
        {
            received.Add(await socket.ReadAsync());
        }

        await publishing;
        Assert.Equal(
            Enumerable.Range(0, Count).Select(i => $$"""42["trace",{"_in":["load:1"],"n":{{i}}}]"""),
            received
        );
    }

    private Task<TestClient> OpenSocketAsync(PollingClient client, int version) =>
        TestClient.ConnectAsync(new Uri(_node.Url, PollingClient.Path(version, "websocket") + "&sid=" + client.Sid));

    private async Task<TestClient> ProbeAsync(PollingClient client, int version)
    {
        var socket = await OpenSocketAsync(client, version);
        await socket.SendAsync("2probe");
        Assert.Equal("3probe", await socket.ReadAsync());
        return socket;
    }

    /// <summary>The session polls as before, and can be upgraded.</summary>
    private async Task GoesOnAsync(PollingClient client)
    {
        string next;
        await client.SendAsync("""421["dmb:ping"]""");
        while ((next = await client.ReadAsync()) == "6") { }
        Assert.Equal("431[true,{}]", next);

        using var patience = new CancellationTokenSource(Node.Patience);
        for (; ; patience.Token.ThrowIfCancellationRequested())
        {
            try
            {
                await using var socket = await ProbeAsync(client, 4);
                await socket.SendAsync("5");
                await socket.SendAsync("""422["dmb:ping"]""");
                Assert.Equal("432[true,{}]", await socket.ReadAsync());
                return;
            }
            catch (IOException)
            {
                // The end of the first probe is not known yet.
            }
        }
    }
}
