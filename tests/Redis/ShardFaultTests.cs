namespace Dmb.Tests.Redis;

/// <summary>
/// A Redis Cluster changes while three nodes are published to, whose keys are in one of its slots. Each fault is a row
/// of docs/faults.md.
/// </summary>
[Collection(FaultLane.Name)]
public sealed class ShardFaultTests(FaultTable table)
{
    /// <summary>These rows stand behind those of <see cref="SentinelFaultTests"/>.</summary>
    private const int Behind = 20_000;
    private const int Second = FaultProof.Second;

    [Fact]
    public Task Master_killed() =>
        ProveAsync(1, "Cluster: the slot's master killed (SIGKILL), its replica takes over", async (shards, scene) =>
            await scene.KillAsync(await shards.OwnerAsync())
        );

    [Fact]
    public Task Master_hung() =>
        ProveAsync(
            2,
            "Cluster: the slot's master stopped (SIGSTOP), its replica takes over, the master goes on as replica",
            async (shards, scene) => await scene.HangAsync(await shards.OwnerAsync())
        );

    [Fact]
    public Task Slot_moved() => ProveAsync(3, "Cluster: the slot moved to another master", async (shards, scene) =>
        {
            await shards.MoveAsync((await shards.OthersAsync())[0]);
            await scene.Listeners.BackplaneAsync("down");
            await scene.Listeners.BackplaneAsync("up");
        });

    [Fact]
    public Task Server_added() =>
        ProveAsync(4, "Cluster: a master added, and the slot moved to it", async (shards, scene) =>
        {
            var added = await shards.AddAsync();
            await scene.Load.MoreAsync(Second);
            await shards.MoveAsync(added);
            await scene.Listeners.BackplaneAsync("down");
            await scene.Listeners.BackplaneAsync("up");
        });

    [Fact]
    public Task Cluster_down() =>
        ProveAsync(
            5,
            "Cluster: the two other masters killed, so that it is down, and started again",
            async (shards, scene) =>
            {
                var others = await shards.OthersAsync();
                await Task.WhenAll(others.Select(other => other.KillAsync()));
                await scene.Listeners.BackplaneAsync("down");
                await scene
                    .Cluster.Nodes[0]
                    .BecomesAsync("degraded", "the cluster is down: Redis answered CLUSTERDOWN");
                await Task.WhenAll(others.Select(other => other.StartAsync()));
                await scene.Listeners.BackplaneAsync("up");
            }
        );

    private async Task ProveAsync(int row, string fault, Func<Shards, FaultScene, Task> happenAsync)
    {
        await using var shards = await Shards.StartAsync();
        await using var cluster = await Cluster.StartReadyAsync(
            new RedisServer(),
            withProxy: false,
            [("DMB_HISTORY_SIZE", "100"), ("DMB_GROUPS", "1"), .. shards.Settings]
        );
        await table.ProveAsync(
            fault,
            cluster,
            scene => happenAsync(shards, scene),
            shards.OwnerAsync,
            order: Behind + row,
            prefix: Shards.Prefix,
            groups: 1
        );
    }
}
