using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// What Redis does in one step (Lua). A log or a stream that can't be written, for want of memory, never stops a message.
/// Where every node has an input and one is to act, the script begins with the claim.
/// </summary>
internal static class RedisScripts
{
    /// <summary>Stores and publishes a message. Key: the log. Arguments: its length, the body, the channels.</summary>
    public const string Publish = """
        redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'm', ARGV[2])
        for i = 3, #ARGV do redis.call('PUBLISH', ARGV[i], ARGV[2]) end
        """;

    /// <summary>
    /// Takes an input that every node has, if no node did yet. Of equal ones the n-th is claimed, and a node counts those that it
    /// saw; the first that it sees is the one after those claimed before it listened. An input with an id is taken in any
    /// case when nothing with that id was answered yet, so that only an answer is ever missed, and never the input. What was
    /// refused is no answer: when it comes again it is done, if it can be.
    /// Keys 1 to 3: the claim, and the answers to ids of now and of before (<see cref="Answers"/>). Arguments 1 to 5: its id, or
    /// nothing; how often this node saw its like before, or `id` for one that is claimed by an id alone, or `all` for what only this
    /// node has; the claim's life in ms; since when this node listens, in ms; how long the answers of now are kept, in ms. What the
    /// whole script gives begins with whether this was the first, and how often this node saw it now.
    /// </summary>
    private const string Claim = """
        local mine = 0
        local answered = ARGV[1] ~= '' and (redis.call('HGET', KEYS[2], ARGV[1]) or redis.call('HGET', KEYS[3], ARGV[1]))
        local function answer(value)
          if ARGV[1] == '' then return end
          redis.call('HSET', KEYS[2], ARGV[1], value)
          redis.call('PEXPIRE', KEYS[2], ARGV[5])
        end
        local function refuse()
          if ARGV[2] ~= 'all' then redis.call('SET', KEYS[1] .. ':refused', mine, 'PX', ARGV[3]) end
        end
        if ARGV[2] == 'id' then
          if not redis.call('SET', KEYS[1], 1, 'NX', 'PX', ARGV[3]) then return {0, 0} end
        elseif ARGV[2] ~= 'all' then
          local time = redis.call('TIME')
          local now = time[1] * 1000 + math.floor(time[2] / 1000)
          redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
          local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
          mine = tonumber(ARGV[2]) + 1
          if mine == 1 and first then
            local before = redis.call('ZREVRANGEBYSCORE', KEYS[1], '(' .. ARGV[4], '-inf', 'LIMIT', 0, 1)[1]
            if before then mine = before + 1 else mine = tonumber(first) end
          end
          local isTaken = first and mine <= tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0)[1])
          local isRefused = mine <= tonumber(redis.call('GET', KEYS[1] .. ':refused') or 0)
          if isTaken and (answered or ARGV[1] == '' or isRefused) then return {0, mine} end
          if not isTaken then redis.call('ZADD', KEYS[1], now, string.format('%015d', mine)) end
          redis.call('PEXPIRE', KEYS[1], ARGV[3])
        end

        """;

    /// <summary>Publishes an input in order with the others, whichever node acts. Key 4: the log. Arguments from 6: its length, the body, the channels.</summary>
    public const string PublishOnce = Claim + """
        redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', 'm', ARGV[7])
        for i = 8, #ARGV do redis.call('PUBLISH', ARGV[i], ARGV[7]) end
        return {1, mine}
        """;

    /// <summary>Answers an input. Arguments from 6: the channel, the answer.</summary>
    public const string Answer = Claim + """
        redis.call('PUBLISH', ARGV[6], ARGV[7])
        return {1, mine}
        """;

    /// <summary>
    /// Registers a backend. Keys from 4: the backend, and what is stored of it. Arguments from 6: its name, the registration's life in
    /// ms, the channel for the ack or nothing, the ack, the ack if the name is another. Gives, third, whether the name is right. What was
    /// answered before holds as long as that backend is registered.
    /// </summary>
    public const string RegisterBackend = Claim + """
        local before = answered and string.match(answered, '"bkid":"(%x+)"')
        if before and redis.call('PEXPIRE', string.sub(KEYS[4], 1, -33) .. before, ARGV[7]) == 0 then answered = false end
        local name = redis.call('HGET', KEYS[4], 'name')
        local ok = answered or not name or name == '' or name == ARGV[6]
        local ack = answered or ok and ARGV[9] or ARGV[10]
        if ok and not answered then
          redis.call('HSET', KEYS[4], 'name', ARGV[6])
          for i = 4, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[7]) end
          answer(ack)
        elseif not ok then
          refuse()
        end
        if ARGV[8] ~= '' then redis.call('PUBLISH', ARGV[8], ack) end
        return {1, mine, ok and 1 or 0}
        """;

    /// <summary>
    /// Frees a backend. Keys from 4: the backend, and what is stored of it. Arguments from 6: the channel of all nodes, what to say
    /// there, the channel for the ack or nothing, the ack, the ack if there is none such. Gives, third, whether there was one.
    /// </summary>
    public const string FreeBackend = Claim + """
        local known = redis.call('EXISTS', KEYS[4])
        for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
        if known == 1 then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
        if ARGV[8] ~= '' then redis.call('PUBLISH', ARGV[8], known == 1 and ARGV[9] or ARGV[10]) end
        return {1, mine, known}
        """;

