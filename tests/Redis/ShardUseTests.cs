using Dmb.Tests.Webhooks;

namespace Dmb.Tests.Redis;

/// <summary>
/// What nodes on a Redis Cluster do besides publishing, how they log in, and what they make of a broken one.
/// </summary>
[Collection(RedisLane.Name)]
public sealed class ShardUseTests
{
    [Fact]
    public async Task A_webhook_gets_the_messages_of_all_nodes_in_order_though_the_slot_s_master_dies()
    {
        await using var shards = await Shards.StartAsync();
        await using var cluster = await StartNodesAsync(shards);
        await using var receiver = await Receiver.StartAsync();
        await TestHook.RegisterAsync(cluster.Nodes[0].Http, receiver.Url, "\"events\":[\"call\"]");
        await TestHook.IsKnownAsync(cluster.Nodes);
        for (var i = 0; i < 30; i++)
        {
            await cluster.Nodes[i % 3].NotifyAsync("call", $"{i}");
        }

        Assert.Equal(Enumerable.Range(0, 30).Select(i => $"{i}"), await receiver.NextAsync(30));

        await (await shards.OwnerAsync()).KillAsync();
        await cluster.Nodes[0].BecomesAsync("degraded");
        Assert.Equal(202, (await cluster.Nodes[0].PushAsync("call", "30")).Status);
        await cluster.ReadyAsync();
        await cluster.Nodes[0].NotifyAsync("call", "31");

        // That a message was delivered may not have reached the replica, which then has it delivered again.
        var bodies = new List<string>();
        do
        {
            bodies.Add((await receiver.NextAsync()).Body);
        } while (bodies[^1] != "31");

        Assert.Equal(["30", "31"], bodies.Where(body => int.Parse(body) >= 30).Distinct());
    }

    [Fact]
    public async Task A_cluster_over_TLS_is_reached_by_the_names_that_its_servers_announce()
    {
        var directory = Directory.CreateTempSubdirectory("dmb-tls");
        try
        {
            var files = Certificates.Write(directory.FullName);
            var ports = new List<int>();
            await using var shards = await Shards.StartAsync(() =>
            {
                ports.Add(RedisServer.FreePort());
                return
                [
                    .. Certificates.ForRedis(ports[^1], files),
                    "--tls-cluster",
                    "yes",
                    "--tls-replication",
                    "yes",
                    "--cluster-announce-hostname",
                    "localhost",
                ];
            });
            (string, string)[] settings =
            [
                ("REDIS_URL", $"rediss://localhost:{ports[0]},localhost:{ports[1]}?cluster=true"),
                ("DMB_PREFIX", Shards.Prefix),
            ];
            await using var one = await NodeProcess.StartReadyAsync([.. settings, ("SSL_CERT_FILE", files.Authority)]);
            await using var two = await NodeProcess.StartReadyAsync([.. settings, ("SSL_CERT_FILE", files.Authority)]);
            await using var client = await two.JoinAsync("calls");
            await client.GetsAsync("call", "1", await one.NotifyAsync("call", "1"));

            await using var stranger = await NodeProcess.StartAsync(settings);
            await stranger.BecomesAsync("degraded", "no server of the cluster names a master: ");
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("1")]
    [InlineData("0", "~{dmb.g*", "&{dmb.g*", "+spublish", "+ssubscribe", "+sunsubscribe", "+pubsub|shardnumsub")]
    public async Task A_user_of_an_ACL_with_the_commands_of_the_docs_is_refused_nothing(
        string groups,
        params string[] more
    )
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs/operations.md"));
        var rule = page.Split("<!-- redis-acl -->")[1].Split('\n').Single(line => line.StartsWith("user dmb "));
        string[] words =
        [
            .. rule.Replace("dmb:", Shards.Prefix, StringComparison.Ordinal).Split(' ')[1..],
            "+cluster|nodes",
            .. more,
        ];
        Assert.All(more, word => Assert.Contains(word, page, StringComparison.Ordinal));
        await using var shards = await Shards.StartAsync();
        foreach (var server in shards.Servers)
        {
            await server.CommandAsync(["ACL", "SETUSER", .. words]);
        }

        await using var node = await NodeProcess.StartReadyAsync([
            ("REDIS_URL", shards.Settings[0].Value.Replace("redis://", "redis://dmb:password@")),
            ("DMB_PREFIX", Shards.Prefix),
            ("DMB_GROUPS", groups),
            .. NodeProcess.Patient,
        ]);
        await using var client = await node.JoinAsync("n:1");
        await node.NotifyAsync("call", """{"_in":["n:1","n:2"]}""");
        await client.ReadAsync();
        await shards.Servers[1].CommandAsync("PUBLISH", "{dmb}:notify:call", """{"_in":"n:1"}""");
        await client.ReadAsync();
        await client.AckAsync("subscribe", """{"room":"n:1","since":"a:1"}""");
        using var registering = new StringContent("""{"name":"billing"}""");
        using var registered = await node.Http.PostAsync(new Uri(node.Url, "/register/backend"), registering);
        Assert.True(registered.IsSuccessStatusCode, await registered.Content.ReadAsStringAsync());
        await node.BecomesAsync("ready");
        foreach (var server in shards.Servers)
        {
            Assert.Equal("", await server.CommandAsync("ACL", "LOG"));
        }
    }

    [Fact]
    public async Task A_slot_that_two_servers_each_say_the_other_has_is_waited_for_without_a_storm()
    {
        await using var shards = await Shards.StartAsync();
        var owner = await shards.OwnerAsync();
        var other = (await shards.OthersAsync())[0];
        var slot = await owner.CommandAsync("CLUSTER", "KEYSLOT", Shards.Prefix);
        await owner.CommandAsync("CLUSTER", "SETSLOT", slot, "NODE", await other.CommandAsync("CLUSTER", "MYID"));
        foreach (var server in (RedisServer[])[owner, other])
        {
            var moved = await Assert.ThrowsAsync<RedisErrorException>(() => server.CommandAsync("GET", Shards.Prefix));
            Assert.StartsWith("MOVED ", moved.Message, StringComparison.Ordinal);
        }

        // Where the servers find out, the slot is served by none: CLUSTERDOWN.
        await using var node = await NodeProcess.StartAsync([.. shards.Settings]);
        await node.BecomesAsync("degraded", ": Redis answered ");
        await using var client = await node.JoinAsync("calls");
        var before = await ConnectionsAsync();
        for (var i = 0; i < 200; i++)
        {
            Assert.Equal(202, (await node.PushAsync("call", $"{i}")).Status);
        }

        // A connection is tried again after a pause, not for each publish.
        Assert.InRange(await ConnectionsAsync() - before, 0, 100);

        await owner.CommandAsync("CLUSTER", "SETSLOT", slot, "NODE", await owner.CommandAsync("CLUSTER", "MYID"));
        await node.BecomesAsync("ready");
        for (var i = 0; i < 200; i++)
        {
            Assert.Contains($"\"data\":{i},", await client.ReadAsync(), StringComparison.Ordinal);
        }

        async Task<int> ConnectionsAsync() =>
            (await owner.CommandAsync("INFO", "stats"))
                .Split('\n')
                .Where(line => line.StartsWith("total_connections_received:", StringComparison.Ordinal))
                .Select(line => int.Parse(line.Split(':')[1]))
                .Single();
    }

    private static Task<Cluster> StartNodesAsync(Shards shards) =>
        Cluster.StartReadyAsync(new RedisServer(), withProxy: false, shards.Settings);
}
