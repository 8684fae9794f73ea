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
    public async Task A_node_told_to_stop_is_not_ready_at_once_and_serves_on_for_the_delay()
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
    public async Task A_draining_node_takes_no_new_sessions_and_answers_pushes_for_the_last_time_on_their_connection()
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

        foreach (var (path, headers) in new (string, string[])[]
        {
            ("/events?room=calls", []),
            ("/ws", ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]),
        })
        {
            var refused = await RawHttp.AskAsync(node, "GET " + path, "", headers);
            refused.IsProblem(503, "draining");
            Assert.Equal("1", refused.Headers["Retry-After"]);
            Assert.True(refused.SaysClose);
        }

        await LeaveAsync(node, stopped, client);
    }

    [Fact]
    public async Task A_stream_of_server_sent_events_is_told_and_ended_too()
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
        Assert.Matches("""^event: bye\ndata: \{"code":1012,"reconnect":true,"after_ms":\d+}$""", await stream.ReadAsync());
        await Assert.ThrowsAsync<EndOfStreamException>(stream.ReadAsync);
        await stopped.WaitAsync(Node.Patience);
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

        // Each answer takes a round trip, in which a session that was said goodbye to is forgotten.
        while (!stopped.IsCompleted)
        {
            node.Time.Advance(Moment);
            await Task.Yield();
        }

        await stopped;
    }

    private static int AfterMs(string frame)
    {
        var told = JsonElement.Parse(frame);
        Assert.Equal("drain", told.GetProperty("event").GetString());
        return told.GetProperty("data").GetProperty("after_ms").GetInt32();
    }
}
