using System.Text;

namespace Dmb.Tests.Redis;

/// <summary>What other programs publish on channels that every node hears is one message.</summary>
public abstract class SharedInputSpec(SharedCluster shared)
{
    private string Call => shared.Prefix + "notify:call";

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_push_on_a_channel_is_one_message_though_every_node_gets_it(bool isOfThePrefix)
    {
        var channel = isOfThePrefix ? Call : "opensips:call";
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
        await publisher.PublishAllAsync(Call, [.. Enumerable.Repeat(body, 100)]);
        await publisher.PublishAllAsync(Call, [Encoding.UTF8.GetBytes(new Numbered("equal", 2).Data())]);

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
            await publisher.PublishAllAsync(Call, [.. Enumerable.Repeat(Encoding.UTF8.GetBytes(equal.Data()), 20)]);
            await publisher.CommandAsync("PUBLISH", Call, new Numbered("lagging", 2).Data());
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
        var (settings, prefix) = shared.Beside("late");
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
        await shared.WithoutTurnAsync(prefix);
        first.Stop();
        await PushEachAsync(client);
        first.Continue();
        await shared.WithoutTurnAsync(prefix);
        second.Stop();
        await GetEachAsync(watching);
        await shared.Redis.CommandAsync("PUBLISH", prefix + "notify:call", "\"only the first\"");
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
                await shared.Redis.CommandAsync("PUBLISH", prefix + "notify:call", body);
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
            Call,
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
        await shared.Redis.CommandAsync(
            "PUBLISH",
            shared.Prefix + "notify:nobody_s",
            """{"p":"nobody","n":1,"_in":"number:9"}"""
        );
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.DoesNotContain(listener.Received, m => m.Publisher == "nobody"));
    }

    [Fact]
    public async Task A_push_on_a_channel_after_a_node_was_killed_is_still_one_message()
    {
        var (settings, prefix) = shared.Beside("killed");
        await using var killed = await NodeProcess.StartReadyAsync(settings);
        await using var one = await NodeProcess.StartReadyAsync(settings);
        await using var two = await NodeProcess.StartReadyAsync(settings);
        await using var listeners = await Listeners.JoinAsync([one, two], ["calls"]);
        using var publisher = await shared.Redis.OpenAsync();
        for (var n = 0; n < 100; n++)
        {
            if (n == 50)
            {
                await killed.KillAsync();
            }

            await publisher.CommandAsync("PUBLISH", prefix + "notify:call", new Numbered("killed", n).Data());
            await listeners.All[0].HasAsync([new Numbered("killed", n)]);
        }

        var all = Enumerable.Range(0, 100).Select(n => new Numbered("killed", n)).ToArray();
        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync(all)));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        Assert.All(listeners.All, listener => Assert.Equal(all, listener.Received.Where(m => m.Publisher == "killed")));
    }
}
