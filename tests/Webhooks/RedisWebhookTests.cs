using System.Globalization;

namespace Dmb.Tests.Webhooks;

/// <summary>
/// Webhooks that nodes share over Redis: one node a message, in order, also when nodes and Redis die.
/// </summary>
public sealed class RedisWebhookTests
{
    [Fact]
    public async Task Nothing_is_lost_and_all_is_in_order_while_nodes_and_Redis_die()
    {
        const int count = 300;
        var (posts, accepted) = (0, 0);
        await using var cluster = await Cluster.StartReadyAsync(
            await RedisServer.StartAsync("--appendonly", "yes", "--appendfsync", "always"),
            withProxy: false
        );
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                // Too seldom for the breaker, which would only wait.
                var isRefused = Interlocked.Increment(ref posts) % 80 == 0;
                context.Response.StatusCode = isRefused ? 500 : 204;
                Interlocked.Add(ref accepted, isRefused ? 0 : 1);
                return Task.CompletedTask;
            }
        );
        await TestHook.RegisterAsync(cluster.Nodes[0].Http, receiver.Url, "\"events\":[\"call\"]");
        await TestHook.IsKnownAsync(cluster.Nodes);
        var owner = await OwnerAsync(cluster);
        var publisher = cluster.Nodes.First(node => node != owner);
        for (var i = 0; i < count; i++)
        {
            if (i == 100)
            {
                await owner.KillAsync();
            }

            if (i == 200)
            {
                await cluster.Redis.KillAsync();
            }

            if (i == 220)
            {
                await cluster.Redis.StartAsync();
            }

            var (status, body) = await publisher.PushAsync("call", $"{i}");
            Assert.True(status is 200 or 202, body);
        }

        var bodies = new List<int>();
        while (bodies.Distinct().Count() < count)
        {
            bodies.Add(int.Parse((await receiver.NextAsync()).Body, CultureInfo.InvariantCulture));
        }

        Assert.Equal(Enumerable.Range(0, count), bodies.Distinct().Order());
        Assert.Equal(Enumerable.Range(0, count), bodies.Distinct());
        TestContext.Current.TestOutputHelper!.WriteLine($"{bodies.Count} posts, {accepted - count} repeats");
    }

    /// <summary>The node that delivers to the webhook there is.</summary>
    private static async Task<NodeProcess> OwnerAsync(Cluster cluster)
    {
        var hook = (await cluster.Nodes[0].GetAsync("/webhooks"))
            .GetProperty("items")[0]
            .GetProperty("id")
            .GetString()!;
        var lane = $"{int.Parse(hook[..1], NumberStyles.HexNumber, CultureInfo.InvariantCulture)}";
        string owner;
        do
        {
            owner = await cluster.Redis.CommandAsync("HGET", "dmb:hooks:owners", lane);
        } while (owner.Length != 12);

        return await FindAsync(cluster, owner);
    }

    /// <summary>The node with an id: the one whose socket's session is at it.</summary>
    private static async Task<NodeProcess> FindAsync(Cluster cluster, string id)
    {
        foreach (var node in cluster.Nodes)
        {
            await using var client = await node.ConnectAsync();
            var sessions = await node.GetAsync("/sessions?limit=500");
            var other = sessions
                .GetProperty("items")
                .EnumerateArray()
                .Select(item => item.GetProperty("node").GetString());
            if (other.Contains(id))
            {
                return node;
            }
        }

        throw new InvalidOperationException($"No node is {id}.");
    }
}
