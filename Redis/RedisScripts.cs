namespace Dmb.Redis;

/// <summary>What Redis does in one step (Lua). A log that can't be written, for want of memory, never stops a message.</summary>
internal static class RedisScripts
{
    /// <summary>Stores and publishes a message. Key: the log. Arguments: its length, the body, the channels.</summary>
    public const string Publish = """
        redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'm', ARGV[2])
        for i = 3, #ARGV do redis.call('PUBLISH', ARGV[i], ARGV[2]) end
        """;

    /// <summary>
    /// Publishes an input that every node has, if no node did yet; so that inputs keep their order, whoever acts. An input with
    /// an id is claimed by it. Of equal ones the n-th is claimed, and a node counts those that it saw; one that listens only since
    /// the first of them was claimed stands where the others are. Keys: the log, the claim. Arguments: the log's length, the body,
    /// how often this node saw it before or `id`, the claim's life in ms, since when this node listens in ms, the channels. Gives
    /// whether this was the first, and how often this node saw it now.
    /// </summary>
    public const string PublishOnce = """
        local mine = 0
        if ARGV[3] == 'id' then
          if not redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[4]) then return {0, 0} end
        else
          local taken, since = string.match(redis.call('GET', KEYS[2]) or '0:0', '^(%d+):(%d+)$')
          taken, since = tonumber(taken), tonumber(since)
          mine = tonumber(ARGV[3]) + 1
          if mine == 1 and taken > 0 and tonumber(ARGV[5]) > since then mine = taken end
          if mine <= taken then return {0, mine} end
          if taken == 0 then
            local now = redis.call('TIME')
            since = now[1] * 1000 + math.floor(now[2] / 1000)
          end
          redis.call('SET', KEYS[2], string.format('%d:%.0f', mine, since), 'PX', ARGV[4])
        end
        redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'm', ARGV[2])
        for i = 6, #ARGV do redis.call('PUBLISH', ARGV[i], ARGV[2]) end
        return {1, mine}
        """;

    /// <summary>Stores a mark and sends its place to the node. Key: the log. Arguments: the node's channel, its count, the log's life in ms.</summary>
    public const string Probe = """
        local id = redis.pcall('XADD', KEYS[1], '*', 'p', ARGV[2])
        if type(id) ~= 'string' then id = '' end
        redis.pcall('PEXPIRE', KEYS[1], ARGV[3])
        redis.call('PUBLISH', ARGV[1], 'probe ' .. ARGV[2] .. ' ' .. id)
        """;
}
