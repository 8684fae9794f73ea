using Dmb.Tests.Backends;
using Dmb.Tests.History;
using Dmb.Tests.Operations;
using Dmb.Tests.Webhooks;

namespace Dmb.Tests.Redis;

// The specs, kept by nodes that meet on one server in one group, in eight groups, and on the shards of a Redis Cluster.
// A node that runs alone keeps those of rooms, histories and backends beside the specs themselves.

[Collection(RedisLane.Name)]
public sealed class SharedInputTests(SharedCluster shared) : SharedInputSpec(shared);

[Collection(RedisLane.Name)]
public sealed class SharedWebhookTests(SharedCluster shared) : WebhookSpec(shared);

[Collection(GroupLane.Name)]
public sealed class GroupedBackplaneTests(GroupedCluster shared)
    : BackplaneSpec(shared.Nodes, isOrderedOverRooms: false);

[Collection(GroupLane.Name)]
public sealed class GroupedBackendTests(GroupedCluster shared) : BackendSpec(By.Redis, shared.Nodes, shared.Redis);

[Collection(GroupLane.Name)]
public sealed class GroupedHistoryTests(GroupedHistoryCluster shared)
    : HistorySpec(shared.Nodes),
        IClassFixture<GroupedHistoryCluster>;

[Collection(GroupLane.Name)]
public sealed class GroupedInputTests(GroupedCluster shared) : SharedInputSpec(shared);

[Collection(GroupLane.Name)]
public sealed class GroupedOperatorTests(GroupedCluster shared) : OperatorSpec(shared);

[Collection(GroupLane.Name)]
public sealed class GroupedStateTests(GroupedCluster shared) : SharedStateSpec(shared);

[Collection(GroupLane.Name)]
public sealed class GroupedWebhookTests(GroupedCluster shared) : WebhookSpec(shared);

[Collection(ShardLane.Name)]
public sealed class ShardedBackplaneTests(ShardedCluster shared)
    : BackplaneSpec(shared.Nodes, isOrderedOverRooms: false);

[Collection(ShardLane.Name)]
public sealed class ShardedBackendTests(ShardedCluster shared)
    : BackendSpec(By.Socket, shared.Nodes, null, Shards.Prefix);

[Collection(ShardLane.Name)]
public sealed class ShardedHistoryTests(ShardedHistoryCluster shared)
    : HistorySpec(shared.Nodes),
        IClassFixture<ShardedHistoryCluster>;

[Collection(ShardLane.Name)]
public sealed class ShardedInputTests(ShardedCluster shared) : SharedInputSpec(shared);

[Collection(ShardLane.Name)]
public sealed class ShardedOperatorTests(ShardedCluster shared) : OperatorSpec(shared);

[Collection(ShardLane.Name)]
public sealed class ShardedStateTests(ShardedCluster shared) : SharedStateSpec(shared);

[Collection(ShardLane.Name)]
public sealed class ShardedWebhookTests(ShardedCluster shared) : WebhookSpec(shared);

/// <summary>Three nodes in eight groups on one server, whose rooms keep a history.</summary>
public sealed class GroupedHistoryCluster() : HistoryCluster(("DMB_GROUPS", "8"));

/// <summary>Three nodes in eight groups on the shards of the lane, whose rooms keep a history.</summary>
public sealed class ShardedHistoryCluster(ShardedCluster lane)
    : HistoryCluster([.. lane.ShardSettings, ("DMB_PREFIX", "{history}:"), ("DMB_GROUPS", "8")]);
