using System.Net;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §9: a node that stops sends its sessions away, and loses nothing that it took.</summary>
public sealed class DrainTests
{
    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(20);

    [Fact]
    public async Task A_stopping_node_is_not_ready_at_once_and_serves_for_the_delay()
    {
        await using var node = await Node.StartAsync(("DrainDelay", "5"), ("DrainWindow", "5"));
        await using var old = await node.JoinAsync("calls");

        var stopped = Stop(node);
        using (var ready = await node.Http.GetAsync(new Uri(node.Url, "/readyz")))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
            Assert.Equal("""{"status":"draining"}""", await ready.Content.ReadAsStringAsync());
            Assert.NotEqual(true, ready.Headers.ConnectionClose);
        }

        node.Time.Advance(TimeSpan.FromSeconds(5) - Moment);
        await using var late = await node.JoinAsync("calls");
        await node.ReachesAsync(old, "call", "1");
        Assert.Equal("1", await late.ReadDataAsync("call"));

        node.Time.Advance(Moment);
        foreach (var client in new[] { old, late })
        {
            Assert.InRange(AfterMs(await client.ReadAsync()), 0, 4999);
        }

        await LeaveAsync(node, stopped, old, late);
    }

    [Fact]
    public async Task A_draining_node_refuses_new_sessions_and_closes_each_connection_after_its_push()
    {
        await using var node = await Node.StartAsync(("DrainWindow", "5"));
        await using var client = await node.JoinAsync("calls");
        using var kept = await RawHttp.ConnectAsync(node);
        Assert.False((await kept.AskAsync("POST /_notify/call", "1")).SaysClose);
        Assert.Equal("1", await client.ReadDataAsync("call"));

        var stopped = Stop(node);
        AfterMs(await client.ReadAsync());

        var last = await kept.AskAsync("POST /_notify/call", "2");
        await client.GetsAsync("call", "2", last.TakenId());
        Assert.True(last.SaysClose);
        Assert.Equal("", await kept.ReadToEndAsync());

        foreach (
            var (path, headers) in new (string, string[])[]
            {
                ("/events?room=calls", []),
                (
                    "/ws",
                    [
                        "Upgrade: websocket",
                        "Connection: Upgrade",
                        "Sec-WebSocket-Version: 13",
                        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                    ]
                ),
            }
        )
        {
            var refused = await RawHttp.AskAsync(node, "GET " + path, "", headers);
            refused.IsProblem(503, "draining");
            Assert.Equal("1", refused.Headers["Retry-After"]);
            Assert.True(refused.SaysClose);
        }

        await LeaveAsync(node, stopped, client);
    }

    [Fact]
    public async Task Sessions_are_closed_in_random_order_over_the_window_each_at_its_announced_time()
    {
        const int Count = 40;
        await using var node = await Node.StartAsync(("DrainWindow", "4"));
        var clients = new List<TestClient>();
        for (var i = 0; i < Count; i++)
        {
            clients.Add(await node.JoinAsync("calls"));
        }

        var stopped = Stop(node);
        try
        {
            var told = new List<(TestClient Client, int AfterMs)>();
            foreach (var client in clients)
            {
                told.Add((client, AfterMs(await client.ReadAsync())));
            }

            // One in each fortieth of the window, and not in the order in which they came.
            Assert.Equal(Enumerable.Range(0, Count), told.Select(t => t.AfterMs / 100).Order());
            Assert.NotEqual(told.Select(t => t.AfterMs).Order(), told.Select(t => t.AfterMs));

            await ReachesAllAsync(node, "1", clients);
            node.Time.Advance(TimeSpan.FromSeconds(2));
            foreach (var (client, _) in told.Where(t => t.AfterMs < 1900))
            {
                await LeavesAsync(client);
            }

            // A step is up to 20 ms late: whose turn comes with the end of what has passed is sent away now or at the
            // next step.
            var last = told.Where(t => t.AfterMs >= 2000).Select(t => t.Client).ToArray();
            await ReachesAllAsync(node, "2", last);
            node.Time.Advance(TimeSpan.FromSeconds(3));
            foreach (var client in last)
            {
                await LeavesAsync(client);
            }

            foreach (var (client, _) in told.Where(t => t.AfterMs is >= 1900 and < 2000))
            {
                Assert.Equal(1012, (await client.ReadCloseAsync()).Code);
            }
        }
        finally
        {
            // Or else a node whose test failed would wait for its clients, while its clock stands still.
            foreach (var client in clients)
            {
                await client.DisposeAsync();
            }

            await EndAsync(node, stopped);
        }
    }

    [Fact]
    public async Task A_stream_of_server_sent_events_is_notified_and_closed_too()
    {
        await using var node = await Node.StartAsync(("DrainWindow", "5"));
        using var stream = await EventReader.OpenAsync(node, "calls");

        var stopped = Stop(node);
        var drain = await stream.ReadAsync();
        Assert.StartsWith("event: drain\ndata: ", drain, StringComparison.Ordinal);
        var afterMs = JsonElement.Parse(drain.Split("data: ")[1]).GetProperty("after_ms").GetInt32();
        await node.NotifyAsync("call", "1");
        Assert.Contains("data: 1", await stream.ReadAsync(), StringComparison.Ordinal);

        node.Time.Advance(TimeSpan.FromMilliseconds(afterMs) + Moment);
        Assert.Matches(
            """^event: bye\ndata: \{"code":1012,"reconnect":true,"after_ms":\d+}$""",
            await stream.ReadAsync()
        );
        await Assert.ThrowsAsync<EndOfStreamException>(stream.ReadAsync);

        // The rest of the drain, what the bye says, and up to two seconds for each to be alone.
        var rest = 5_000 - (afterMs + (int)Moment.TotalMilliseconds);
        Assert.InRange(stream.RetryMs!.Value, Math.Max(1_000, rest), rest + 1_000 + 3_000);
        await stopped.WaitAsync(Node.Patience);
    }

    [Fact]
    public async Task A_browser_that_reconnects_while_the_node_drains_gets_a_retry()
    {
        await using var node = await Node.StartAsync(("DrainWindow", "30"));
        await using var client = await node.JoinAsync("calls");
        var stopped = Stop(node);
        AfterMs(await client.ReadAsync());

        var answer = await RawHttp.AskAsync(node, "GET /events?room=calls", "", "Accept: text/event-stream");
        Assert.Equal(200, answer.Status);
        Assert.Matches(@"^retry: (29|30|31|32)\d{3}\n\n$", answer.Body);
        await LeaveAsync(node, stopped, client);
    }

    [Fact]
    public async Task Without_sessions_a_node_stops_at_once()
    {
        await using var node = await Node.StartAsync(("DrainWindow", "5"));
        await Stop(node).WaitAsync(Node.Patience);
    }

    [Fact]
    public async Task The_window_ends_when_the_last_session_has_left()
    {
        await using var node = await Node.StartAsync(("DrainWindow", "3600"));
        await using var client = await node.JoinAsync("calls");
        var stopped = Stop(node);
        AfterMs(await client.ReadAsync());
        await LeaveAsync(node, stopped, client);
    }

    /// <summary>Tells it to stop; completes when it has.</summary>
    private static Task Stop(Node node)
    {
        var lifetime = node.Services.GetRequiredService<IHostApplicationLifetime>();
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lifetime.ApplicationStopped.Register(stopped.SetResult);
        lifetime.StopApplication();
        return stopped.Task;
    }

    /// <summary>All clients go, and with the last one the node.</summary>
    private static async Task LeaveAsync(Node node, Task stopped, params TestClient[] clients)
    {
        foreach (var client in clients)
        {
            await client.SendFrameAsync(Frame.Close, [0x03, 0xe8]);
            await client.ReadEndAsync();
        }

        await EndAsync(node, stopped);
    }

    /// <summary>The node's time goes on until it has stopped; its clients have left.</summary>
    private static async Task EndAsync(Node node, Task stopped)
    {
        // Each answer takes a round trip, in which a session that was said goodbye to is forgotten.
        while (!stopped.IsCompleted)
        {
            node.Time.Advance(Moment);
            await Task.Yield();
        }

        await stopped;
    }

    /// <summary>
    /// Publishes, and completes when all these clients have it: a message to a room so large is delivered only after
    /// its publisher was
    /// answered.
    /// </summary>
    private static async Task ReachesAllAsync(Node node, string json, IEnumerable<TestClient> clients)
    {
        await node.NotifyAsync("call", json);
        foreach (var client in clients)
        {
            Assert.Equal(json, await client.ReadDataAsync("call"));
        }
    }

    /// <summary>It is told when to come back, and goes.</summary>
    private static async Task LeavesAsync(TestClient client)
    {
        Assert.Equal(1012, (await client.ReadCloseAsync()).Code);
        var bye = JsonElement.Parse(await client.ReadAsync()).GetProperty("data");
        Assert.True(bye.GetProperty("reconnect").GetBoolean());
        Assert.InRange(bye.GetProperty("after_ms").GetInt32(), 0, 999);
    }

    private static int AfterMs(string frame)
    {
        var told = JsonElement.Parse(frame);
        Assert.Equal("drain", told.GetProperty("event").GetString());
        return told.GetProperty("data").GetProperty("after_ms").GetInt32();
    }
}
