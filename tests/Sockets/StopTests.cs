namespace Dmb.Tests.Sockets;

/// <summary>The process and its signals (docs/protocol.md §9).</summary>
public sealed class StopTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_signal_ends_it_with_exit_code_0_and_without_sessions_at_once(bool isInterrupt)
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_DRAIN_WINDOW", "3600"));
        if (isInterrupt)
        {
            node.Interrupt();
        }
        else
        {
            node.Terminate();
        }

        Assert.Equal(0, await node.EndAsync());
    }

    [Fact]
    public async Task Sessions_have_the_window_and_a_second_signal_ends_it_now()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_DRAIN_WINDOW", "3600"));
        await using var client = await node.JoinAsync("calls");
        node.Terminate();
        Assert.StartsWith(
            """{"event":"drain","data":{"after_ms":""",
            await client.ReadAsync(),
            StringComparison.Ordinal
        );
        await node.NotifyAsync("call", "1");
        Assert.Equal("1", await client.ReadDataAsync("call"));

        node.Terminate();
        Assert.Equal(128 + 15, await node.EndAsync());
    }

    [Fact]
    public async Task After_its_sessions_have_closed_the_node_exits_with_code_0()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_DRAIN_WINDOW", "0.2"));
        await using var client = await node.JoinAsync("calls");
        node.Terminate();
        await Expect.ClosedAsync(1012, reconnect: true, client);
        await client.SendFrameAsync(Frame.Close, [0x03, 0xf4]);
        Assert.Equal(0, await node.EndAsync());
    }

    [Theory]
    [InlineData("1")]
    [InlineData("8")]
    public async Task Spooled_messages_are_sent_if_Redis_returns_during_the_drain(string groups)
    {
        await using var redis = await RedisServer.StartAsync();
        (string, string)[] settings =
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_GROUPS", groups),
        ];
        await using var leaving = await NodeProcess.StartReadyAsync(settings);
        await using var staying = await NodeProcess.StartReadyAsync(settings);
        await using var client = await staying.JoinAsync("calls");

        await redis.KillAsync();
        await leaving.BecomesAsync("degraded");
        Assert.Equal(202, (await leaving.PushAsync("call", "1")).Status);

        leaving.Terminate();
        await leaving.LogAsync("1 messages are kept for Redis");
        await redis.StartAsync();
        Assert.Equal(0, await leaving.EndAsync());
        while (!(await client.ReadAsync()).StartsWith("""{"event":"call","data":1,""", StringComparison.Ordinal)) { }
    }

    [Fact]
    public async Task Spooled_messages_are_logged_as_lost_if_Redis_does_not_return()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await NodeProcess.StartReadyAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}")
        );
        await redis.KillAsync();
        await node.BecomesAsync("degraded");
        Assert.Equal(202, (await node.PushAsync("call", "1")).Status);

        node.Terminate();
        Assert.Equal(0, await node.EndAsync());
        Assert.Contains(node.Log, line =>
            line.Contains("Redis did not come back: 1 messages", StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task Under_load_no_kept_alive_connection_closes_without_a_response_and_accepted_messages_arrive_once()
    {
        const int Publishers = 8;
        await using var redis = await RedisServer.StartAsync();
        (string, string)[] settings =
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            .. NodeProcess.Patient,
        ];
        await using var leaving = await NodeProcess.StartReadyAsync([.. settings, ("DMB_DRAIN_WINDOW", "1")]);
        await using var staying = await NodeProcess.StartReadyAsync(settings);
        await using var listener = await Listener.JoinAsync(staying, "calls");
        await using var client = await leaving.JoinAsync("support");

        var running = Enumerable.Range(0, Publishers).Select(i => new KeptAlive(leaving.Url.Port, $"p{i}")).ToArray();
        var pushing = running.Select(publisher => publisher.RunAsync()).ToArray();
        await Task.WhenAll(running.Select(publisher => publisher.Warm));
        leaving.Terminate();
        await Expect.ClosedAsync(1012, reconnect: true, client);
        await client.SendFrameAsync(Frame.Close, [0x03, 0xf4]);
        await Task.WhenAll(pushing).WaitAsync(Node.Patience);
        Assert.Equal(0, await leaving.EndAsync());

        var answered = running.SelectMany(publisher => publisher.Answered).ToArray();
        Assert.Equal([], running.SelectMany(publisher => publisher.Unanswered));
        Assert.All(running, publisher => Assert.True(publisher.Reconnects > 0));
        Assert.True(await listener.HasAsync(answered));
        Assert.Equal(answered.Length, listener.Received.Length);
    }
}
