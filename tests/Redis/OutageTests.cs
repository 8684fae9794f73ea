using System.Net;
using System.Text.Json;

namespace Dmb.Tests.Redis;

/// <summary>What a node answers while Redis is away, by DMB_OUTAGE.</summary>
[Collection(RedisLane.Name)]
public sealed class OutageTests : IAsyncLifetime
{
    private const int Second = 300;
    private readonly Started _started = new();

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _started.DisposeAsync();

    [Fact]
    public async Task Spool_answers_202_delivers_here_at_once_and_elsewhere_when_Redis_is_back()
    {
        var cluster = await StartAsync(NodeProcess.Patient);
        var (here, there) = (await JoinAsync(cluster.Nodes[0], "calls"), await JoinAsync(cluster.Nodes[1], "calls"));
        await cluster.Redis.KillAsync();
        await ReadBackplaneAsync("down", here, there);

        var (status, body) = await cluster.Nodes[0].PushAsync("call", "1");
        var id = JsonElement.Parse(body).GetProperty("id").GetString()!;
        Assert.Equal((202, $$"""{"ok":true,"id":"{{id}}","degraded":"spooled"}"""), (status, body));
        await here.GetsAsync("call", "1", id);

        await cluster.Redis.StartAsync();
        await ReadBackplaneAsync("up", here);
        Assert.Equal(
            [$$"""{"event":"call","data":1,"id":"{{id}}"}""", """{"event":"backplane","data":{"state":"up"}}"""],
            new[] { await there.ReadAsync(), await there.ReadAsync() }.OrderByDescending(frame =>
                frame.Contains("call", StringComparison.Ordinal)
            )
        );

        await cluster.ReadyAsync();
        var next = await cluster.Nodes[0].NotifyAsync("call", "2");
        await here.GetsAsync("call", "2", next);
        await there.GetsAsync("call", "2", next);
    }

    [Fact]
    public async Task Local_answers_200_and_reaches_this_node_alone()
    {
        var cluster = await StartAsync([("DMB_OUTAGE", "local"), .. NodeProcess.Patient]);
        var (here, there) = (await JoinAsync(cluster.Nodes[0], "calls"), await JoinAsync(cluster.Nodes[1], "calls"));
        await cluster.Redis.KillAsync();
        await ReadBackplaneAsync("down", here, there);

        var (status, body) = await cluster.Nodes[0].PushAsync("call", "1");
        var id = JsonElement.Parse(body).GetProperty("id").GetString()!;
        Assert.Equal((200, $$"""{"ok":true,"id":"{{id}}","degraded":"local"}"""), (status, body));
        await here.GetsAsync("call", "1", id);

        await cluster.Redis.StartAsync();
        await ReadBackplaneAsync("up", here, there);
        await cluster.ReadyAsync();
        var next = await cluster.Nodes[0].NotifyAsync("call", "2");
        await here.GetsAsync("call", "2", next);
        await there.GetsAsync("call", "2", next);
    }

    [Fact]
    public async Task Reject_answers_503_with_Retry_After_without_a_delivery()
    {
        var cluster = await StartAsync([("DMB_OUTAGE", "reject"), .. NodeProcess.Patient]);
        var (here, there) = (await JoinAsync(cluster.Nodes[0], "calls"), await JoinAsync(cluster.Nodes[1], "calls"));
        await cluster.Redis.KillAsync();
        await ReadBackplaneAsync("down", here, there);

        using var response = await cluster
            .Nodes[0]
            .Http.PostAsync(new Uri(cluster.Nodes[0].Url, "/_notify/call"), new StringContent("1"));
        await IsBackplaneDownAsync(response);

        Assert.Contains(
            "\"error\":{\"code\":\"backplane_down\",",
            await here.AckAsync("call", "1"),
            StringComparison.Ordinal
        );
        Assert.Contains("\"retry\":true", await here.AckAsync("call", "1"), StringComparison.Ordinal);

        using var batch = await cluster
            .Nodes[0]
            .Http.PostAsync(
                new Uri(cluster.Nodes[0].Url, "/_notify"),
                new StringContent("""[{"event":"call","data":1},{"event":"nobody_s"}]""")
            );
        var results = JsonElement.Parse(await batch.Content.ReadAsStringAsync()).GetProperty("results");
        Assert.Equal(
            (HttpStatusCode.OK, "backplane_down"),
            (batch.StatusCode, results[0].GetProperty("error").GetProperty("code").GetString())
        );
        Assert.True(results[0].GetProperty("error").GetProperty("retry").GetBoolean());

        await cluster.Redis.StartAsync();
        await ReadBackplaneAsync("up", here, there);
        await cluster.ReadyAsync();
        var next = await cluster.Nodes[0].NotifyAsync("call", "2");
        await here.GetsAsync("call", "2", next);
        await there.GetsAsync("call", "2", next);
    }

