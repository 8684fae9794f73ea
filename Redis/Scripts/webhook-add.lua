-- Adds messages to the webhooks' streams.
-- KEYS: the stream of each message. ARGV: streams' length, and of each message webhook, event, id, subject or '',
-- traceparent or '', data.
local length = ARGV[1]
for i, stream in ipairs(KEYS) do
  local a = 6 * i - 4
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'w', ARGV[a], 'e', ARGV[a + 1], 'i', ARGV[a + 2],
    's', ARGV[a + 3], 'p', ARGV[a + 4], 'd', ARGV[a + 5])
end
