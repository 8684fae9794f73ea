-- Writes a probe into the log, sends its position in the log to the node, and renews the node's key.
-- A server that refuses all writes, a replica or one without its replicas, refuses the probe.
-- So does one whose nodes have another number of groups by now: this node was taken for dead meanwhile.
-- KEYS: log, node, format, members, nodes. ARGV: node's channel, probe's number, log's life in ms, node's life in ms,
-- number of groups, 1 in the first group.
-- Returns 1 if what the node has recorded in the first group by format.lua was deleted, else 0.
local log, node, format, members, nodes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local channel, number, log_ms, node_ms, groups, is_first = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local known = redis.pcall('HGET', format, 'groups')
if type(known) == 'string' and known ~= groups then return redis.error_reply('LAYOUT of ' .. known .. ' groups') end
local is_deleted = false
if is_first == '1' then
  local id = string.match(node, '[^:]+$')
  is_deleted = type(known) ~= 'string' or redis.call('EXISTS', nodes) == 0
  if redis.pcall('SADD', members, id) == 1 then
    redis.call('SREM', members, id)
    is_deleted = true
  end
end
local entry = redis.pcall('XADD', log, '*', 'p', number)
if type(entry) ~= 'string' then
  if string.find(entry.err, 'READONLY') or string.find(entry.err, 'NOREPLICAS') then return entry end
  entry = ''
end
redis.pcall('PEXPIRE', log, log_ms)
redis.pcall('SET', node, number, 'PX', node_ms)
redis.call('PUBLISH', channel, 'probe ' .. number .. ' ' .. entry) -- room
return is_deleted and 1 or 0