    [Fact]
    public async Task A_refused_push_may_be_sent_again_under_its_key()
    {
        var cluster = await StartAsync([("DMB_OUTAGE", "reject"), .. NodeProcess.Patient]);
        var client = await JoinAsync(cluster.Nodes[1], "calls");
        await cluster.Redis.KillAsync();
        await ReadBackplaneAsync("down", client);
        await cluster.Nodes[0].BecomesAsync("degraded");
        Assert.Equal(503, (await cluster.Nodes[0].PushAsync("call", "1", "key")).Status);

        await cluster.Redis.StartAsync();
        await ReadBackplaneAsync("up", client);
        await cluster.ReadyAsync();
        var (status, body) = await cluster.Nodes[0].PushAsync("call", "1", "key");
        Assert.Equal(200, status);
        await client.GetsAsync("call", "1", JsonElement.Parse(body).GetProperty("id").GetString()!);
    }

    [Theory]
    [InlineData("DMB_SPOOL_MESSAGES", "10", 10)]
    [InlineData("DMB_SPOOL_BYTES", "100000", 40_000)]
    public async Task A_full_spool_answers_503_and_its_messages_arrive(string setting, string value, int size)
    {
        var cluster = await StartAsync([(setting, value), .. NodeProcess.Patient]);
        var (here, there) = (await JoinAsync(cluster.Nodes[0], "calls"), await JoinAsync(cluster.Nodes[1], "calls"));
        await cluster.Redis.KillAsync();
        await ReadBackplaneAsync("down", here, there);

        var taken = new List<(string Data, string Id)>();
        for (var i = 0; i < 12; i++)
        {
            var data = $"\"{i:00}{new string('x', size)}\"";
            using var response = await cluster
                .Nodes[0]
                .Http.PostAsync(new Uri(cluster.Nodes[0].Url, "/_notify/call"), new StringContent(data));
            if (response.StatusCode == HttpStatusCode.Accepted)
            {
                taken.Add(
                    (data, JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("id").GetString()!)
                );
            }
            else
            {
                await IsBackplaneDownAsync(response);
            }
        }

        Assert.Equal(setting == "DMB_SPOOL_BYTES" ? 2 : 10, taken.Count);
        await cluster.Redis.StartAsync();
        await cluster.ReadyAsync();
        var last = await cluster.Nodes[0].NotifyAsync("call", "\"last\"");
        foreach (var client in new[] { here, there })
        {
            var frames = new List<string>();
            while (frames.LastOrDefault()?.Contains(last, StringComparison.Ordinal) != true)
            {
                frames.Add(await client.ReadAsync());
            }

            Assert.Equal(
                [
                    .. taken.Select(t => $$"""{"event":"call","data":{{t.Data}},"id":"{{t.Id}}"}"""),
                    $$"""{"event":"call","data":"last","id":"{{last}}"}""",
                ],
                frames.Where(frame => !frame.Contains("backplane", StringComparison.Ordinal))
            );
        }
    }

    [Theory]
    [InlineData("local")]
    [InlineData("reject")]
    public async Task Without_a_spool_accepted_messages_are_delivered_while_Redis_is_killed_and_stopped(string policy)
    {
        var cluster = await StartAsync(("DMB_OUTAGE", policy));
        await using var listeners = await Listeners.JoinAsync(cluster.Nodes, ["calls"], ["calls", "number:1"]);
        await using var load = Load.Start(cluster.Nodes, Second, padding: 0, "number:1");
        await load.MoreAsync(Second / 2);

        load.Mark("killed");
        await cluster.Redis.KillAsync();
        await listeners.BackplaneAsync("down");
        await load.MoreAsync(Second / 2);
        await cluster.Redis.StartAsync();
        await listeners.BackplaneAsync("up");
        await load.MoreAsync(Second / 2);

        load.Mark("stopped");
        cluster.Redis.Stop();
        await listeners.BackplaneAsync("down");
        await load.MoreAsync(Second / 2);
        cluster.Redis.Continue();
        await listeners.BackplaneAsync("up");
        await load.MoreAsync(Second / 2);
        await load.StopAsync();
        await cluster.ReadyAsync();

        // An ack says less than HTTP: it doesn't tell that a message stayed here.
        var tally = await Tally.CountAsync(load, listeners.All, (answer, listener) =>
            answer.Node == listener.Node || answer is { Degraded: null, IsAck: false }
        );
        Assert.True(tally is { Lost: 0, Doubled: 0, OutOfOrder: 0, Unanswered: 0 }, $"{tally.Cells}\n{tally.Evidence}");
        Assert.All(load.Answers.Where(answer => answer.IsTaken), answer =>
            Assert.True(answer.Degraded is null or "local", $"{answer}")
        );
        Assert.Equal(policy == "reject", tally.Refused > 0);
        Assert.Equal(policy == "local", tally.Degraded > 0);
        Assert.All(load.Answers.Where(answer => !answer.IsTaken), answer =>
            Assert.Contains("backplane_down", answer.Body, StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task A_batch_sent_while_Redis_is_stopped_is_answered_in_order_without_waiting_for_each_item()
    {
        var cluster = await StartAsync();
        await using var listeners = await Listeners.JoinAsync(cluster.Nodes, ["calls"]);
        var items = Enumerable
            .Range(0, 100)
            .Select(n => $$"""{"event":"call","data":{{new Numbered("batch", n).Data()}}}""");

        cluster.Redis.Stop();
        using var response = await cluster
            .Nodes[0]
            .Http.PostAsync(
                new Uri(cluster.Nodes[0].Url, "/_notify"),
                new StringContent($"[{string.Join(',', items)}]")
            );
        var results = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("results");
        Assert.All(results.EnumerateArray(), result =>
            Assert.Equal("spooled", result.GetProperty("degraded").GetString())
        );
        await listeners.BackplaneAsync("down");
        cluster.Redis.Continue();
        await listeners.BackplaneAsync("up");
        await cluster.ReadyAsync();

        var all = Enumerable.Range(0, 100).Select(n => new Numbered("batch", n)).ToArray();
        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync(all)));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.Equal(all, listener.Received.Where(m => m.Publisher == "batch")));
    }

