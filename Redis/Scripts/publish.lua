-- Stores a message in the log and publishes it in rooms that keep no history.
-- KEYS: log. ARGV: log's length, body, channels.
local log = KEYS[1]
local log_length, body = ARGV[1], ARGV[2]
redis.pcall('XADD', log, 'MAXLEN', '~', log_length, '*', 'm', body)
for i = 3, #ARGV do redis.call('PUBLISH', ARGV[i], body) end
