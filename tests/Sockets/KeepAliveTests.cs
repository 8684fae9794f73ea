namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §1: silent clients and slow ones are closed, and never waited for.</summary>
public sealed class KeepAliveTests
{
    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(100);

    [Fact]
    public async Task A_client_is_pinged_every_25_seconds_and_not_before()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        for (var i = 0; i < 3; i++)
        {
            node.Time.Advance(TimeSpan.FromSeconds(25) - Moment);
            await client.SendAsync("""{"event":"configure","data":{}}""");
            Assert.Equal(Frame.Text, (await client.ReadFrameAsync()).Opcode);

            node.Time.Advance(Moment);
            Assert.Equal(Frame.Ping, (await client.ReadFrameAsync()).Opcode);
        }
    }

    [Fact]
    public async Task A_silent_client_is_closed_after_45_seconds_and_not_before()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        client.AnswersPings = false;

        node.Time.Advance(TimeSpan.FromSeconds(45) - Moment);
        await node.NotifyAsync("call", "1");
        Assert.Equal("1", await client.ReadDataAsync("call"));

        node.Time.Advance(Moment);
        await node.NotifyAsync("call", "2");
        await Expect.ClosedAsync(4101, reconnect: true, client);
        Assert.Empty(await client.ReadAllAsync());
    }

    [Fact]
    public async Task A_client_that_sends_anything_is_not_silent()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        client.AnswersPings = false;
        for (var i = 0; i < 10; i++)
        {
            node.Time.Advance(TimeSpan.FromSeconds(44));
            await client.SendFrameAsync(Frame.Ping, []);
            while ((await client.ReadFrameAsync()).Opcode != Frame.Pong) { }
        }
    }

    [Fact]
    public async Task A_closed_client_that_stays_is_cut()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendFrameAsync(Frame.Binary, []);
        await Expect.ClosedAsync(1003, reconnect: false, client);

        node.Time.Advance(TimeSpan.FromSeconds(5));
        await client.ReadEndAsync();
        await node.UntilSessionsInAsync("calls", 0);
    }

    [Theory]
    [InlineData("MaxPendingBytes", "1048576")]
    [InlineData("MaxPendingMessages", "8")]
    public async Task A_client_that_never_reads_is_cut_and_neither_its_room_nor_the_publisher_waits_for_it(
        string limit,
        string value
    )
    {
        await using var node = await Node.StartAsync(("MaxPendingBytes", "268435456"), (limit, value));
        await using var slow = await node.JoinAsync("calls");
        await using var client = await node.JoinAsync("calls");
        await PublishMuchAsync(node, client);

        node.Time.Advance(TimeSpan.FromSeconds(5));
        await node.UntilSessionsInAsync("calls", 1);
        await Assert.ThrowsAnyAsync<IOException>(slow.ReadCloseAsync);
    }

    [Fact]
    public async Task A_slow_client_that_reads_again_gets_the_close_reason()
    {
        await using var node = await Node.StartAsync();
        await using var slow = await node.JoinAsync("calls");
        await using var client = await node.JoinAsync("calls");
        await PublishMuchAsync(node, client);

        Assert.Equal(4100, (await slow.ReadCloseAsync()).Code);
        var texts = await slow.ReadAllAsync();
        Assert.Equal("""{"event":"bye","data":{"code":4100,"reconnect":true,"after_ms":0}}""", texts[^1]);
        for (var i = 0; i < texts.Length - 1; i++)
        {
            Assert.StartsWith($$"""{"event":"call","data":[{{i}},""", texts[i], StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_client_that_only_pings_and_never_reads_is_a_slow_one_too()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        var ping = TestClient.Encode(Frame.Ping, new byte[125]);
        var pings = Enumerable.Repeat(ping, 1000).SelectMany(bytes => bytes).ToArray();
        for (var i = 0; i < 100; i++)
        {
            await client.SendBytesAsync(pings);
        }

        await Expect.ClosedAsync(4100, reconnect: true, client);
    }

    /// <summary>More than the kernel's buffers and the queue of a session that doesn't read can hold.</summary>
    private static async Task PublishMuchAsync(Node node, TestClient reading)
    {
        var filling = new string('x', 200_000);
        for (var i = 0; i < 100; i++)
        {
            var data = $$"""[{{i}},"{{filling}}"]""";
            await node.NotifyAsync("call", data);
            Assert.Equal(data, await reading.ReadDataAsync("call"));
        }
    }
}
