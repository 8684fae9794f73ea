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

    [Fact]
    public async Task What_a_node_has_read_without_an_answer_of_Redis_is_delivered_when_it_is_connected_again()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var proxy = new FaultProxy(redis.Port);
        await using var node = await StartAsync(proxy.Port);
        await using var publisher = await StartAsync(redis.Port, ("DMB_ROLE", "publish"));
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"call\"]");
        await TestHook.IsKnownAsync([node, publisher]);
        string[] pending = ["XPENDING", $"dmb:hooks:{Convert.ToInt32(hook.Id[..1], 16)}", "dmb"];
        var (last, isHeld) = (0, false);
        while (true)
        {
            await publisher.NotifyAsync("call", $"{last}");
            for (var asked = 0; asked < 200 && last > 0 && !isHeld; asked++)
            {
                isHeld = (await redis.CommandAsync(pending))[0] != '0';
            }

            if (isHeld)
            {
                break;
            }

            // The node had not read, or was about to renew its share.
            proxy.Heal();
            Assert.Equal($"{last}", (await receiver.NextAsync()).Body);
            while ((await redis.CommandAsync(pending))[0] != '0')
            {
                await Task.Yield();
            }

            last++;
            proxy.Stall(Way.FromRedis);
        }

        proxy.Cut();
        proxy.Heal();
        Assert.Equal($"{last}", (await receiver.NextAsync()).Body);
    }

    private static Task<NodeProcess> StartAsync(int port, params (string, string)[] more) =>
        NodeProcess.StartReadyAsync([("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{port}"), .. more]);

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
