-- publish(k, a) counts, keeps and publishes a message in one step (docs/protocol.md §7).
-- KEYS from k: log, epoch, and for each room its history and its position (not used for a room that keeps none).
-- ARGV from a, the last ones: log's length; body; message id; epoch to use if a stream is created anew; life of positions
-- in ms; what is known of earlier publishes of this message: '' nothing, its positions, and if one was not answered '?'
-- and the message number after which it is searched for; and for each room its channel, its history's length, its
-- history's life in ms.
-- Returns {message number, its position in each room with commas between or '' if no room keeps it, receivers in the last
-- room, streams that were something else}.
-- A stream ends with its position, with the mark under which it began, when there is no memory to count or to keep, and
-- when one of its keys holds something else: a client that comes back is told then that what it missed is not known.
-- A call of a command costs 1 to 2 us. So the lives of a room's keys are set when a tenth of the history's life has
-- passed since they were (`lived`), and are longer by that tenth. Numbers are handed over as strings: Redis formats them
-- slowly.
local function search(history, id, after)
  local last, size = '+', 20
  for searched = size, 1000, size do
    local page, number = redis.pcall('XREVRANGE', history, last, '-', 'COUNT', string.format('%d', size)), nil
    for _, entry in ipairs(page) do
      if entry[2][4] == id then return string.sub(entry[1], 1, -3) end
      last, number = '(' .. entry[1], string.match(string.sub(entry[2][6] or '', -24), '"n":(%d+)}$')
    end
    if #page < size or number and number ~= '0' and tonumber(number) <= after then return nil end
  end
end
local function publish(k, a)
  local log, epoch_key = KEYS[k], KEYS[k + 1]
  local log_length, body, id, new_epoch, position_ms, again =
    ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local rooms = (#ARGV - a - 5) / 3
  local mark, keeps, number, receivers, first, poisoned = nil, false, 0, 0, '', 0
  local sequences, lived, list, positions = {}, {}, {}, {}
  local function keys(i) return KEYS[k + 2 * i], KEYS[k + 2 * i + 1] end
  local function room(i) return ARGV[a + 3 + 3 * i], ARGV[a + 4 + 3 * i], ARGV[a + 5 + 3 * i] end
  for i = 1, rooms do
    local _, size = room(i)
    list[i], positions[i] = 'null', ''
    if size ~= '0' then
      keeps = true
      local history, position = keys(i)
      if not mark then
        mark = redis.pcall('HGET', epoch_key, 'mark')
        if type(mark) ~= 'string' then
          if mark then redis.call('DEL', epoch_key) end
          mark = new_epoch
          redis.pcall('HSET', epoch_key, 'mark', mark)
        end
      end
      local life = redis.pcall('HMGET', position, 'epoch', 'mark', 'seq', 'lived')
      if life.err or life[3] and not tonumber(life[3]) then
        life = {}
        poisoned = poisoned + 1
      end
      if not life[1] or life[2] ~= mark then
        redis.call('DEL', position, history)
        life = {new_epoch}
        redis.pcall('HSET', position, 'epoch', new_epoch, 'mark', mark)
      elseif again ~= '' and first == '' then
        local epoch, seq = string.match(again, '(%w+):(%d+)')
        if epoch == life[1] and tonumber(seq) <= tonumber(life[3] or 0) then
          return {0, (string.gsub(again, '%?.*', '')), 0, poisoned}
        end
        local after = string.match(again, '%?(%d+)')
        local found = after and search(history, id, tonumber(after))
        if found then return {0, string.rep(',', i - 1) .. life[1] .. ':' .. found, 0, poisoned} end
      end
      local seq = redis.pcall('HINCRBY', position, 'seq', '1')
      if type(seq) == 'number' then
        sequences[i], lived[i] = string.format('%d', seq), life[4]
        positions[i] = life[1] .. ':' .. sequences[i]
        list[i] = '"' .. positions[i] .. '"'
        first = positions[i]
      else
        redis.call('DEL', position, history)
      end
    end
  end
  if keeps then
    local counted = redis.pcall('HINCRBY', epoch_key, 'count', '1')
    if type(counted) == 'number' then number = counted end
    body = string.sub(body, 1, -2) .. ',"pos":[' .. table.concat(list, ',') .. '],"n":' .. string.format('%d', number) .. '}'
  end
  local logged = redis.pcall('XADD', log, 'MAXLEN', '~', log_length, '*', 'm', body)
  -- The entry's id begins with Redis's time.
  local now = type(logged) == 'string' and string.match(logged, '^%d+')
  if not now then
    local time = redis.call('TIME')
    now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
  end
  for i = 1, rooms do
    local channel, size, history_ms = room(i)
    if sequences[i] then
      local history, position = keys(i)
      local entry = sequences[i] .. '-0'
      local added = redis.pcall('XADD', history, 'NOMKSTREAM', 'MAXLEN', size, entry, 't', now, 'id', id, 'm', body)
      if not added then
        -- It is new, or was deleted by hand: its life begins.
        lived[i] = nil
        added = redis.pcall('XADD', history, 'MAXLEN', size, entry, 't', now, 'id', id, 'm', body)
      end
      if type(added) == 'string' then
        local slack, since = math.floor(history_ms / 10), now - (tonumber(lived[i]) or 0)
        if since >= slack or since < 0 then
          redis.call('PEXPIRE', history, string.format('%d', history_ms + slack))
          redis.call('PEXPIRE', position, string.format('%d', position_ms + slack))
          redis.pcall('HSET', position, 'lived', now)
        end
      else
        if string.find(added.err, '^WRONGTYPE') then poisoned = poisoned + 1 end
        redis.call('DEL', position, history)
      end
    end
    receivers = redis.call('PUBLISH', channel, body) -- room
  end
  -- shard redis.call('SPUBLISH', string.sub(log, 1, -4) .. 'rooms', body)
  return {number, first ~= '' and table.concat(positions, ',') or '', receivers, poisoned}
end
