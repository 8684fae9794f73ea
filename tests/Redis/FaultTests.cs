namespace Dmb.Tests.Redis;

/// <summary>
/// Redis, the way to it, or a node fails while three nodes are published to: what was answered with yes arrives at
/// every listener once, in its publisher's order. Each fault is a row of docs/faults.md.
/// </summary>
[Collection(FaultLane.Name)]
public sealed class FaultTests(FaultTable table)
{
    private const int Second = FaultProof.Second;

    /// <summary>Deletes all keys of a pattern.</summary>
    private const string DeleteAll = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";

    /// <summary>Rooms keep a history, as they do by default.</summary>
    private static readonly (string, string) Kept = ("DMB_HISTORY_SIZE", "100");

    [Fact]
    public async Task Redis_is_killed_and_restarted_without_its_data()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync(
            "Redis killed (SIGKILL), started again 2 s later, nothing saved",
            cluster,
            KillAndRestartAsync
        );
    }

    [Fact]
    public async Task Redis_killed_and_back_with_its_data()
    {
        await using var cluster = await StartAsync("--appendonly", "yes");
        await table.ProveAsync(
            "Redis killed (SIGKILL), started again 2 s later from its append-only file",
            cluster,
            KillAndRestartAsync
        );
    }

    [Fact]
    public async Task Redis_killed_and_back_at_once()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync(
            "Redis killed (SIGKILL) and started again at once, three times",
            cluster,
            KillThreeTimesAsync
        );
    }

    [Fact]
    public async Task Redis_killed_and_back_at_once_without_a_session_in_the_first_room()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync(
            "The same, with no session in the message's first room",
            cluster,
            KillThreeTimesAsync,
            hasFirstRoom: false
        );
    }

    [Fact]
    public async Task Redis_killed_twice_with_its_data_lost()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync(
            "Redis killed (SIGKILL), started again 2 s later, nothing saved, twice",
            cluster,
            async scene =>
            {
                await KillAndRestartAsync(scene);
                await KillAndRestartAsync(scene);
            }
        );
    }

    [Fact]
    public async Task Redis_stopped_for_ten_seconds()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("Redis stopped (SIGSTOP) for 10 s", cluster, async scene =>
        {
            cluster.Redis.Stop();
            var ten = Load.GoOnAsync(TimeSpan.FromSeconds(10));
            await scene.Listeners.BackplaneAsync("down");
            await ten;
            cluster.Redis.Continue();
            await scene.Listeners.BackplaneAsync("up");
        });
    }

    [Fact]
    public async Task Redis_stopped_for_less_than_anybody_notices()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("Redis stopped (SIGSTOP) for 0.8 s, three times", cluster, async scene =>
        {
            for (var i = 0; i < 3; i++)
            {
                cluster.Redis.Stop();
                await Load.GoOnAsync(TimeSpan.FromSeconds(0.8));
                cluster.Redis.Continue();
                await scene.Load.MoreAsync(Second);
            }
        });
    }

    [Fact]
    public async Task Redis_stopped_for_about_as_long_as_a_publish_may_take()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("Redis stopped (SIGSTOP) for 1.2 s, three times", cluster, async scene =>
        {
            for (var i = 0; i < 3; i++)
            {
                cluster.Redis.Stop();
                await Load.GoOnAsync(TimeSpan.FromSeconds(1.2));
                cluster.Redis.Continue();
                await scene.Load.MoreAsync(Second);
            }
        });
    }

    [Fact]
    public async Task Subscribers_killed_by_Redis()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("`CLIENT KILL TYPE pubsub`, five times", cluster, scene =>
            KillClientsAsync(scene, "pubsub")
        );
    }

    [Fact]
    public async Task Publishers_killed_by_Redis()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("`CLIENT KILL TYPE normal`, five times", cluster, scene =>
            KillClientsAsync(scene, "normal")
        );
    }

    [Fact]
    public async Task All_clients_killed_by_Redis()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("`CLIENT KILL` of both types, five times", cluster, scene =>
            KillClientsAsync(scene, "normal", "pubsub")
        );
    }

    [Fact]
    public async Task Redis_started_after_the_nodes()
    {
        await using var cluster = await Cluster.StartAsync(new RedisServer(), withProxy: false, Kept);
        await table.ProveAsync("Redis started 2 s after the nodes", cluster, async scene =>
        {
            await scene.Load.MoreAsync(Second);
            await cluster.Redis.StartAsync();
            scene.Load.Mark("back");
            await scene.Listeners.BackplaneAsync("up");
        });
    }

    [Fact]
    public async Task Password_changed_and_changed_back()
    {
        await using var cluster = await StartAsync("--requirepass", "first");
        await table.ProveAsync("Password changed, changed back 2 s later", cluster, async scene =>
        {
            await cluster.Redis.CommandAsync("CONFIG", "SET", "requirepass", "second");
            cluster.Redis.Password = "second";
            await cluster.Redis.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
            await cluster.Redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
            await scene.Listeners.BackplaneAsync("down");
            await scene.Load.MoreAsync(2 * Second);
            await cluster.Redis.CommandAsync("CONFIG", "SET", "requirepass", "first");
            cluster.Redis.Password = "first";
            await scene.Listeners.BackplaneAsync("up");
        });
    }

    [Fact]
    public async Task Memory_of_Redis_full()
    {
        await using var cluster = await StartAsync("--maxmemory-policy", "noeviction");
        await table.ProveAsync("`maxmemory` reached, by other data, for 3 s", cluster, async scene =>
        {
            await cluster.Redis.CommandAsync("SET", "other", new string('x', 4_000_000));
            await cluster.Redis.CommandAsync("CONFIG", "SET", "maxmemory", "3000000");
            await scene.Load.MoreAsync(3 * Second);
            await Assert.ThrowsAsync<RedisErrorException>(() => cluster.Redis.CommandAsync("SET", "more", "x"));
            await cluster.Redis.CommandAsync("DEL", "other");
            await cluster.Redis.CommandAsync("CONFIG", "SET", "maxmemory", "0");
            await cluster.ReadyAsync();
        });
    }

    [Fact]
    public async Task Memory_of_Redis_full_and_the_subscribers_cut()
    {
        await using var cluster = await StartAsync("--maxmemory-policy", "noeviction");
        await table.ProveAsync(
            "`maxmemory` reached, and `CLIENT KILL TYPE pubsub` meanwhile",
            cluster,
            async scene =>
            {
                await cluster.Redis.CommandAsync("SET", "other", new string('x', 4_000_000));
                await cluster.Redis.CommandAsync("CONFIG", "SET", "maxmemory", "3000000");

                // A node knows that the log lacks messages when its probe has met that.
                await scene.Load.MoreAsync(2 * Second);
                await cluster.Redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
                await scene.Load.MoreAsync(2 * Second);
                await cluster.Redis.CommandAsync("DEL", "other");
                await cluster.Redis.CommandAsync("CONFIG", "SET", "maxmemory", "0");
                await cluster.ReadyAsync();
            },
            mayLose: true
        );
    }

    [Fact]
    public async Task Data_of_Redis_flushed()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("`FLUSHALL` and `SCRIPT FLUSH`, then `CLIENT KILL TYPE pubsub`", cluster, async scene =>
        {
            await cluster.Redis.CommandAsync("FLUSHALL");
            await cluster.Redis.CommandAsync("SCRIPT", "FLUSH");
            await scene.Load.MoreAsync(Second);
            await KillClientsAsync(scene, "pubsub");
        });
    }

    [Fact]
    public async Task Keys_of_Redis_deleted_by_hand()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("`DEL` of the log, the epoch, all positions or histories", cluster, async scene =>
        {
            foreach (var keys in (string[])["dmb:log", "dmb:epoch", "dmb:pos:*", "dmb:history:*"])
            {
                await cluster.Redis.CommandAsync("EVAL", DeleteAll, "0", keys);
                await scene.Load.MoreAsync(Second / 2);
            }
        });
    }

    [Fact]
    public async Task Redis_paused_and_reloaded_by_hand()
    {
        await using var cluster = await StartAsync("--enable-debug-command", "yes");
        await table.ProveAsync("`CLIENT PAUSE` for 3 s, then `DEBUG RELOAD`", cluster, async scene =>
        {
            await cluster.Redis.CommandAsync("CLIENT", "PAUSE", "3000");
            await scene.Listeners.BackplaneAsync("down");
            await scene.Listeners.BackplaneAsync("up");
            await cluster.Redis.CommandAsync("DEBUG", "RELOAD");
            await scene.Load.MoreAsync(Second);
        });
    }

    [Fact]
    public async Task Redis_made_a_replica_by_hand_and_a_master_again()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync(
            "`REPLICAOF` a server that is not there, `REPLICAOF NO ONE` 2 s later",
            cluster,
            async scene =>
            {
                await cluster.Redis.CommandAsync("REPLICAOF", "127.0.0.1", "1");
                await scene.Listeners.BackplaneAsync("down");
                await scene.Load.MoreAsync(2 * Second);
                await cluster.Redis.CommandAsync("REPLICAOF", "NO", "ONE");
                await scene.Listeners.BackplaneAsync("up");
            }
        );
    }

    [Fact]
    public async Task A_node_killed()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync(
            "A node killed (SIGKILL); unanswered: its own publishers",
            cluster,
            async scene =>
            {
                await cluster.Nodes[2].KillAsync();
                await scene.Load.MoreAsync(2 * Second);
            },
            dead: 2
        );
    }

    [Fact]
    public async Task A_node_stopped_for_five_seconds()
    {
        await using var cluster = await Cluster.StartAsync(Kept);
        await table.ProveAsync("A node stopped (SIGSTOP) for 5 s; slowest: its own publishers", cluster, async scene =>
        {
            cluster.Nodes[2].Stop();
            await Load.GoOnAsync(TimeSpan.FromSeconds(5));
            cluster.Nodes[2].Continue();
            await scene.Load.MoreAsync(Second);
        });
    }

    [Fact]
    public async Task A_node_that_reads_too_slowly_is_disconnected_by_Redis()
    {
        await using var cluster = await StartAsync("--client-output-buffer-limit", "pubsub 65536 0 0");
        await table.ProveAsync(
            "A node stopped for 5 s, and cut by Redis for the 64 KiB that waited for it",
            cluster,
            async scene =>
            {
                cluster.Nodes[2].Stop();
                await Load.GoOnAsync(TimeSpan.FromSeconds(5));

                // What waits for it fills the buffers of the system first, however slow the publishers are.
                while (await cluster.Redis.CommandAsync("PUBSUB", "NUMSUB", "dmb:room:calls") != "dmb:room:calls\n2")
                {
                    await scene.Load.MoreAsync(Second / 10);
                }

                cluster.Nodes[2].Continue();
                await scene.Load.MoreAsync(Second);
            },
            padding: 4_000
        );
    }

    [Fact]
    public async Task One_node_s_connections_cut()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections cut, five times", cluster, async scene =>
        {
            for (var i = 0; i < 5; i++)
            {
                cluster.FirstProxy!.Cut();
                await scene.Load.MoreAsync(Second / 2);
            }
        });
    }

    [Fact]
    public async Task One_node_s_connections_cut_far_from_Redis()
    {
        await using var cluster = await StartWithProxyAsync();
        cluster.FirstProxy!.Delay(TimeSpan.FromMilliseconds(25));
        await table.ProveAsync("One node 25 ms from Redis, its connections cut and refused for 3 s", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Refuse())
        );
    }

    [Fact]
    public async Task One_node_s_connections_refused()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections cut and refused for 3 s", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Refuse())
        );
    }

    [Fact]
    public async Task One_node_s_connections_stalled()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections stalled, both ways", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Stall(Way.Both))
        );
    }

    [Fact]
    public async Task One_node_s_way_to_Redis_stalled()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections stalled, towards Redis only", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Stall(Way.ToRedis))
        );
    }

    [Fact]
    public async Task One_node_s_way_from_Redis_stalled()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections stalled, from Redis only", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Stall(Way.FromRedis))
        );
    }

    [Fact]
    public async Task One_node_s_way_to_Redis_half_open()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections half open: what goes to Redis vanishes", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Swallow(Way.ToRedis))
        );
    }

    [Fact]
    public async Task One_node_s_way_from_Redis_half_open()
    {
        await using var cluster = await StartWithProxyAsync();
        await table.ProveAsync("One node's connections half open: what comes from Redis vanishes", cluster, scene =>
            BreakAsync(scene, proxy => proxy.Swallow(Way.FromRedis))
        );
    }

    private static Task<Cluster> StartWithProxyAsync() => StartAsync(withProxy: true);

    private static Task<Cluster> StartAsync(params string[] redisOptions) => StartAsync(withProxy: false, redisOptions);

    private static async Task<Cluster> StartAsync(bool withProxy, params string[] redisOptions)
    {
        return await Cluster.StartReadyAsync(await RedisServer.StartAsync(redisOptions), withProxy, Kept);
    }

    private static async Task KillAndRestartAsync(FaultScene scene)
    {
        await scene.Cluster.Redis.KillAsync();
        await scene.Listeners.BackplaneAsync("down");
        await scene.Load.MoreAsync(2 * Second);
        await scene.Cluster.Redis.StartAsync();
        scene.Load.Mark("back");
        await scene.Listeners.BackplaneAsync("up");
    }

    private static async Task KillThreeTimesAsync(FaultScene scene)
    {
        for (var i = 0; i < 3; i++)
        {
            await scene.Cluster.Redis.KillAsync();
            await scene.Cluster.Redis.StartAsync();
            await scene.Load.MoreAsync(Second);
        }
    }

    private static async Task KillClientsAsync(FaultScene scene, params string[] types)
    {
        for (var i = 0; i < 5; i++)
        {
            foreach (var type in types)
            {
                await scene.Cluster.Redis.CommandAsync("CLIENT", "KILL", "TYPE", type);
            }

            await scene.Load.MoreAsync(Second / 2);
        }
    }

    private static async Task BreakAsync(FaultScene scene, Action<FaultProxy> fault)
    {
        var here = scene.Listeners.On(scene.Cluster.Nodes[0]).ToArray();
        fault(scene.Cluster.FirstProxy!);
        await Task.WhenAll(here.Select(listener => listener.BackplaneAsync("down")));
        await scene.Load.MoreAsync(2 * Second);
        scene.Cluster.FirstProxy!.Heal();
        await Task.WhenAll(here.Select(listener => listener.BackplaneAsync("up")));
    }
}
