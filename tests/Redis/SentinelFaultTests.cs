namespace Dmb.Tests.Redis;

/// <summary>
/// A master that three sentinels watch goes away while three nodes are published to; its replica takes over. Each fault
/// is a row of docs/faults.md.
/// </summary>
[Collection(FaultLane.Name)]
public sealed class SentinelFaultTests(FaultTable table)
{
    /// <summary>These rows stand behind those of <see cref="FaultTests"/>.</summary>
    private const int Behind = 10_000;
    private const int Second = FaultProof.Second;

    [Fact]
    public Task Master_killed() =>
        ProveAsync(1, "Sentinel: the master killed (SIGKILL), its replica takes over", async (sentinels, scene) =>
            await scene.KillAsync(sentinels.Master)
        );

    [Fact]
    public Task Master_hung() =>
        ProveAsync(
            2,
            "Sentinel: the master stopped (SIGSTOP), its replica takes over, the master goes on as replica",
            async (sentinels, scene) => await scene.HangAsync(sentinels.Master)
        );

    [Fact]
    public Task Failover_by_command() => ProveAsync(3, "Sentinel: `SENTINEL FAILOVER`", async (sentinels, scene) =>
        {
            await Sentinels.CommandAsync(sentinels.Ports[0], "SENTINEL", "FAILOVER", Sentinels.Name);
            await scene.Listeners.BackplaneAsync("down");
            await scene.Listeners.BackplaneAsync("up");
        });

    [Fact]
    public Task Master_killed_with_a_sentinel() =>
        ProveAsync(4, "Sentinel: the master and the sentinel that is asked first killed", async (sentinels, scene) =>
        {
            await sentinels.KillAsync(0);
            await scene.KillAsync(sentinels.Master);
        });

    private async Task ProveAsync(int row, string fault, Func<Sentinels, FaultScene, Task> happenAsync)
    {
        await using var sentinels = await Sentinels.StartAsync();
        await using var cluster = await Cluster.StartReadyAsync(
            new RedisServer(),
            withProxy: false,
            ("DMB_HISTORY_SIZE", "100"),
            ("REDIS_URL", sentinels.Url)
        );
        await table.ProveAsync(
            fault,
            cluster,
            scene => happenAsync(sentinels, scene),
            _ => Task.FromResult(sentinels.Replica),
            order: Behind + row
        );
    }
}
