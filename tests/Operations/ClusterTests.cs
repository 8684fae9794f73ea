using System.Text.Json;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Operations;

/// <summary>The operator's API on three nodes on one server, and on nodes that go away.</summary>
[Collection(RedisLane.Name)]
public sealed class ClusterTests(SharedCluster shared) : OperatorSpec(shared)
{
    [Fact]
    public async Task A_node_that_stops_is_missing_nowhere_and_one_that_is_killed_is_named()
    {
        await using var cluster = await Cluster.StartAsync(NodeProcess.Patient);
        Assert.Equal(0, await cluster.Nodes[2].TerminateAsync());
        var nodes = await cluster.Nodes[0].GetAsync("/nodes");
        Assert.Equal(2, Items(nodes).Length);
        Assert.Empty(nodes.GetProperty("missing").EnumerateArray());

        var dead = Items(nodes).Select(item => Text(item, "id")).ToHashSet();
        await cluster.Nodes[1].KillAsync();
        nodes = await cluster.Nodes[0].GetAsync("/nodes");
        dead.ExceptWith(Items(nodes).Select(item => Text(item, "id")));
        Assert.Equal(dead, nodes.GetProperty("missing").EnumerateArray().Select(id => id.GetString()!).ToHashSet());
        Assert.Single(dead);
    }

    [Fact]
    public async Task A_node_that_hangs_is_named_and_the_others_answer()
    {
        await using var cluster = await Cluster.StartAsync();
        var hanging = cluster.Nodes[2];
        await using var client = await cluster.Nodes[1].JoinAsync("operator:there");
        var all = Items(await hanging.GetAsync("/nodes")).Select(item => Text(item, "id")).ToArray();
        hanging.Stop();
        try
        {
            var nodes = await cluster.Nodes[0].GetAsync("/nodes");
            var answered = Items(nodes).Select(item => Text(item, "id"));
            Assert.Equal(
                all.Except(answered),
                nodes.GetProperty("missing").EnumerateArray().Select(id => id.GetString())
            );
            Assert.Equal(2, Items(nodes).Length);
            Assert.Single(Items(await cluster.Nodes[0].GetAsync("/sessions?room=operator:there")));
            var lines = await StreamAsync(cluster.Nodes[0], "/sessions?room=operator:there");
            Assert.Equal(2, lines.Length);
            Assert.Equal(
                all.Except(answered),
                JsonElement.Parse(lines[1]).GetProperty("missing").EnumerateArray().Select(id => id.GetString())
            );
        }
        finally
        {
            hanging.Continue();
        }
    }
}
