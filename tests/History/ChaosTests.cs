using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Dmb.Redis;
using Dmb.Tests.Redis;

namespace Dmb.Tests.History;

/// <summary>
/// Clients that come and go at random while a thousand messages a second flow and something fails: what history reaches
/// is with each of them once, and what it does not reach each of them is told. Each test is a row of docs/resume.md.
/// </summary>
[Collection(HistoryLane.Name)]
public sealed class ChaosTests(ChaosTable table) : IClassFixture<ChaosTable>
{
    private const int PerSecond = 1_000;
    private const int Clients = 12;
    private const string Room = "calls";

    /// <summary>Where rooms are in groups; each message also goes to rooms of other groups then.</summary>
    private const string Groups = "8 groups: ";
    private const string ShardedGroups = "Cluster, 8 groups: ";

    /// <summary>Where sentinels watch a master and its replica; rooms are in one group.</summary>
    private const string Sentinel = "Sentinel: ";

    /// <summary>In the order of the table's rows.</summary>
    private static readonly string[] Topologies = ["", Sentinel, Groups, ShardedGroups];

    private static readonly (string, string)[] Long = [("DMB_HISTORY_SIZE", "10000"), ("DMB_HISTORY_TTL", "600")];

    private static int Seed =>
        int.Parse(Environment.GetEnvironmentVariable("CHAOS_SEED") ?? "1", CultureInfo.InvariantCulture);

    [Fact]
    public async Task Clients_come_and_go()
    {
        await using var cluster = await Cluster.StartAsync(Long);
        await ProveAsync("nothing else", cluster, async scene => await scene.Load.MoreAsync(4 * PerSecond));
    }

    [Theory]
    [InlineData("")]
    [InlineData(Sentinel)]
    [InlineData(Groups)]
    [InlineData(ShardedGroups)]
    public async Task A_node_is_killed_and_one_is_drained(string topology)
    {
        await using var shards = topology == ShardedGroups ? await Shards.StartAsync() : null;
        await using var sentinels = topology == Sentinel ? await Sentinels.StartAsync() : null;
        await using var cluster =
            sentinels is null && shards is null
                ? await Cluster.StartAsync(SettingsOf(topology))
                : await StartAsync(topology, shards?.Settings ?? [("REDIS_URL", sentinels!.Url)]);
        await ProveAsync(
            "a node killed (SIGKILL), another one stopped (SIGTERM), both started again",
            cluster,
            async scene =>
            {
                await scene.Load.MoreAsync(PerSecond);
                scene.Leave(cluster.Nodes[1]);
                await cluster.Nodes[1].KillAsync();
                await scene.Load.MoreAsync(PerSecond);
                scene.Leave(cluster.Nodes[2]);
                Assert.Equal(0, await cluster.Nodes[2].TerminateAsync());
                await scene.Load.MoreAsync(PerSecond / 2);
                for (var i = 0; i < 2; i++)
                {
                    var node = await cluster.StartNodeAsync();
                    await node.BecomesAsync("ready");
                    cluster.Nodes.Add(node);
                    scene.Enter(node);
                }

                await scene.Load.MoreAsync(PerSecond / 2);
            },
            topology
        );
    }

    [Theory]
    [InlineData("")]
    [InlineData(Groups)]
    public async Task Redis_is_killed_and_comes_back_with_its_data(string topology)
    {
        await using var cluster = await Cluster.StartReadyAsync(
            await RedisServer.StartAsync("--appendonly", "yes", "--appendfsync", "always"),
            withProxy: false,
            SettingsOf(topology)
        );
        await ProveAsync(
            "Redis killed (SIGKILL), started again from its append-only file",
            cluster,
            KillRedisAsync,
            topology
        );
    }

    [Fact]
    public async Task Redis_is_killed_and_comes_back_with_nothing()
    {
        await using var cluster = await Cluster.StartAsync(Long);
        await ProveAsync(
            "Redis killed (SIGKILL), started again with nothing saved",
            cluster,
            KillRedisAsync,
            isCountLost: true
        );
    }

    [Fact]
    public async Task A_master_is_killed_and_sentinels_have_its_replica_take_over()
    {
        await using var sentinels = await Sentinels.StartAsync();
        await using var cluster = await StartAsync(Sentinel, ("REDIS_URL", sentinels.Url));
        await ProveAsync(
            "the master killed (SIGKILL), its replica takes over",
            cluster,
            scene => KillMasterAsync(scene, sentinels.Master),
            Sentinel
        );
    }

    [Fact]
    public async Task A_master_is_killed_whose_replica_lacks_the_last_messages()
    {
        await using var sentinels = await Sentinels.StartAsync();
        await using var cluster = await StartAsync(Sentinel, ("REDIS_URL", sentinels.Url));
        await ProveAsync(
            "the master killed (SIGKILL), its replica, cut off from it for a second before, takes over",
            cluster,
            scene => KillMasterAsync(scene, sentinels.Master, isCutOff: true),
            Sentinel,
            isCountLost: true
        );
    }

