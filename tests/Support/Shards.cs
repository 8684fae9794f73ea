using System.Globalization;
using System.Net.Sockets;

namespace Dmb.Tests.Support;

/// <summary>A Redis Cluster of three masters with a replica each.</summary>
public sealed class Shards : IAsyncDisposable
{
    /// <summary>What all keys of the nodes begin with.</summary>
    public const string Prefix = "{dmb}:";

    private const int Masters = 3;
    private const string Synced = "MASTER <-> REPLICA sync: Finished with success";

    private readonly List<RedisServer> _servers = [];

    private Shards() { }

    /// <summary>All servers, those that were added too.</summary>
    public IReadOnlyList<RedisServer> Servers => _servers;

    /// <summary>What nodes are set to: three of the servers.</summary>
    public (string Name, string Value)[] Settings =>
        [
            ("REDIS_URL", $"redis://{string.Join(',', _servers.Take(Masters).Select(Address))}?cluster=true"),
            ("DMB_PREFIX", Prefix),
        ];

    /// <summary>Starts it, and waits until every server says that it is up and every replica has its data.</summary>
    /// <param name="options">Gives each server further options, as on redis-server's command line.</param>
    public static async Task<Shards> StartAsync(Func<string[]>? options = null)
    {
        var shards = new Shards();
        try
        {
            shards._servers.AddRange(
                await Task.WhenAll(Enumerable.Range(0, 2 * Masters).Select(_ => StartOneAsync(options?.Invoke() ?? [])))
            );
            await ManageAsync([
                "create",
                .. shards._servers.Select(Address),
                "--cluster-replicas",
                "1",
                "--cluster-yes",
            ]);
            await Task.WhenAll(shards._servers.Select(server => server.LineAsync("Cluster state changed: ok")));
            ShardNode[] nodes;
            do
            {
                // The server that is asked hears a moment later which ones are replicas.
                nodes = await shards.NodesAsync();
            } while (nodes.Count(node => node.IsReplica) < Masters);

            await Task.WhenAll(
                nodes.Where(node => node.IsReplica).Select(node => shards.ServerOf(node).LineAsync(Synced))
            );
            return shards;
        }
        catch
        {
            await shards.DisposeAsync();
            throw;
        }
    }

    /// <summary>The server that has the slot of a prefix now.</summary>
    public async Task<RedisServer> OwnerAsync(string prefix = Prefix)
    {
        var slot = await SlotAsync(prefix);
        return ServerOf((await NodesAsync()).Single(node => node.Has(slot)));
    }

    /// <summary>The masters that do not have the slot of a prefix.</summary>
    public async Task<RedisServer[]> OthersAsync(string prefix = Prefix)
    {
        var slot = await SlotAsync(prefix);
        return [.. (await NodesAsync()).Where(node => !node.IsReplica && !node.Has(slot)).Select(ServerOf)];
    }

    /// <summary>Adds an empty master.</summary>
    public async Task<RedisServer> AddAsync()
    {
        var added = await StartOneAsync();
        _servers.Add(added);
        await ManageAsync(["add-node", $"127.0.0.1:{added.Port}", $"127.0.0.1:{_servers[0].Port}"]);
        await added.LineAsync("Cluster state changed: ok");
        return added;
    }

    /// <summary>
    /// Moves the slot of a prefix with its keys to another master (Redis Cluster specification, "Live resharding").
    /// </summary>
    public async Task MoveAsync(RedisServer to, string prefix = Prefix)
    {
        var slot = (await SlotAsync(prefix)).ToString(CultureInfo.InvariantCulture);
        var from = await OwnerAsync(prefix);
        var (fromId, toId) = (await from.CommandAsync("CLUSTER", "MYID"), await to.CommandAsync("CLUSTER", "MYID"));
        await to.CommandAsync("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
        await from.CommandAsync("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
        while (await from.CommandAsync("CLUSTER", "GETKEYSINSLOT", slot, "3") is { Length: > 0 } keys)
        {
            await from.CommandAsync([
                "MIGRATE",
                "127.0.0.1",
                $"{to.Port}",
                "",
                "0",
                "5000",
                "KEYS",
                .. keys.Split('\n'),
            ]);
        }

        foreach (var server in (RedisServer[])[to, from, .. (await OthersAsync(prefix)).Except([to])])
        {
            await server.CommandAsync("CLUSTER", "SETSLOT", slot, "NODE", toId);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers)
        {
            await server.DisposeAsync();
        }
    }

    private static string Address(RedisServer server) => $"127.0.0.1:{server.Port}";

    private static Task<RedisServer> StartOneAsync(params string[] options) =>
        RedisServer.StartAsync([
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            $"{RedisServer.FreePort()}",
            "--cluster-node-timeout",
            "2000",
            "--repl-diskless-sync-delay",
            "0",
            .. options,
        ]);

    private static async Task ManageAsync(string[] arguments)
    {
        await using var manager = ChildProcess.Start("redis-cli", ["--cluster", .. arguments], Path.GetTempPath());
        Assert.True(await manager.EndAsync() == 0, string.Join('\n', manager.Lines));
    }

    private async Task<int> SlotAsync(string prefix) =>
        int.Parse(await AskAsync("CLUSTER", "KEYSLOT", prefix), CultureInfo.InvariantCulture);

    /// <summary>One command to a server that lives.</summary>
    private async Task<string> AskAsync(params string[] words)
    {
        for (var i = 0; ; i++)
        {
            try
            {
                return await _servers[i].CommandAsync(words);
            }
            catch (Exception e) when (i < _servers.Count - 1 && e is SocketException or IOException)
            {
                // Killed: the next one.
            }
        }
    }

    private async Task<ShardNode[]> NodesAsync() =>
        [
            .. (await AskAsync("CLUSTER", "NODES"))
                .Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => new ShardNode(line.Split(' '))),
        ];

    private RedisServer ServerOf(ShardNode node) => _servers.Single(server => server.Port == node.Port);

    /// <summary>A line of CLUSTER NODES.</summary>
    private sealed record ShardNode(string[] Fields)
    {
        public int Port => int.Parse(Fields[1].Split('@')[0].Split(':')[1], CultureInfo.InvariantCulture);

        public bool IsReplica => Fields[2].Contains("slave", StringComparison.Ordinal);

        public bool Has(int slot) =>
            Fields
                .Skip(8)
                .Where(range => range[0] != '[')
                .Select(range => range.Split('-').Select(end => int.Parse(end, CultureInfo.InvariantCulture)).ToArray())
                .Any(range => range[0] <= slot && slot <= range[^1]);
    }
}
