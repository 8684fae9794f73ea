-- include heal
-- Reads new messages of a node's webhook streams, and creates missing streams.
-- KEYS: streams. ARGV: node, entries of each stream at most.
-- Returns for each stream its entries, and last the keys that held something else, with spaces between.
-- It never ends between two streams: what was read of the first would be handed out and go to no node.
local read, poisoned = {}, {}
for i, stream in ipairs(KEYS) do
  local answer = redis.pcall('XREADGROUP', 'GROUP', 'dmb', ARGV[1], 'COUNT', ARGV[2], 'STREAMS', stream, '>')
  if type(answer) == 'table' and answer.err then
    if is_poisoned(redis.pcall('XGROUP', 'CREATE', stream, 'dmb', '0', 'MKSTREAM'), stream) then
      poisoned[#poisoned + 1] = stream
    end
    answer = false
  end
  read[i] = answer and answer[1][2] or {}
end
read[#read + 1] = table.concat(poisoned, ' ')
return read
