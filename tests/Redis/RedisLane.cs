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
    private static readonly string[] Lanes = [FaultLane.Name, RedisLane.Name, HistoryLane.Name];

    public IReadOnlyCollection<TTestCollection> OrderTestCollections<TTestCollection>(
        IReadOnlyCollection<TTestCollection> testCollections
    )
        where TTestCollection : ITestCollection =>
        [.. testCollections.OrderBy(one => (uint)Array.IndexOf(Lanes, one.TestCollectionDisplayName))];
}

/// <summary>Three nodes and a Redis for all tests that leave them as they were.</summary>
public sealed class SharedCluster : IAsyncLifetime
{
    public Cluster Cluster { get; private set; } = null!;

    public RedisServer Redis => Cluster.Redis;

    public List<NodeProcess> Nodes => Cluster.Nodes;

    public async ValueTask InitializeAsync() =>
        Cluster = await Cluster.StartAsync([
            ("DMB_NOTIFY_CHANNELS", "opensips:*"),
            ("DMB_EVENTS", "call=calls,reference=calls,report_csr=support,any="),
            .. NodeProcess.Patient,
        ]);

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}
