namespace Dmb.Redis;

/// <summary>This node among the others: its name, and the names that follow from it.</summary>
internal sealed class RedisNode
{
    public RedisNode(RedisOptions options)
    {
        Channels = new RedisChannels(options.Prefix, Id);
    }

    /// <summary>Unique over the cluster, made anew at each start.</summary>
    public string Id { get; } = Guid.NewGuid().ToString("N")[..12];

    public RedisChannels Channels { get; }
}
