-- Reads the positions of rooms. Their messages are read without a script, which costs Redis a tenth.
-- KEYS: epoch, and for each room its history and its position.
-- ARGV: epoch to use if a stream is created anew, life of positions in ms.
-- Returns {time in ms, and for each room {its epoch, its sequence number, messages kept}, streams that were something
-- else, and begin anew}.
local epoch_key = KEYS[1]
local new_epoch, position_ms = ARGV[1], ARGV[2]
local mark = redis.pcall('HGET', epoch_key, 'mark')
if type(mark) ~= 'string' then
  if mark then redis.call('DEL', epoch_key) end
  mark = new_epoch
  redis.pcall('HSET', epoch_key, 'mark', mark)
end
local time = redis.call('TIME')
local found = {time[1] * 1000 + math.floor(time[2] / 1000)}
local poisoned = 0
for i = 1, (#KEYS - 1) / 2 do
  local history, position = KEYS[2 * i], KEYS[2 * i + 1]
  local life, size = redis.pcall('HMGET', position, 'epoch', 'mark', 'seq'), redis.pcall('XLEN', history)
  if life.err or type(size) ~= 'number' or life[3] and not tonumber(life[3]) then
    life = {}
    poisoned = poisoned + 1
  end
  if not life[1] or life[2] ~= mark then
    redis.call('DEL', position, history)
    size = 0
    life = {new_epoch, mark, '0'}
    redis.pcall('HSET', position, 'epoch', life[1], 'mark', mark, 'seq', 0)
  end
  redis.pcall('PEXPIRE', position, position_ms)
  found[i + 1] = {life[1], life[3], size}
end
found[#found + 1] = poisoned
return found
