using Xunit.Sdk;
using Xunit.v3;

[assembly: TestCollectionOrderer(typeof(Dmb.Tests.Redis.LanesFirst))]

namespace Dmb.Tests.Redis;

/// <summary>
/// Tests with nodes and a Redis as processes of their own run one after the other: each takes what a small machine has.
/// </summary>
[CollectionDefinition(Name)]
public sealed class RedisLane : ICollectionFixture<SharedCluster>
{
    public const string Name = "Redis";
}

/// <summary>The same for faults, beside the others: these mostly wait.</summary>
[CollectionDefinition(Name)]
public sealed class FaultLane : ICollectionFixture<FaultTable>
{
    public const string Name = "Faults";
}

/// <summary>The same for what histories keep through faults.</summary>
[CollectionDefinition(Name)]
public sealed class HistoryLane
{
    public const string Name = "Histories";
}

/// <summary>Starts the lanes before all other tests: what is long must not be left for the end.</summary>
public sealed class LanesFirst : ITestCollectionOrderer
{
    private static readonly string[] Lanes =
    [
        FaultLane.Name,
        RedisLane.Name,
        HistoryLane.Name,
        GroupLane.Name,
        ShardLane.Name,
    ];

    public IReadOnlyCollection<TTestCollection> OrderTestCollections<TTestCollection>(
        IReadOnlyCollection<TTestCollection> testCollections
    )
        where TTestCollection : ITestCollection =>
        [.. testCollections.OrderBy(one => (uint)Array.IndexOf(Lanes, one.TestCollectionDisplayName))];
}

/// <summary>Tests of three nodes in eight groups on one server.</summary>
[CollectionDefinition(Name)]
public sealed class GroupLane : ICollectionFixture<GroupedCluster>
{
    public const string Name = "Groups";
}

/// <summary>Tests of three nodes in eight groups on the shards of a Redis Cluster.</summary>
[CollectionDefinition(Name)]
public sealed class ShardLane : ICollectionFixture<ShardedCluster>
{
    public const string Name = "Shards";
}

/// <summary>Three nodes and a Redis for all tests that leave them as they were.</summary>
public class SharedCluster : IAsyncLifetime
{
    /// <summary>What the nodes are set to.</summary>
    protected static readonly (string, string)[] Settings =
    [
        ("DMB_NOTIFY_CHANNELS", "opensips:*"),
        ("DMB_EVENTS", "call=calls,reference=calls,report_csr=support,any="),
        .. NodeProcess.Patient,
    ];

    public Cluster Cluster { get; private set; } = null!;

    /// <summary>What all keys and channels of the nodes begin with.</summary>
    public virtual string Prefix => "dmb:";

    /// <summary>A server on which other programs publish.</summary>
    public virtual RedisServer Redis => Cluster.Redis;

    public List<NodeProcess> Nodes => Cluster.Nodes;

    /// <summary>The servers that have the keys.</summary>
    protected virtual IEnumerable<RedisServer> Servers => [Redis];

    /// <summary>Completes when no node has the turn to publish pushes over Redis, among nodes of a prefix.</summary>
    public async Task WithoutTurnAsync(string prefix)
    {
        var name = prefix.Trim('{', '}', ':');
        while (
            (await Task.WhenAll(Servers.Select(server => server.CommandAsync("KEYS", $"*{name}*:turn")))).Any(keys =>
                keys != ""
            )
        )
        {
            // Its answers set the pace.
        }
    }

    /// <summary>What nodes are set to that meet in the same way without these ones, and their prefix.</summary>
    public virtual ((string Name, string Value)[] Settings, string Prefix) Beside(string name) =>
        (
            [
                ("REDIS_HOST", "127.0.0.1"),
                ("REDIS_PORT", $"{Redis.Port}"),
                ("DMB_PREFIX", name + ":"),
                .. NodeProcess.Patient,
            ],
            name + ":"
        );

    public async ValueTask InitializeAsync() => Cluster = await StartAsync();

    public virtual async ValueTask DisposeAsync()
    {
        await Cluster.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    protected virtual Task<Cluster> StartAsync() => Cluster.StartAsync(Settings);
}

/// <summary>The same in eight groups.</summary>
public sealed class GroupedCluster : SharedCluster
{
    public override ((string Name, string Value)[] Settings, string Prefix) Beside(string name)
    {
        var (settings, prefix) = base.Beside(name);
        return ([.. settings, ("DMB_GROUPS", "8")], prefix);
    }

    protected override Task<Cluster> StartAsync() => Cluster.StartAsync([.. Settings, ("DMB_GROUPS", "8")]);
}

/// <summary>The same on the shards of a Redis Cluster.</summary>
public sealed class ShardedCluster : SharedCluster
{
    private Shards _shards = null!;

    public override string Prefix => Shards.Prefix;

    public override RedisServer Redis => _shards.Servers[0];

    protected override IEnumerable<RedisServer> Servers => _shards.Servers;

    /// <summary>What nodes of another prefix are set to.</summary>
    public (string, string)[] ShardSettings => _shards.Settings;

    public override ((string Name, string Value)[] Settings, string Prefix) Beside(string name) =>
        (
            [.. _shards.Settings, ("DMB_PREFIX", $"{{{name}}}:"), ("DMB_GROUPS", "8"), .. NodeProcess.Patient],
            $"{{{name}}}:"
        );

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        await _shards.DisposeAsync();
    }

    protected override async Task<Cluster> StartAsync()
    {
        _shards = await Shards.StartAsync();
        return await Cluster.StartReadyAsync(
            new RedisServer(),
            withProxy: false,
            [.. _shards.Settings, .. Settings, ("DMB_GROUPS", "8")]
        );
    }
}
