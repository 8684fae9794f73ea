using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Redis;

/// <summary>What nodes share by way of Redis: events, keys, plain inputs, and who is in a room.</summary>
[Collection(RedisLane.Name)]
public sealed class SharedStateTests(SharedCluster shared)
{
    [Theory]
    [InlineData("dmb:notify:call")]
    [InlineData("opensips:call")]
    public async Task A_push_on_a_channel_is_one_message_though_every_node_gets_it(string channel)
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"], ["endpoint:77"], ["number:5"]);
        using var publisher = await shared.Redis.OpenAsync();
        var all = Enumerable.Range(0, 200).Select(n => new Numbered(channel, n)).ToArray();
        await publisher.PublishAllAsync(
            channel,
            [
                .. all.Select(m =>
                    Encoding.UTF8.GetBytes(
                        $$"""{"p":"{{m.Publisher}}","n":{{m.Number}},"endpoint":77,"_in":["number:5"]}"""
                    )
                ),
            ]
        );

        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync(all)));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.Equal(all, listener.Received.Where(m => m.Publisher == channel)));
    }

    [Fact]
    public async Task Equal_pushes_on_a_channel_are_as_many_messages()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"]);
        using var publisher = await shared.Redis.OpenAsync();
        var body = Encoding.UTF8.GetBytes(new Numbered("equal", 1).Data());
        await publisher.PublishAllAsync("dmb:notify:call", [.. Enumerable.Repeat(body, 100)]);
        await publisher.PublishAllAsync("dmb:notify:call", [Encoding.UTF8.GetBytes(new Numbered("equal", 2).Data())]);

        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync([new Numbered("equal", 2)])));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener =>
            Assert.Equal(100, listener.Received.Count(m => m == new Numbered("equal", 1)))
        );
    }

    [Fact]
    public async Task Equal_pushes_on_a_channel_are_as_many_messages_though_one_node_lags()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"]);
        var late = listeners.On(shared.Nodes[2]).Single();
        using var publisher = await shared.Redis.OpenAsync();
        var equal = new Numbered("lagging", 1);
        shared.Nodes[2].Stop();
        try
        {
            await publisher.PublishAllAsync(
                "dmb:notify:call",
                [.. Enumerable.Repeat(Encoding.UTF8.GetBytes(equal.Data()), 20)]
            );
            await publisher.CommandAsync("PUBLISH", "dmb:notify:call", new Numbered("lagging", 2).Data());
            await Task.WhenAll(
                listeners
                    .All.Where(listener => listener != late)
                    .Select(listener => listener.HasAsync([new Numbered("lagging", 2)]))
            );
        }
        finally
        {
            shared.Nodes[2].Continue();
        }

        await late.HasAsync([new Numbered("lagging", 2)]);
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.Equal(20, listener.Received.Count(m => m == equal)));
    }

    [Fact]
    public async Task A_node_started_between_equal_pushes_processes_later_ones()
    {
        (string, string)[] settings =
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{shared.Redis.Port}"),
            ("DMB_PREFIX", "late:"),
            .. NodeProcess.Patient,
        ];
        await using var first = await NodeProcess.StartAsync(settings);
        await first.BecomesAsync("ready");
        await using var watching = await first.JoinAsync("calls");
        string[] bodies = [.. Enumerable.Range(0, 10).Select(n => $"\"body {n}\"")];
        await PushEachAsync(watching);
        await PushEachAsync(watching);

        await using var second = await NodeProcess.StartAsync(settings);
        await second.BecomesAsync("ready");
        await using var client = await second.JoinAsync("calls");

        // The new one is the first to act, which the other notices.
        first.Stop();
        await PushEachAsync(client);
        first.Continue();
        second.Stop();
        await GetEachAsync(watching);
        await shared.Redis.CommandAsync("PUBLISH", "late:notify:call", "\"only the first\"");
        Assert.Equal("\"only the first\"", await watching.ReadDataAsync("call"));
        second.Continue();
        Assert.Equal("\"only the first\"", await client.ReadDataAsync("call"));

        await PushEachAsync(client);
        await first.KillAsync();
        await PushEachAsync(client);
        Assert.Empty(await client.ReadAllAsync());

        async Task PushEachAsync(TestClient reader)
        {
            foreach (var body in bodies)
            {
                await shared.Redis.CommandAsync("PUBLISH", "late:notify:call", body);
                Assert.Equal(body, await reader.ReadDataAsync("call"));
            }
        }

        async Task GetEachAsync(TestClient reader)
        {
            foreach (var body in bodies)
            {
                Assert.Equal(body, await reader.ReadDataAsync("call"));
            }
        }
    }

    [Fact]
    public async Task A_push_on_a_channel_with_a_repeated_id_is_dropped()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"]);
        using var publisher = await shared.Redis.OpenAsync();
        await publisher.PublishAllAsync(
            "dmb:notify:call",
            [
                .. Enumerable
                    .Range(1, 3)
                    .Select(n => Encoding.UTF8.GetBytes($$"""{"p":"id","n":{{n}},"id":"one-id{{n / 3}}"}""")),
            ]
        );

        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync([new Numbered("id", 3)])));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener =>
            Assert.Equal([1, 3], listener.Received.Where(m => m.Publisher == "id").Select(m => m.Number))
        );
    }

    [Fact]
    public async Task A_push_on_the_channel_of_an_unregistered_event_is_ignored()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["number:9"]);
        await shared.Redis.CommandAsync("PUBLISH", "dmb:notify:nobody_s", """{"p":"nobody","n":1,"_in":"number:9"}""");
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.DoesNotContain(listener.Received, m => m.Publisher == "nobody"));
    }

    [Fact]
    public async Task A_push_on_a_channel_after_a_node_was_killed_is_still_one_message()
    {
        await using var extra = await shared.Cluster.StartNodeAsync();
        await extra.BecomesAsync("ready");
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"]);
        using var publisher = await shared.Redis.OpenAsync();
        for (var n = 0; n < 100; n++)
        {
            if (n == 50)
            {
                await extra.KillAsync();
            }

            await publisher.CommandAsync("PUBLISH", "dmb:notify:call", new Numbered("killed", n).Data());
            await listeners.All[0].HasAsync([new Numbered("killed", n)]);
        }

        var all = Enumerable.Range(0, 100).Select(n => new Numbered("killed", n)).ToArray();
        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync(all)));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.Equal(all, listener.Received.Where(m => m.Publisher == "killed")));
    }

    [Fact]
    public async Task A_registered_event_is_known_to_all_nodes_and_a_forgotten_one_to_none()
    {
        Assert.Equal("support", await RegisterAsync(shared.Nodes[0], "shared_event", "support"));
        await EachSaysAsync("shared_event", "support");

        Assert.Equal("calls", await RegisterAsync(shared.Nodes[1], "shared_event", "calls"));
        await EachSaysAsync("shared_event", "calls");

        await using var client = await shared.Nodes[2].JoinAsync("calls");
        await client.GetsAsync("shared_event", "1", await shared.Nodes[0].NotifyAsync("shared_event", "1"));

        using var deleted = await shared
            .Nodes[2]
            .Http.DeleteAsync(new Uri(shared.Nodes[2].Url, "/register/shared_event"));
        Assert.Equal(204, (int)deleted.StatusCode);
        await EachSaysAsync("shared_event", null);

        // One of the default table goes back to its default, everywhere.
        await RegisterAsync(shared.Nodes[0], "call", "support");
        await EachSaysAsync("call", "support");
        using var back = await shared.Nodes[1].Http.DeleteAsync(new Uri(shared.Nodes[1].Url, "/register/call"));
        await EachSaysAsync("call", "calls");
    }

    [Fact]
    public async Task Registered_events_outlive_all_nodes()
    {
        (string, string)[] settings =
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{shared.Redis.Port}"),
            ("DMB_PREFIX", "kept:"),
            .. NodeProcess.Patient,
        ];
        await using (var first = await NodeProcess.StartAsync(settings))
        {
            await first.BecomesAsync("ready");
            await RegisterAsync(first, "kept_event", "support");
            await RegisterAsync(first, "dropped_event", "support");
            await RegisterAsync(first, "call", "support");
            using var deleted = await first.Http.DeleteAsync(new Uri(first.Url, "/register/dropped_event"));
            Assert.Equal(204, (int)deleted.StatusCode);
            await first.KillAsync();
        }

        await using var second = await NodeProcess.StartAsync(settings);
        await second.BecomesAsync("ready");
        Assert.Equal("support", await BusOfAsync(second, "kept_event"));
        Assert.Equal("support", await BusOfAsync(second, "call"));
        Assert.Null(await BusOfAsync(second, "dropped_event"));
    }

    [Fact]
    public async Task An_event_registered_while_Redis_is_away_is_known_to_all_when_it_is_back()
    {
        await using var cluster = await Cluster.StartAsync(NodeProcess.Patient);
        await using var client = await cluster.Nodes[0].ConnectAsync();
        await cluster.Redis.KillAsync();
        Assert.Equal("""{"event":"backplane","data":{"state":"down"}}""", await client.ReadAsync());
        await RegisterAsync(cluster.Nodes[0], "late_event", "support");
        Assert.Equal("support", await BusOfAsync(cluster.Nodes[0], "late_event"));

        await cluster.Redis.StartAsync();
        await cluster.ReadyAsync();
        foreach (var node in cluster.Nodes)
        {
            await SaysAsync(node, "late_event", "support");
        }
    }

    [Fact]
    public async Task A_room_s_sessions_are_counted_over_all_nodes()
    {
        await using var listeners = await Listeners.JoinAsync(
            shared.Nodes,
            ["number:count"],
            ["number:count", "calls"]
        );
        foreach (var node in shared.Nodes)
        {
            Assert.Equal(6, await CountAsync(node, "number:count"));
            Assert.Equal(0, await CountAsync(node, "number:nobody"));
        }

        await using (var one = await shared.Nodes[0].JoinAsync("number:count"))
        {
            Assert.Equal(7, await CountAsync(shared.Nodes[1], "number:count"));
        }
    }

    [Fact]
    public async Task A_key_used_on_one_node_is_known_on_the_others()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"]);
        var (_, first) = await shared.Nodes[0].PushAsync("call", new Numbered("key", 1).Data(), "shared-key");
        var id = JsonElement.Parse(first).GetProperty("id").GetString();
        foreach (var node in shared.Nodes)
        {
            Assert.Equal(
                (200, $$"""{"ok":true,"id":"{{id}}","duplicate":true}"""),
                await node.PushAsync("call", new Numbered("key", 2).Data(), "shared-key")
            );
        }

        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener =>
            Assert.Equal([1], listener.Received.Where(m => m.Publisher == "key").Select(m => m.Number))
        );
    }

    [Fact]
    public async Task A_key_used_on_all_nodes_at_the_same_moment_is_one_message()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"]);
        for (var round = 0; round < 50; round++)
        {
            var data = new Numbered("race", round).Data();
            var answers = await Task.WhenAll(
                shared.Nodes.Concat(shared.Nodes).Select(node => node.PushAsync("call", data, $"race-{round}"))
            );
            Assert.Single(
                answers.Select(answer => JsonElement.Parse(answer.Body).GetProperty("id").GetString()).Distinct()
            );
            Assert.Single(answers, answer => !answer.Body.Contains("duplicate", StringComparison.Ordinal));
        }

        var all = Enumerable.Range(0, 50).Select(n => new Numbered("race", n)).ToArray();
        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync(all)));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.Equal(all, listener.Received.Where(m => m.Publisher == "race")));
    }

    private static async Task<string?> RegisterAsync(NodeProcess node, string @event, string bus)
    {
        using var response = await node.Http.PostAsync(
            new Uri(node.Url, "/register"),
            new StringContent($$"""{"event":"{{@event}}","default_room":"{{bus}}"}""")
        );
        var answer = JsonElement.Parse(await response.Content.ReadAsStringAsync());
        Assert.True(answer.GetProperty("ok").GetBoolean());
        return answer.GetProperty("default_room").GetString();
    }

    private static async Task<int> CountAsync(NodeProcess node, string room) =>
        (await node.GetAsync("/rooms/" + Uri.EscapeDataString(room))).GetProperty("sessions").GetInt32();

    /// <summary>The bus of an event in the node's table, or null when it isn't there.</summary>
    private static async Task<string?> BusOfAsync(NodeProcess node, string @event) =>
        (await node.GetAsync("/register"))
            .EnumerateArray()
            .Where(one => one.GetProperty("event").GetString() == @event)
            .Select(one => one.GetProperty("default_room").GetString())
            .SingleOrDefault();

    private async Task EachSaysAsync(string @event, string? bus)
    {
        foreach (var node in shared.Nodes)
        {
            await SaysAsync(node, @event, bus);
        }
    }

    /// <summary>Asks until the node's table says so; its answers set the pace.</summary>
    private static async Task SaysAsync(NodeProcess node, string @event, string? bus)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        for (string? said; (said = await BusOfAsync(node, @event)) != bus; )
        {
            Assert.False(
                patience.IsCancellationRequested,
                $"{node.Url} still says {said ?? "nothing"} of {@event}, not {bus ?? "nothing"}."
            );
        }
    }
}
