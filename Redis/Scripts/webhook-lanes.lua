-- include heal
-- Renews a node's share of the webhooks' streams: as many for each living node, none twice.
-- KEYS: living nodes (sorted set, by the time in ms at which each is taken for dead), owners (hash, stream to node).
-- ARGV: node, life in ms (0: the node leaves), number of streams.
-- Returns the numbers of the streams that are the node's. Of a key that held something else it says so, once that is
-- removed.
local nodes, owners = KEYS[1], KEYS[2]
local node, life_ms, lanes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local aged, owned = redis.pcall('ZREMRANGEBYSCORE', nodes, '-inf', now), redis.pcall('HLEN', owners)
if is_poisoned(aged, nodes) then return aged end
if is_poisoned(owned, owners) then return owned end
if life_ms > 0 then redis.call('ZADD', nodes, now + life_ms, node) else redis.call('ZREM', nodes, node) end
local living, count = {}, 0
for _, other in ipairs(redis.call('ZRANGE', nodes, 0, -1)) do
  living[other] = true
  count = count + 1
end
local share = life_ms > 0 and math.ceil(lanes / count) or 0
local mine, free = {}, {}
for lane = 0, lanes - 1 do
  local owner = redis.call('HGET', owners, lane)
  if owner == node then
    if #mine < share then mine[#mine + 1] = lane else redis.call('HDEL', owners, lane) end
  elseif not owner or not living[owner] then
    free[#free + 1] = lane
  end
end
for _, lane in ipairs(free) do
  if #mine < share then
    redis.call('HSET', owners, lane, node)
    mine[#mine + 1] = lane
  end
end
return mine
