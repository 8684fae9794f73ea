-- Reads new messages of a node's webhook streams, and creates missing streams.
-- KEYS: streams. ARGV: node, entries of each stream at most.
-- Returns for each stream its entries.
local read = {}
for i, stream in ipairs(KEYS) do
  local answer = redis.pcall('XREADGROUP', 'GROUP', 'dmb', ARGV[1], 'COUNT', ARGV[2], 'STREAMS', stream, '>')
  if type(answer) == 'table' and answer.err then
    redis.call('XGROUP', 'CREATE', stream, 'dmb', '0', 'MKSTREAM')
    answer = false
  end
  read[i] = answer and answer[1][2] or {}
end
return read
