using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>
/// Redis fails, as a whole and in part, while three nodes are published to whose rooms are in eight groups. Each
/// message goes to rooms of three groups. Each fault is a row of docs/faults.md.
/// </summary>
[Collection(FaultLane.Name)]
public sealed class GroupFaultTests(FaultTable table)
{
    /// <summary>These rows stand behind those of <see cref="ShardFaultTests"/>.</summary>
    private const int Behind = 30_000;
    private const int Second = FaultProof.Second;
    private const int Groups = 8;

    private static readonly (string, string)[] Settings = [("DMB_HISTORY_SIZE", "100"), ("DMB_GROUPS", $"{Groups}")];

    /// <summary>What the names begin with of the group that has the room <c>domain:a</c>.</summary>
    private static string OneGroup => RedisChannels.PrefixOf(Shards.Prefix, HashSlot.Checksum("domain:a") % Groups);

    [Fact]
    public Task Killed_and_back() =>
        ProveOnOneAsync(1, "Redis killed (SIGKILL), started again 2 s later, nothing saved", async (redis, scene) =>
        {
            await redis.KillAsync();
            await scene.Listeners.BackplaneAsync("down");
            await scene.Load.MoreAsync(2 * Second);
            await redis.StartAsync();
            await scene.Listeners.BackplaneAsync("up");
        });

    [Fact]
    public Task Killed_and_back_at_once() =>
        ProveOnOneAsync(2, "Redis killed (SIGKILL) and started again at once, three times", async (redis, scene) =>
        {
            for (var i = 0; i < 3; i++)
            {
                await redis.KillAsync();
                await redis.StartAsync();
                await scene.Load.MoreAsync(Second);
                await scene.Cluster.ReadyAsync();
            }
        });

    [Fact]
    public Task Stopped() => ProveOnOneAsync(3, "Redis stopped (SIGSTOP) for 4 s", async (redis, scene) =>
        {
            redis.Stop();
            await Load.GoOnAsync(TimeSpan.FromSeconds(4));
            redis.Continue();
            await scene.Listeners.BackplaneAsync("up");
        });

    [Fact]
    public Task Connections_killed() =>
        ProveOnOneAsync(4, "`CLIENT KILL` of both types, five times", async (redis, scene) =>
        {
            for (var i = 0; i < 5; i++)
            {
                await redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
                await redis.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
                await scene.Load.MoreAsync(Second / 2);
            }

            await scene.Listeners.BackplaneAsync("up");
        });

    [Fact]
    public Task Master_of_a_shard_killed() =>
        ProveAsync(5, "the master of one shard killed (SIGKILL), its replica takes over", async (shards, scene) =>
            await scene.KillAsync(await shards.OwnerAsync(OneGroup))
        );

    [Fact]
    public Task Master_of_the_first_group_killed() =>
        ProveAsync(6, "the master of the first group killed (SIGKILL), its replica takes over", async (shards, scene) =>
            await scene.KillAsync(await shards.OwnerAsync())
        );

    [Fact]
    public Task Master_of_a_shard_hung() =>
        ProveAsync(
            7,
            "the master of one shard stopped (SIGSTOP), its replica takes over, the master goes on as replica",
            async (shards, scene) => await scene.HangAsync(await shards.OwnerAsync(OneGroup))
        );

    [Fact]
    public Task Slot_of_a_group_moved() =>
        ProveAsync(8, "the slot of one group moved to another master, and back", async (shards, scene) =>
        {
            var owner = await shards.OwnerAsync(OneGroup);
            await shards.MoveAsync((await shards.OthersAsync(OneGroup))[0], OneGroup);
            await scene.Listeners.BackplaneAsync("down");
            await scene.Listeners.BackplaneAsync("up");
            await scene.Load.MoreAsync(Second);
            await shards.MoveAsync(owner, OneGroup);
            await scene.Load.MoreAsync(Second);
            await scene.Cluster.ReadyAsync();
        });

    [Fact]
    public Task Server_added() =>
        ProveAsync(9, "a master added, and the slots of all groups moved to it", async (shards, scene) =>
        {
            var added = await shards.AddAsync();
            for (var group = 0; group < Groups; group++)
            {
                await shards.MoveAsync(added, RedisChannels.PrefixOf(Shards.Prefix, group));
                await scene.Load.MoreAsync(Second / 4);
            }

            await scene.Cluster.ReadyAsync();
        });

    [Fact]
    public Task Cluster_down() =>
        ProveAsync(10, "two masters killed, so that it is down, and started again", async (shards, scene) =>
        {
            var others = await shards.OthersAsync(OneGroup);
            await Task.WhenAll(others.Select(other => other.KillAsync()));
            await scene.Listeners.BackplaneAsync("down");
            await scene.Load.MoreAsync(2 * Second);
            await Task.WhenAll(others.Select(other => other.StartAsync()));
            await scene.Listeners.BackplaneAsync("up");
        });

    private async Task ProveOnOneAsync(int row, string fault, Func<RedisServer, FaultScene, Task> happenAsync)
    {
        await using var cluster = await Cluster.StartAsync(Settings);
        await table.ProveAsync(
            $"8 groups: {fault}",
            cluster,
            scene => happenAsync(cluster.Redis, scene),
            order: Behind + row,
            groups: Groups
        );
    }

    private async Task ProveAsync(int row, string fault, Func<Shards, FaultScene, Task> happenAsync)
    {
        await using var shards = await Shards.StartAsync();
        await using var cluster = await Cluster.StartReadyAsync(
            new RedisServer(),
            withProxy: false,
            [.. Settings, .. shards.Settings]
        );
        await table.ProveAsync(
            $"Cluster, 8 groups: {fault}",
            cluster,
            scene => happenAsync(shards, scene),
            shards.OwnerAsync,
            order: Behind + row,
            prefix: Shards.Prefix,
            groups: Groups
        );
    }
}