    /// <summary>
    /// Publishes a backend's message; one with an id that was answered is only answered again. Keys from 4: the log, the backend, the
    /// sessions of each of its users, and what else is stored of it. Arguments from 6: the registration's life in ms, the log's length,
    /// the body, the room's channel, the user or nothing, the channel for the ack or nothing, the ack without its end, the ack if there
    /// is no such backend. Gives, third, whether it was published, and, fourth, the number of nodes on which somebody gets it, or -1
    /// if there is no such backend.
    /// </summary>
    public const string SendMessage = Claim + """
        local nodes = -1
        if redis.call('PEXPIRE', KEYS[5], ARGV[6]) == 1 then
          for i = 6, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[6]) end
          if answered then
            nodes = tonumber(answered)
          else
            redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], '*', 'm', ARGV[8])
            nodes = redis.call('PUBLISH', ARGV[9], ARGV[8])
            -- A node may still be subscribed to a room that its last session has left, and others may listen too.
            local there = ARGV[10] == '' and redis.call('HLEN', KEYS[7]) or redis.call('HGET', KEYS[6], ARGV[10]) or 0
            nodes = math.min(nodes, tonumber(there))
            answer(nodes)
          end
        else
          refuse()
        end
        if ARGV[11] ~= '' then
          redis.call('PUBLISH', ARGV[11], nodes < 0 and ARGV[13] or ARGV[12] .. nodes .. (answered and ',"duplicate":true}' or '}'))
        end
        return {1, mine, nodes >= 0 and not answered and 1 or 0, nodes}
        """;

    /// <summary>
    /// Stores and publishes an uplink. Keys 1 to 3: the log, the backend's stream, the backend. Arguments 1 to 5: the log's length, the
    /// stream's, the channel of the backend's own sockets, that of all backends, the registration's life in ms.
    /// </summary>
    private const string Uplink = """
        local function uplink(json, body, id)
          redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'm', body)
          redis.pcall('XADD', KEYS[2], 'MAXLEN', ARGV[2], '*', 'id', id, 'message', json)
          redis.call('PEXPIRE', KEYS[2], ARGV[5])
          redis.call('PUBLISH', ARGV[3], body)
          redis.call('PUBLISH', ARGV[4], json)
        end

        """;

    /// <summary>
    /// Hands a user's message to its backend, once. Key 4: the claim of its id. Arguments from 6: the body, where in it the uplink
    /// begins and ends, the id, the claim's life in ms. Gives -1 if there is no such backend.
    /// </summary>
    public const string SendUplink = Uplink + """
        if redis.call('PEXPIRE', KEYS[3], ARGV[5]) == 0 then return -1 end
        if not redis.call('SET', KEYS[4], 1, 'NX', 'PX', ARGV[10]) then return 0 end
        uplink(string.sub(ARGV[6], ARGV[7], ARGV[8]), ARGV[6], ARGV[9])
        return 1
        """;

    /// <summary>
    /// Notes that a user's session came, and tells its backend, once. Keys from 4: the backend's sessions, the sessions of each user, the
    /// node's users. Arguments from 6: the session, the user, the node's line for it, what is told without its end, the message id,
    /// the end of the message. Gives the user's sessions, or -1 if there is no such backend.
    /// </summary>
    public const string ConnectUser = Uplink + """
        if redis.call('PEXPIRE', KEYS[3], ARGV[5]) == 0 then return -1 end
        redis.call('SADD', KEYS[6], ARGV[8])
        if redis.call('HSETNX', KEYS[4], ARGV[6], ARGV[7]) == 0 then return tonumber(redis.call('HGET', KEYS[5], ARGV[7])) end
        local sessions = redis.call('HINCRBY', KEYS[5], ARGV[7], 1)
        redis.call('PEXPIRE', KEYS[4], ARGV[5])
        redis.call('PEXPIRE', KEYS[5], ARGV[5])
        local json = ARGV[9] .. sessions .. '}'
        uplink(json, '{"event":"dmb:uplink","data":' .. json .. ARGV[11], ARGV[10])
        return sessions
        """;

    /// <summary>Notes that a user's session went, and tells its backend, once. Keys and arguments as for <see cref="ConnectUser"/>.</summary>
    public const string DisconnectUser = Uplink + """
        redis.call('SREM', KEYS[6], ARGV[8])
        if redis.call('HDEL', KEYS[4], ARGV[6]) == 0 then return -1 end
        local sessions = redis.call('HINCRBY', KEYS[5], ARGV[7], -1)
        if sessions <= 0 then redis.call('HDEL', KEYS[5], ARGV[7]) end
        if redis.call('PEXPIRE', KEYS[3], ARGV[5]) == 1 then
          local json = ARGV[9] .. sessions .. '}'
          uplink(json, '{"event":"dmb:uplink","data":' .. json .. ARGV[11], ARGV[10])
        end
        return sessions
        """;

    /// <summary>
    /// Stores a mark, sends its place to the node, and says that the node lives. Keys: the log, the node. Arguments: the node's
    /// channel, its count, the log's life in ms, the node's.
    /// </summary>
    public const string Probe = """
        local id = redis.pcall('XADD', KEYS[1], '*', 'p', ARGV[2])
        if type(id) ~= 'string' then id = '' end
        redis.pcall('PEXPIRE', KEYS[1], ARGV[3])
        redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])
        redis.call('PUBLISH', ARGV[1], 'probe ' .. ARGV[2] .. ' ' .. id)
        """;

    /// <summary>Runs one of these.</summary>
    public static async Task<RedisResult> RunAsync(IDatabase redis, string script, RedisKey[] keys, RedisValue[] arguments)
    {
        try
        {
            return await redis.ScriptEvaluateAsync(script, keys, arguments);
        }
        catch (RedisServerException e) when (e.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal))
        {
            // Redis forgot it since; the library sends it again now.
            return await redis.ScriptEvaluateAsync(script, keys, arguments);
        }
    }
}
