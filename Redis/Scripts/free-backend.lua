-- include claim
-- Frees a backend and deletes its data. The histories of its users' rooms are the only undeclared keys: only its set
-- names these rooms.
-- KEYS from 5: list of backends, its users' rooms, backend, and its data.
-- ARGV from 6: channel of all nodes, what is said there, channel for the ack or '', ack, ack for an unknown backend,
-- what the keys of histories begin with, what the keys of positions begin with.
-- Returns {1 if this node processed it, count, 1 if it was registered}.
local backends, rooms, backend = KEYS[5], KEYS[6], KEYS[7]
local nodes, freed, channel, accepted, rejected, history, position =
  ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local known = redis.call('EXISTS', backend)
for _, room in ipairs(redis.pcall('SMEMBERS', rooms)) do redis.call('DEL', history .. room, position .. room) end
local name = redis.pcall('HGET', backend, 'name')
if type(name) == 'string' then redis.pcall('ZREM', backends, name .. ' ' .. string.sub(backend, -32)) end
for i = 6, #KEYS do redis.call('DEL', KEYS[i]) end
if known == 1 then redis.call('PUBLISH', nodes, freed) end
if channel ~= '' then redis.call('PUBLISH', channel, known == 1 and accepted or rejected) end
return {1, mine, known}