    [Fact]
    public async Task A_room_joined_on_a_disconnected_node_gets_messages_published_elsewhere_after_the_ack()
    {
        var cluster = await Cluster.StartAsync(await RedisServer.StartAsync(), withProxy: true, NodeProcess.Patient);
        _started.Add(cluster);
        await cluster.ReadyAsync();
        var client = await JoinAsync(cluster.Nodes[0]);
        cluster.FirstProxy!.Refuse();
        await ReadBackplaneAsync("down", client);

        for (var i = 0; i < 20; i++)
        {
            Assert.Contains(
                "\"ok\":true",
                await client.AckAsync("subscribe", $"\"number:{i}\""),
                StringComparison.Ordinal
            );
            await cluster.Nodes[1].NotifyAsync("call", $$"""{"n":{{i}},"_in":"number:{{i}}"}""");
        }

        cluster.FirstProxy.Heal();
        await cluster.ReadyAsync();
        var last = await cluster.Nodes[1].NotifyAsync("call", """{"n":20,"_in":"number:0"}""");
        var frames = new List<string>();
        while (frames.LastOrDefault()?.Contains(last, StringComparison.Ordinal) != true)
        {
            frames.Add(await client.ReadAsync());
        }

        Assert.Equal(
            Enumerable.Range(0, 21),
            frames
                .Where(f => f.StartsWith("{\"event\":\"call\"", StringComparison.Ordinal))
                .Select(f => JsonElement.Parse(f).GetProperty("data").GetProperty("n").GetInt32())
        );
    }

    [Fact]
    public async Task A_subscribe_during_an_undetected_stall_is_answered_and_misses_nothing()
    {
        var cluster = await Cluster.StartAsync(await RedisServer.StartAsync(), withProxy: true);
        _started.Add(cluster);
        await cluster.ReadyAsync();
        var client = await JoinAsync(cluster.Nodes[0]);
        cluster.FirstProxy!.Stall(Way.Both);

        Assert.Contains(
            "\"ok\":true",
            await client.AckAsync("subscribe", "\"number:stalled\""),
            StringComparison.Ordinal
        );
        var id = await cluster.Nodes[1].NotifyAsync("call", """{"_in":"number:stalled"}""");
        cluster.FirstProxy.Heal();

        string frame;
        do
        {
            frame = await client.ReadAsync();
        } while (!frame.StartsWith("{\"event\":\"call\"", StringComparison.Ordinal));

        Assert.Equal($$$"""{"event":"call","data":{"_in":"number:stalled"},"id":"{{{id}}}"}""", frame);
    }

    private async Task<Cluster> StartAsync(params (string, string)[] settings)
    {
        var cluster = await Cluster.StartAsync(settings);
        _started.Add(cluster);
        return cluster;
    }

    private async Task<TestClient> JoinAsync(NodeProcess node, params string[] rooms)
    {
        var client = rooms.Length > 0 ? await node.JoinAsync(rooms) : await node.ConnectAsync();
        _started.Add(client);
        return client;
    }

    private static async Task ReadBackplaneAsync(string state, params TestClient[] clients)
    {
        foreach (var client in clients)
        {
            Assert.Equal($$$"""{"event":"backplane","data":{"state":"{{{state}}}"}}""", await client.ReadAsync());
        }
    }

    private static async Task IsBackplaneDownAsync(HttpResponseMessage response)
    {
        var problem = JsonElement.Parse(await response.Content.ReadAsStringAsync());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("backplane_down", problem.GetProperty("code").GetString());
        Assert.Equal(TimeSpan.FromSeconds(1), response.Headers.RetryAfter?.Delta);
    }
}
