-- Writes a probe into the log, sends its position in the log to the node, and renews the node's key.
-- A server that refuses all writes, a replica or one without its replicas, refuses the probe.
-- So does one whose nodes have another number of groups by now: this node was taken for dead meanwhile.
-- KEYS: log, node, format. ARGV: node's channel, probe's number, log's life in ms, node's life in ms, number of groups.
local log, node, format = KEYS[1], KEYS[2], KEYS[3]
local channel, number, log_ms, node_ms, groups = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local known = redis.pcall('HGET', format, 'groups')
if type(known) == 'string' and known ~= groups then return redis.error_reply('LAYOUT of ' .. known .. ' groups') end
local entry = redis.pcall('XADD', log, '*', 'p', number)
if type(entry) ~= 'string' then
  if string.find(entry.err, 'READONLY') or string.find(entry.err, 'NOREPLICAS') then return entry end
  entry = ''
end
redis.pcall('PEXPIRE', log, log_ms)
redis.pcall('SET', node, number, 'PX', node_ms)
redis.call('PUBLISH', channel, 'probe ' .. number .. ' ' .. entry) -- room
