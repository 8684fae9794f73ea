-- Stores a message in the log and publishes it in rooms that keep no history.
-- KEYS: log. ARGV: log's length, body, channels.
-- A server that refuses all writes, a replica or one without its replicas, refuses the message.
local log = KEYS[1]
local log_length, body = ARGV[1], ARGV[2]
local entry = redis.pcall('XADD', log, 'MAXLEN', '~', log_length, '*', 'm', body)
if type(entry) == 'table' and (string.find(entry.err, 'READONLY') or string.find(entry.err, 'NOREPLICAS')) then return entry end
for i = 3, #ARGV do redis.call('PUBLISH', ARGV[i], body) end -- room
-- shard redis.call('SPUBLISH', string.sub(log, 1, -4) .. 'rooms', body)
