namespace Dmb.Redis;

/// <summary>This node's id, and the names of channels and keys.</summary>
internal sealed class RedisNode
{
    public RedisNode(RedisOptions options)
    {
        Channels = new RedisChannels(options.Prefix, Id);
    }

    /// <summary>Unique over the cluster, new at each start.</summary>
    public string Id { get; } = Guid.NewGuid().ToString("N")[..12];

    public RedisChannels Channels { get; }
}
