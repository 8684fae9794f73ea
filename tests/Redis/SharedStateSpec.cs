using System.Text.Json;

namespace Dmb.Tests.Redis;

/// <summary>What nodes share by way of Redis: events, keys, and who is in a room.</summary>
public abstract class SharedStateSpec(SharedCluster shared)
{
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
        var (settings, _) = shared.Beside("kept");
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

    protected static async Task<string?> RegisterAsync(NodeProcess node, string @event, string bus)
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
    protected static async Task<string?> BusOfAsync(NodeProcess node, string @event) =>
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
    protected static async Task SaysAsync(NodeProcess node, string @event, string? bus)
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
