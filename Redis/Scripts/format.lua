-- Records the layout of keys: the number of groups that rooms are spread over, the same on all nodes that live; and the
-- node among them.
-- A Redis with the keys of a version before this record has one group, one whose record was deleted what the nodes' keys
-- say. When no other node lives, the layout may change; what is kept in rooms begins anew then (epoch.lua).
-- A version that knows no groups keeps its nodes in a set, and connects nowhere where that key holds something else: with
-- several groups it is a number, and the nodes are in another set.
-- KEYS: format, epoch, members, this node's key, nodes, nodes with several groups. ARGV: number of groups, node, node's
-- life in ms (0: a publishing node, which is no member), what nodes' keys begin with, what a changed layout begins with,
-- 1 if the number may not change though no other node lives.
-- Returns {number of groups, what the layout began with}; another number if other nodes have it, with '', or the data,
-- with 'kept'.
local format, epoch, members, own, nodes, grouped = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local wanted, node, node_ms, node_prefix, new_since = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local known = redis.pcall('HMGET', format, 'groups', 'since')
if known.err then
  redis.call('DEL', format)
  known = {}
end
local groups, since = known[1], known[2] or ''
local counted = redis.pcall('GET', nodes)
if not groups and type(counted) == 'string' and tonumber(counted) then groups = counted end
if not groups and redis.call('EXISTS', grouped) == 0 and redis.call('EXISTS', epoch) == 1 then groups = '1' end
if groups and groups ~= wanted then
  local all = redis.pcall('SMEMBERS', members)
  for _, other in ipairs(all.err and {} or all) do
    if other ~= node and redis.call('EXISTS', node_prefix .. other) == 1 then return {groups, ''} end
  end
  if ARGV[6] == '1' then return {groups, 'kept'} end
  since = new_since
end
local function move(from, to)
  local all = redis.pcall('SMEMBERS', from)
  for _, other in ipairs(all.err and {} or all) do redis.pcall('SADD', to, other) end
end
if wanted ~= '1' then
  move(nodes, grouped)
  redis.pcall('SET', nodes, wanted)
elseif type(counted) == 'string' then
  redis.call('DEL', nodes)
  move(grouped, nodes)
  redis.call('DEL', grouped)
end
if groups ~= wanted or not known[1] then redis.pcall('HSET', format, 'layout', 1, 'groups', wanted, 'since', since) end
if node_ms > 0 then
  redis.pcall('SADD', members, node)
  redis.pcall('SADD', wanted == '1' and nodes or grouped, node)
  redis.pcall('SET', own, 0, 'PX', node_ms)
end
return {wanted, since}
