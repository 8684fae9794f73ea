-- include claim
-- Registers a backend. An earlier reply to the same nonce holds as long as the backend that it names is registered:
-- that backend's key and those of the list are not declared, it differs from KEYS[6] in its last 32 letters.
-- Adds it to the list of backends, and takes expired ones out of that: two at random each time, so that the list has at
-- most about twice as many as are registered.
-- KEYS from 5: list of backends, backend, and what is stored of it.
-- ARGV from 6: its name, registration's life in ms, channel for the ack or '', ack, ack for a backend of another name.
-- Returns {1 if this node processed it, count, 1 if the name is right}.
local backends, backend = KEYS[5], KEYS[6]
local name, backend_ms, channel, accepted, rejected = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local earlier = answered and string.match(answered, '"bkid":"(%x+)"')
if earlier and redis.call('PEXPIRE', string.sub(backend, 1, -33) .. earlier, backend_ms) == 0 then answered = false end
local registered = redis.call('HGET', backend, 'name')
local ok = answered or not registered or registered == '' or registered == name
local ack = answered or ok and accepted or rejected
if ok and not answered then
  redis.call('HSET', backend, 'name', name)
  for i = 6, #KEYS do redis.call('PEXPIRE', KEYS[i], backend_ms) end
  redis.pcall('ZADD', backends, 0, name .. ' ' .. string.sub(backend, -32))
  for _, line in ipairs(redis.pcall('ZRANDMEMBER', backends, 2)) do
    if redis.call('EXISTS', string.sub(backend, 1, -33) .. string.sub(line, -32)) == 0 then
      redis.call('ZREM', backends, line)
    end
  end
  answer(ack)
elseif not ok then
  refuse()
end
if channel ~= '' then redis.call('PUBLISH', channel, ack) end
return {1, mine, ok and 1 or 0}
