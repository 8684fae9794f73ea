-- include heal
-- Adds messages to the webhooks' streams. Of a stream that held something else it says so, once that is removed.
-- KEYS: the stream of each message. ARGV: streams' length, and of each message webhook, event, id, subject or '',
-- traceparent or '', data.
local length = ARGV[1]
for i, stream in ipairs(KEYS) do
  local a = 6 * i - 4
  local added = redis.pcall('XADD', stream, 'MAXLEN', '~', length, '*', 'w', ARGV[a], 'e', ARGV[a + 1], 'i', ARGV[a + 2],
    's', ARGV[a + 3], 'p', ARGV[a + 4], 'd', ARGV[a + 5])
  if type(added) == 'table' and added.err then
    is_poisoned(added, stream)
    return added
  end
end