    [Fact]
    public async Task A_master_of_a_cluster_is_killed_and_its_replica_takes_over()
    {
        await using var shards = await Shards.StartAsync();
        await using var cluster = await StartAsync(ShardedGroups, shards.Settings);
        var group = RedisChannels.PrefixOf(Shards.Prefix, HashSlot.Checksum(Room) % 8);
        await ProveAsync(
            "the master of the room's shard killed (SIGKILL), its replica takes over",
            cluster,
            async scene => await KillMasterAsync(scene, await shards.OwnerAsync(group)),
            ShardedGroups
        );
    }

    [Fact]
    public async Task A_history_of_a_hundred_messages_does_not_reach_far()
    {
        await using var cluster = await Cluster.StartAsync(("DMB_HISTORY_SIZE", "100"));
        await ProveAsync("a history of 100 messages", cluster, async scene =>
            await scene.Load.MoreAsync(4 * PerSecond)
        );
    }

    private static bool IsInGroups(string topology) => topology is Groups or ShardedGroups;

    private static (string, string)[] SettingsOf(string topology) =>
        IsInGroups(topology) ? [.. Long, ("DMB_GROUPS", "8")] : Long;

    /// <summary>Three nodes that find their Redis by these settings.</summary>
    private static Task<Cluster> StartAsync(string topology, params (string, string)[] settings) =>
        Cluster.StartReadyAsync(new RedisServer(), withProxy: false, [.. SettingsOf(topology), .. settings]);

    /// <summary>Kills a master whose replica has all that it acknowledged, unless it is to lack the last second.</summary>
    private static async Task KillMasterAsync(Scene scene, RedisServer master, bool isCutOff = false)
    {
        using (var client = await master.OpenAsync())
        {
            if (isCutOff)
            {
                // The replica has no password, and is not let in again.
                await client.CommandAsync("CONFIG", "SET", "requirepass", "unknown");
                await client.CommandAsync("CLIENT", "KILL", "TYPE", "replica");
            }

            await scene.Load.MoreAsync(PerSecond);
            if (!isCutOff)
            {
                await client.CommandAsync("CLIENT", "PAUSE", "60000", "WRITE");
                var info = await client.CommandAsync("INFO", "replication");
                var port = int.Parse(
                    info.Split("slave0:")[1].Split("port=")[1].Split(',')[0],
                    CultureInfo.InvariantCulture
                );
                using var replica = await RedisClient.ConnectAsync(port);
                while (OffsetIn(await replica.CommandAsync("INFO", "replication")) < OffsetIn(info)) { }
            }

            await master.KillAsync();
        }

        await Task.WhenAll(scene.Cluster.Nodes.Select(node => node.BecomesAsync("degraded")));
        await scene.Cluster.ReadyAsync();
        await scene.Load.MoreAsync(PerSecond);

        static long OffsetIn(string info) =>
            long.Parse(info.Split("master_repl_offset:")[1].Split('\r')[0], CultureInfo.InvariantCulture);
    }

    private static async Task KillRedisAsync(Scene scene)
    {
        await scene.Load.MoreAsync(PerSecond);
        await scene.Cluster.Redis.KillAsync();
        await scene.Load.MoreAsync(PerSecond / 2);
        await scene.Cluster.Redis.StartAsync();
        await scene.Cluster.ReadyAsync();
        await scene.Load.MoreAsync(2 * PerSecond);
    }

    private async Task ProveAsync(
        string happens,
        Cluster cluster,
        Func<Scene, Task> happenAsync,
        string topology = "",
        bool isCountLost = false,
        [CallerLineNumber] int order = 0
    )
    {
        foreach (var node in cluster.Nodes)
        {
            await node.WarmUpAsync();
        }

        var nodes = new ConcurrentDictionary<NodeProcess, bool>(
            cluster.Nodes.Select(node => KeyValuePair.Create(node, true))
        );
        await using var load = Load.Start(
            cluster.Nodes,
            PerSecond,
            padding: 0,
            IsInGroups(topology) ? ["number:1", "domain:a"] : []
        );
        ResumingClient[] clients =
        [
            .. Enumerable
                .Range(0, Clients)
                .Select(i => new ResumingClient((Seed * 1_000) + i, Room, nodes, load.Publishers)),
        ];
        await load.MoreAsync(PerSecond / 2);
        await Task.WhenAll(clients.Select(client => Task.WhenAny(client.Placed, client.Running)))
            .WaitAsync(Node.Patience);
        await happenAsync(new Scene(cluster, load, nodes));
        await load.StopAsync();

        // Behind all others in the room, so that whoever has it has had all that it gets.
        await Task.WhenAll(nodes.Keys.Select(node => node.BecomesAsync("ready")));
        var (_, answer) = await nodes.Keys.First().PushAsync("call", """{"last":true}""");
        Assert.Contains("\"ok\":true", answer, StringComparison.Ordinal);
        Array.ForEach(clients, client => client.Stay());
        await Task.WhenAll(clients.Select(client => client.Running)).WaitAsync(Node.Patience);

        var answers = load.Answers;
        var rows = clients.Select(client => Count(client, answers)).ToArray();
        var sum = rows.Aggregate((one, other) => one + other);
        table.Add((Array.IndexOf(Topologies, topology), order), topology + happens, answers.Length, sum);
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', cluster.Nodes.SelectMany(node => node.Log)));
        Assert.All(rows, row =>
            Assert.True(
                row.Doubled == 0
                    && (isCountLost ? row.ToldUnknown > 0 : row.ToldUnknown == 0)
                    && ((row.OutOfOrder == 0 && row.Lost == row.ToldLost) || isCountLost),
                $"seed {Seed}: {row}\n{row.Evidence}"
            )
        );
        Assert.True(
            isCountLost || sum.ToldLost == 0 || happens.Contains("100", StringComparison.Ordinal),
            $"seed {Seed}: {sum}"
        );
    }

