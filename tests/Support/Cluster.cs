namespace Dmb.Tests.Support;

/// <summary>Nodes, each a process, on one Redis of their own; the first one's way to Redis can be made to fail.</summary>
public sealed class Cluster : IAsyncDisposable
{
    private readonly (string, string)[] _settings;

    private Cluster(RedisServer redis, FaultProxy? proxy, (string, string)[] settings) =>
        (Redis, FirstProxy, _settings) = (redis, proxy, settings);

    public RedisServer Redis { get; }

    /// <summary>Between <c>Nodes[0]</c> and Redis, when it was asked for.</summary>
    public FaultProxy? FirstProxy { get; }

    public List<NodeProcess> Nodes { get; } = [];

    /// <summary>Starts Redis and three nodes, and waits until all are ready.</summary>
    public static async Task<Cluster> StartAsync(params (string Name, string Value)[] settings)
    {
        var cluster = await StartAsync(await RedisServer.StartAsync(), withProxy: false, settings);
        await cluster.ReadyAsync();
        return cluster;
    }

    /// <summary>Starts three nodes on this Redis, which need not run yet, and disposes of it at the end.</summary>
    public static async Task<Cluster> StartAsync(
        RedisServer redis, bool withProxy, params (string Name, string Value)[] settings)
    {
        var cluster = new Cluster(redis, withProxy ? new FaultProxy(redis.Port) : null, settings);
        try
        {
            var first = cluster.StartNodeAsync(cluster.FirstProxy?.Port ?? redis.Port);
            var others = Enumerable.Range(0, 2).Select(_ => cluster.StartNodeAsync(redis.Port));
            cluster.Nodes.AddRange(await Task.WhenAll([first, .. others]));
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Completes when all nodes are proven to reach each other.</summary>
    public Task ReadyAsync() => Task.WhenAll(Nodes.Select(node => node.BecomesAsync("ready")));

    /// <summary>Starts a node with the settings of the others.</summary>
    public Task<NodeProcess> StartNodeAsync(params (string Name, string Value)[] more) =>
        NodeProcess.StartAsync([.. Address(Redis.Port), .. _settings, .. more]);

    public async ValueTask DisposeAsync()
    {
        foreach (var node in Nodes)
        {
            await node.DisposeAsync();
        }

        if (FirstProxy is not null)
        {
            await FirstProxy.DisposeAsync();
        }

        await Redis.DisposeAsync();
    }

    private Task<NodeProcess> StartNodeAsync(int port) => NodeProcess.StartAsync([.. Address(port), .. _settings]);

    private (string, string)[] Address(int port) => Redis.Password is { } password
        ? [("REDIS_URL", $"redis://:{password}@127.0.0.1:{port}")]
        : [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{port}")];
}
