namespace Dmb.Tests.Support;

/// <summary>
/// Nodes, each a process, on one Redis of their own; the first one's way to Redis can be made to fail.
/// </summary>
public sealed class Cluster : IAsyncDisposable
{
    private readonly (string, string)[] _settings;

    private Cluster(RedisServer redis, (string, string)[] settings) => (Redis, _settings) = (redis, settings);

    public RedisServer Redis { get; }

    /// <summary>Between <c>Nodes[0]</c> and Redis, when it was asked for.</summary>
    public FaultProxy? FirstProxy { get; private set; }

    public List<NodeProcess> Nodes { get; } = [];

    /// <summary>Starts Redis and three nodes, and waits until all are ready.</summary>
    public static async Task<Cluster> StartAsync(params (string Name, string Value)[] settings)
    {
        return await StartReadyAsync(await RedisServer.StartAsync(), withProxy: false, settings);
    }

    /// <summary>Starts three nodes on this Redis, waits until all are ready, and disposes of it at the end.</summary>
    public static async Task<Cluster> StartReadyAsync(
        RedisServer redis,
        bool withProxy,
        params (string Name, string Value)[] settings
    )
    {
        var cluster = await StartAsync(redis, withProxy, settings);
        try
        {
            await cluster.ReadyAsync();
            return cluster;
        }
        catch
        {
            await cluster.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts three nodes on this Redis, which need not run yet, and disposes of it at the end.</summary>
    public static async Task<Cluster> StartAsync(
        RedisServer redis,
        bool withProxy,
        params (string Name, string Value)[] settings
    )
    {
        var cluster = new Cluster(redis, settings);
        try
        {
            cluster.FirstProxy = withProxy ? new FaultProxy(redis.Port) : null;
            await cluster.StartNodesAsync([cluster.FirstProxy?.Port ?? redis.Port, redis.Port, redis.Port]);
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

    private async Task StartNodesAsync(int[] ports)
    {
        var starting = ports.Select(port => NodeProcess.StartAsync([.. Address(port), .. _settings])).ToArray();
        try
        {
            await Task.WhenAll(starting);
        }
        finally
        {
            Nodes.AddRange(starting.Where(node => node.IsCompletedSuccessfully).Select(node => node.Result));
        }
    }

    private (string, string)[] Address(int port) =>
        Redis.Password is { } password
            ? [("REDIS_URL", $"redis://:{password}@127.0.0.1:{port}")]
            : [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{port}")];
}