    /// <summary>
    /// What became of a client: of what was published after its first message, and answered with yes, all is expected.
    /// </summary>
    private static ChaosRow Count(ResumingClient client, Answer[] answers)
    {
        var first = client
            .Received.GroupBy(message => message.Publisher)
            .ToDictionary(group => group.Key, group => group.Min(message => message.Number));
        var received = client.Received.ToHashSet();
        var lost = answers
            .Where(answer =>
                answer.IsTaken
                && first.TryGetValue(answer.Message.Publisher, out var number)
                && answer.Message.Number > number
                && !received.Contains(answer.Message)
            )
            .ToArray();
        var outOfOrder = 0;
        foreach (var numbers in client.Received.GroupBy(message => message.Publisher, message => message.Number))
        {
            var latest = -1;
            foreach (var number in numbers)
            {
                outOfOrder += number < latest ? 1 : 0;
                latest = Math.Max(latest, number);
            }
        }

        return new ChaosRow(
            client.Resumed,
            client.Received.Count,
            lost.Length,
            client.Received.Count - received.Count,
            outOfOrder,
            client.Dropped,
            client.ToldLost,
            client.ToldUnknown,
            string.Join('\n', [.. lost.Take(5).Select(answer => answer.ToString()), .. client.Log])
        );
    }

    /// <summary>What a chaos happens to.</summary>
    private sealed record Scene(Cluster Cluster, Load Load, ConcurrentDictionary<NodeProcess, bool> Nodes)
    {
        public void Leave(NodeProcess node) => Nodes.TryRemove(node, out _);

        public void Enter(NodeProcess node) => Nodes[node] = true;
    }
}

/// <summary>What was counted of one client, or of several.</summary>
public sealed record ChaosRow(
    int Resumed,
    int Received,
    int Lost,
    int Doubled,
    int OutOfOrder,
    int Dropped,
    long ToldLost,
    int ToldUnknown,
    string Evidence
)
{
    public static ChaosRow operator +(ChaosRow one, ChaosRow other) =>
        new(
            one.Resumed + other.Resumed,
            one.Received + other.Received,
            one.Lost + other.Lost,
            one.Doubled + other.Doubled,
            one.OutOfOrder + other.OutOfOrder,
            one.Dropped + other.Dropped,
            one.ToldLost + other.ToldLost,
            one.ToldUnknown + other.ToldUnknown,
            ""
        );
}

/// <summary>The table of docs/resume.md, written anew from what the tests counted when UPDATE_CHAOS=1.</summary>
public sealed class ChaosTable : IDisposable
{
    private const string Start = "<!-- chaos -->\n";
    private const string End = "<!-- /chaos -->";
    private const string Head = """
        | meanwhile | sent | resumed | received | lost | told lost | told that nobody knows | doubled | out of order | came again, dropped |
        |---|---|---|---|---|---|---|---|---|---|

        """;

    private readonly ConcurrentDictionary<(int Topology, int Order), string> _rows = [];

    public void Add((int Topology, int Order) order, string happens, int sent, ChaosRow row) =>
        _rows[order] = string.Create(
            CultureInfo.InvariantCulture,
            $"| {happens} | {sent} | {row.Resumed} | {row.Received} | {row.Lost} | {row.ToldLost} | "
                + $"{row.ToldUnknown} | {row.Doubled} | {row.OutOfOrder} | {row.Dropped} |\n"
        );

    public void Dispose()
    {
        if (Environment.GetEnvironmentVariable("UPDATE_CHAOS") != "1")
        {
            return;
        }

        var path = Path.Combine(Repository.Root, "docs", "resume.md");
        var text = File.ReadAllText(path);
        var (start, end) = (
            text.IndexOf(Start, StringComparison.Ordinal) + Start.Length,
            text.IndexOf(End, StringComparison.Ordinal)
        );
        var table = new StringBuilder(Head).AppendJoin("", _rows.OrderBy(row => row.Key).Select(row => row.Value));
        File.WriteAllText(path, text[..start] + table + text[end..]);
    }
}
