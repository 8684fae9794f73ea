-- Claims an input that every node receives, so that exactly one node processes it.
-- Equal inputs are distinguished by their count: the n-th is claimed once, and each node counts the inputs it receives.
-- A node's first input follows those that were claimed before it subscribed. An input with an id is processed whenever
-- no reply to its id is stored, so that a reply can be missed but never the input. A refusal is not a reply: the same
-- input is processed when it is received again.
-- KEYS: claim, refused count, replies of the current window, replies of the window before.
-- ARGV: id or ''; count before this one, or 'id' (claimed by id alone), or 'all' (only this node has it); claim's life
-- in ms; time in ms since when this node listens; life in ms of a reply stored now.
-- A script that includes this returns {1 if this node processes the input, count with this one, ...}.
local claim, refused, replies, replies_before = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local input_id, count_before, claim_ms, listens_since, reply_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local mine = 0
local answered = input_id ~= '' and (redis.call('HGET', replies, input_id) or redis.call('HGET', replies_before, input_id))
local function answer(value)
  if input_id == '' then return end
  redis.call('HSET', replies, input_id, value)
  redis.call('PEXPIRE', replies, reply_ms)
end
local function refuse()
  if count_before ~= 'all' then redis.call('SET', refused, mine, 'PX', claim_ms) end
end
if count_before == 'id' then
  if not redis.call('SET', claim, 1, 'NX', 'PX', claim_ms) then return {0, 0} end
elseif count_before ~= 'all' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', claim, '-inf', now - claim_ms)
  local first = redis.call('ZRANGE', claim, 0, 0)[1]
  mine = tonumber(count_before) + 1
  if mine == 1 and first then
    local before = redis.call('ZREVRANGEBYSCORE', claim, '(' .. listens_since, '-inf', 'LIMIT', 0, 1)[1]
    if before then mine = before + 1 else mine = tonumber(first) end
  end
  local is_claimed = first and mine <= tonumber(redis.call('ZREVRANGE', claim, 0, 0)[1])
  local is_refused = mine <= tonumber(redis.call('GET', refused) or 0)
  if is_claimed and (answered or input_id == '' or is_refused) then return {0, mine} end
  if not is_claimed then redis.call('ZADD', claim, now, string.format('%015d', mine)) end
  redis.call('PEXPIRE', claim, claim_ms)
end

