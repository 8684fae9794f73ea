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

    /// <summary>
    /// Counts, keeps and publishes a message, in one step (docs/protocol.md §7). Keys from k: the log, the epoch, and for each room its
    /// history and its position, empty for one that keeps none. Arguments from a, the last there are: the log's length, the body, the
    /// id, a name for a new life of a count, how long counts are remembered in ms, what is known of its having been published before,
    /// nothing, its place, or `?` for one that may have been (then it is looked for among the newest), and for each room its channel, how many messages it keeps, and how long in ms. Gives the message's
    /// number, its place in the first room that keeps any, and the receivers in the last room.
    /// A room's life ends with its count, with the mark under which it began, and when there is no memory to count or to keep: whoever
    /// comes back is told then that it can't be known what was missed.
    /// </summary>
    private const string Kept = """
        local function publish(k, a)
          local rooms = (#ARGV - a - 5) / 3
          local body, id, again, mark = ARGV[a + 1], ARGV[a + 2], ARGV[a + 5], nil
          local places, list, first, number, receivers, keeps = {}, {}, '', 0, 0, false
          local function keys(i) return KEYS[k + 2 * i], KEYS[k + 2 * i + 1] end
          local function room(i) return ARGV[a + 3 + 3 * i], tonumber(ARGV[a + 4 + 3 * i]), ARGV[a + 5 + 3 * i] end
          for i = 1, rooms do
            local _, size = room(i)
            list[i] = 'null'
            if size > 0 then
              keeps = true
              local history, position = keys(i)
              if not mark then
                mark = redis.call('HGET', KEYS[k + 1], 'mark')
                if not mark then
                  mark = ARGV[a + 3]
                  redis.pcall('HSET', KEYS[k + 1], 'mark', mark)
                end
              end
              local life = redis.call('HMGET', position, 'epoch', 'mark', 'seq')
              if not life[1] or life[2] ~= mark then
                redis.call('DEL', position, history)
                life[1] = ARGV[a + 3]
                redis.pcall('HSET', position, 'epoch', life[1], 'mark', mark)
              elseif again ~= '' and first == '' then
                local epoch, seq = string.match(again, '^(%w+):(%d+)$')
                if epoch == life[1] and tonumber(seq) <= tonumber(life[3]) then return {0, again, 0} end
                for _, entry in ipairs(again == '?' and redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1000) or {}) do
                  if entry[2][4] == id then return {0, life[1] .. ':' .. string.sub(entry[1], 1, -3), 0} end
                end
              end
              local seq = redis.pcall('HINCRBY', position, 'seq', 1)
              if type(seq) == 'number' then
                places[i] = seq
                list[i] = '"' .. life[1] .. ':' .. seq .. '"'
                if first == '' then first = life[1] .. ':' .. seq end
              else
                redis.call('DEL', position, history)
              end
            end
          end
          if keeps then
            local counted = redis.pcall('HINCRBY', KEYS[k + 1], 'count', 1)
            if type(counted) == 'number' then number = counted end
            body = string.sub(body, 1, -2) .. ',"pos":[' .. table.concat(list, ',') .. '],"n":' .. number .. '}'
          end
          redis.pcall('XADD', KEYS[k], 'MAXLEN', '~', ARGV[a], '*', 'm', body)
          local time = redis.call('TIME')
          local now = time[1] * 1000 + math.floor(time[2] / 1000)
          for i = 1, rooms do
            local channel, size, life = room(i)
            if places[i] then
              local history, position = keys(i)
              local added = redis.pcall('XADD', history, 'MAXLEN', size, places[i] .. '-0', 't', now, 'id', id, 'm', body)
              if type(added) == 'string' then
                redis.call('PEXPIRE', history, life)
                redis.call('PEXPIRE', position, ARGV[a + 4])
              else
                redis.call('DEL', position, history)
              end
            end
            receivers = redis.call('PUBLISH', channel, body)
          end
          return {number, first, receivers}
        end

        """;

    /// <summary>Publishes a message that rooms keep.</summary>
    public const string PublishKept = Kept + "return publish(1, 1)";

    /// <summary>
    /// Reads where rooms stand, and what is kept behind a place. Keys: the epoch, and for each room its history and its position.
    /// Arguments: a name for a new life of a count, how long counts are remembered in ms, and for each room the place, an epoch, or
    /// nothing for who wants no messages, and a number. Gives the time in ms, and for each room its epoch, its number, how many messages
    /// it keeps, and those that are wanted.
    /// </summary>
    public const string ReadHistory = """
        local mark = redis.call('HGET', KEYS[1], 'mark')
        if not mark then
          mark = ARGV[1]
          redis.pcall('HSET', KEYS[1], 'mark', mark)
        end
        local time = redis.call('TIME')
        local found = {time[1] * 1000 + math.floor(time[2] / 1000)}
        for i = 1, (#ARGV - 2) / 2 do
          local history, position = KEYS[2 * i], KEYS[2 * i + 1]
          local epoch, seq = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
          local life = redis.call('HMGET', position, 'epoch', 'mark', 'seq')
          if not life[1] or life[2] ~= mark then
            redis.call('DEL', position, history)
            life = {ARGV[1], mark, '0'}
            redis.pcall('HSET', position, 'epoch', life[1], 'mark', mark, 'seq', 0)
          end
          redis.pcall('PEXPIRE', position, ARGV[2])
          local kept = {}
          if epoch ~= '' and (epoch ~= life[1] or seq < tonumber(life[3])) then
            kept = redis.call('XRANGE', history, epoch == life[1] and (seq + 1) .. '-0' or '-', '+')
          end
          found[i + 1] = {life[1], life[3], redis.call('XLEN', history), kept}
        end
        return found
        """;

    /// <summary>
    /// Tells whether the server still has what a node has seen. Key: the epoch. Arguments: a new mark, the mark that the node knows, how
    /// far it has seen the server count, the run of the server in which it saw that. Each run of a server (`run_id`) begins where the one
    /// before ended, or, if it lost some or is a replica that lagged, earlier: then there is a new mark. Gives the mark and the run.
    /// </summary>
    public const string Epoch = """
        local info = redis.pcall('INFO', 'server')
        local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
        local life = redis.call('HMGET', KEYS[1], 'mark', 'count', 'run', 'since')
        if not life[1] then
          redis.pcall('HSET', KEYS[1], 'mark', ARGV[1], 'count', 0, 'run', run, 'since', 0)
          return {ARGV[1], run}
        end
        if life[3] ~= run then
          life[4] = life[2] or 0
          redis.pcall('HSET', KEYS[1], 'run', run, 'since', life[4])
        end
        if ARGV[2] == life[1] and ARGV[4] ~= run and tonumber(ARGV[3]) > tonumber(life[4]) then
          redis.pcall('HSET', KEYS[1], 'mark', ARGV[1])
          return {ARGV[1], run}
        end
        return {life[1], run}
        """;

    /// <summary>Publishes an input in order with the others, whichever node acts. Keys from 4 and arguments from 6 as for <see cref="PublishKept"/>.</summary>
    public const string PublishOnce = Claim + Kept + """
        local sent = publish(4, 6)
        return {1, mine, 1, sent[1], sent[2]}
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
    /// Frees a backend. Keys from 4: its users' rooms, the backend, and what is stored of it. Arguments from 6: the channel of all nodes,
    /// what to say there, the channel for the ack or nothing, the ack, the ack if there is none such, what the keys of rooms' histories
    /// and of their positions begin with. Gives, third, whether there was one.
    /// </summary>
    public const string FreeBackend = Claim + """
        local known = redis.call('EXISTS', KEYS[5])
        for _, room in ipairs(redis.call('SMEMBERS', KEYS[4])) do redis.call('DEL', ARGV[11] .. room, ARGV[12] .. room) end
        for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
        if known == 1 then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
        if ARGV[8] ~= '' then redis.call('PUBLISH', ARGV[8], known == 1 and ARGV[9] or ARGV[10]) end
        return {1, mine, known}
        """;

    /// <summary>
    /// Publishes a backend's message; one with an id that was answered is only answered again. Keys from 4: the backend, the sessions of
    /// each of its users, its sessions, its uplinks, its users' rooms; from 9 as for <see cref="PublishKept"/>. Arguments from 6: the
    /// registration's life in ms, the user or nothing, the channel for the ack or nothing, the ack without its end, the ack if there is
    /// no such backend, the room; from 12 as for <see cref="PublishKept"/>. Gives, third, whether it was published, fourth, the number of nodes on
    /// which somebody gets it, or -1 if there is no such backend, and then the message's number and place.
    /// </summary>
    public const string SendMessage = Claim + Kept + """
        local nodes, sent = -1, {0, '', 0}
        if redis.call('PEXPIRE', KEYS[4], ARGV[6]) == 1 then
          for i = 5, 8 do redis.call('PEXPIRE', KEYS[i], ARGV[6]) end
          if answered then
            nodes = tonumber(answered)
          else
            sent = publish(9, 12)
            if sent[2] ~= '' and redis.pcall('SADD', KEYS[8], ARGV[11]) == 1 then redis.call('PEXPIRE', KEYS[8], ARGV[6]) end
            -- A node may still be subscribed to a room that its last session has left, and others may listen too.
            local there = ARGV[7] == '' and redis.call('HLEN', KEYS[6]) or redis.call('HGET', KEYS[5], ARGV[7]) or 0
            nodes = math.min(sent[3], tonumber(there))
            answer(nodes)
          end
        else
          refuse()
        end
        if ARGV[8] ~= '' then
          redis.call('PUBLISH', ARGV[8], nodes < 0 and ARGV[10] or ARGV[9] .. nodes .. (answered and ',"duplicate":true}' or '}'))
        end
        return {1, mine, nodes >= 0 and not answered and 1 or 0, nodes, sent[1], sent[2]}
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
    /// node's users, the users' rooms. Arguments from 6: the session, the user, the node's line for it, what is told without its end, the
    /// message id, the end of the message, the user's two rooms if they have a history. Gives the user's sessions, or -1 if there is no such backend.
    /// </summary>
    public const string ConnectUser = Uplink + """
        if redis.call('PEXPIRE', KEYS[3], ARGV[5]) == 0 then return -1 end
        redis.call('SADD', KEYS[6], ARGV[8])
        if redis.call('HSETNX', KEYS[4], ARGV[6], ARGV[7]) == 0 then return tonumber(redis.call('HGET', KEYS[5], ARGV[7])) end
        local sessions = redis.call('HINCRBY', KEYS[5], ARGV[7], 1)
        if ARGV[12] ~= '' then redis.call('SADD', KEYS[7], ARGV[12], ARGV[13]) end
        for i = 4, 7 do if i ~= 6 then redis.call('PEXPIRE', KEYS[i], ARGV[5]) end end
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
