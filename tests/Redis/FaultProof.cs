using System.Globalization;
using System.Runtime.CompilerServices;
using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>What a fault happens to.</summary>
public sealed record FaultScene(Cluster Cluster, Listeners Listeners, Load Load)
{
    /// <summary>A master is killed, and its replica takes over.</summary>
    public async Task KillAsync(RedisServer master)
    {
        await master.KillAsync();
        await Listeners.BackplaneAsync("down");
        await Listeners.BackplaneAsync("up");
    }

    /// <summary>A master hangs until its replica has taken over, and goes on as a replica.</summary>
    public async Task HangAsync(RedisServer master)
    {
        master.Stop();
        await Listeners.BackplaneAsync("down");
        await Listeners.BackplaneAsync("up");
        await Load.MoreAsync(FaultProof.Second);
        master.Continue();
        await master.LineAsync("MASTER <-> REPLICA sync: Finished with success");
    }
}

/// <summary>What all tests of faults prove: what was answered with yes arrives once, in order.</summary>
public static class FaultProof
{
    /// <summary>Messages a second, about.</summary>
    public const int Second = 300;

    /// <summary>
    /// Has a fault happen while three nodes are published to, counts what arrived, and adds its row to the table.
    /// </summary>
    public static async Task ProveAsync(
        this FaultTable table,
        string fault,
        Cluster cluster,
        Func<FaultScene, Task> happenAsync,
        Func<string, Task<RedisServer>>? endsOn = null,
        int? dead = null,
        bool mayLose = false,
        int padding = 0,
        bool hasFirstRoom = true,
        string prefix = "dmb:",
        int? groups = null,
        [CallerLineNumber] int order = 0
    )
    {
        string[][] joined = hasFirstRoom
            ?
            [
                ["calls"],
                ["number:1"],
                ["calls", "number:1", "domain:a"],
            ]
            :
            [
                ["number:1"],
                ["domain:a"],
                ["number:1", "domain:a"],
            ];
        await using var listeners = await Listeners.JoinAsync(cluster.Nodes, joined);
        foreach (var node in cluster.Nodes)
        {
            await node.WarmUpAsync();
        }

        await using var load = Load.Start(cluster.Nodes, Second, padding, "number:1", "domain:a");
        await load.MoreAsync(Second / 2);
        load.Mark("fault");
        await happenAsync(new FaultScene(cluster, listeners, load));
        load.Mark("over");
        await load.MoreAsync(Second / 2);
        await load.StopAsync();

        var deadNode = dead is { } index ? cluster.Nodes[index] : null;
        if (deadNode is null)
        {
            await cluster.ReadyAsync();
        }

        var tally = await Tally.CountAsync(load, [.. listeners.All.Where(listener => listener.Node != deadNode)]);
        var keptTwice = await KeptTwiceAsync(
            endsOn ?? (_ => Task.FromResult(cluster.Redis)),
            prefix,
            groups ?? NodeProcess.Groups
        );
        table.Add(order, fault, tally, keptTwice);
        var logs = cluster.Nodes.Select(node => $"{node.Url}\n{string.Join('\n', node.Log)}");
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{FaultTable.Columns}\n{tally.Cells}\n{tally.Evidence}\n{string.Join('\n', logs)}"
        );
        var isSaid =
            mayLose
            && cluster.Nodes.Any(node => node.Log.Any(line => line.Contains("may be lost", StringComparison.Ordinal)));
        Assert.True(
            tally is { Doubled: 0, Refused: 0 }
                && (tally is { Lost: 0, OutOfOrder: 0 } || isSaid)
                && (tally.Unanswered == 0 || deadNode is not null),
            $"{FaultTable.Columns}\n{tally.Cells}\n{tally.Evidence}"
        );
        Assert.Equal(0, keptTwice);
    }

    /// <summary>Entries of the rooms' histories whose message has an entry there already.</summary>
    private static async Task<int> KeptTwiceAsync(Func<string, Task<RedisServer>> serverOf, string prefix, int groups)
    {
        const string Script = """
            local ids, twice = {}, 0
            for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
              local id = entry[2][4]
              twice = twice + (ids[id] and 1 or 0)
              ids[id] = true
            end
            return tostring(#redis.call('XRANGE', KEYS[1], '-', '+')) .. ' ' .. twice
            """;
        var sum = 0;
        foreach (var room in (string[])["calls", "number:1", "domain:a"])
        {
            var group = RedisChannels.PrefixOf(prefix, HashSlot.Checksum(room) % groups);
            var redis = await serverOf(group);
            var counted = (await redis.CommandAsync("EVAL", Script, "1", $"{group}history:{room}")).Split(' ');
            Assert.NotEqual("0", counted[0]);
            sum += int.Parse(counted[1], CultureInfo.InvariantCulture);
        }

        return sum;
    }
}
