namespace Dmb.Tests.Redis;

/// <summary>What nodes in one group on one server share, and what they do when that server was away.</summary>
[Collection(RedisLane.Name)]
public sealed class SharedStateTests(SharedCluster shared) : SharedStateSpec(shared)
{
    [Theory]
    [InlineData("1")]
    [InlineData("8")]
    public async Task An_event_registered_while_Redis_is_away_is_known_to_all_when_it_is_back(string groups)
    {
        await using var cluster = await Cluster.StartAsync([.. NodeProcess.Patient, ("DMB_GROUPS", groups)]);
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
}
