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
    /// an id is claimed by it; of equal ones the n-th is, and a node that sees them for the first time stands where the others are.
    /// Keys: the log, the claim. Arguments: the log's length, the body, how often this node saw it before or `id`, the claim's
    /// life in ms, the channels. Gives whether this was the first, and how often this node saw it now.
    /// </summary>
    public const string PublishOnce = """
        local mine = 0
        if ARGV[3] == 'id' then
          if not redis.call('SET', KEYS[2], 1, 'NX', 'PX', ARGV[4]) then return {0, 0} end
        else
          local taken = tonumber(redis.call('GET', KEYS[2]) or '0')
          mine = tonumber(ARGV[3]) + 1
          if mine == 1 then mine = math.max(taken, 1) end
          if mine <= taken then return {0, mine} end
          redis.call('SET', KEYS[2], mine, 'PX', ARGV[4])
        end
        redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'm', ARGV[2])
        for i = 5, #ARGV do redis.call('PUBLISH', ARGV[i], ARGV[2]) end
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
