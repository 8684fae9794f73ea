namespace Dmb.Redis;

/// <summary>This node's id, and the names of channels and keys of each group of rooms.</summary>
internal sealed class RedisNode
{
    private readonly RedisChannels[] _groups;

    public RedisNode(RedisOptions options, RedisEndpoint redis)
    {
        // With one group any program may publish and subscribe on any server of a cluster.
        var isSharded = redis.Discovery is RedisSeeds && options.Groups > 1;
        _groups =
        [
            .. Enumerable
                .Range(0, options.Groups)
                .Select(group => new RedisChannels(
                    RedisChannels.PrefixOf(options.Prefix, group),
                    Id,
                    isSharded,
                    isOneOfMany: options.Groups > 1
                )),
        ];
    }

    /// <summary>Unique over the cluster, new at each start.</summary>
    public string Id { get; } = Guid.NewGuid().ToString("N")[..12];

    /// <summary>Number of groups.</summary>
    public int Groups => _groups.Length;

    /// <summary>The names of the first group, which has all that is no room's too.</summary>
    public RedisChannels Channels => _groups[0];

    /// <summary>The names of a group.</summary>
    public RedisChannels ChannelsOf(int group) => _groups[group];

    /// <summary>
    /// The group of a room, or of another name. Backends' rooms, which have a space, are in the first, where the
    /// scripts of backends have their keys.
    /// </summary>
    public int GroupOf(string room) =>
        _groups.Length == 1 || room.Contains(' ', StringComparison.Ordinal)
            ? 0
            : HashSlot.Checksum(room) % _groups.Length;
}
