-- include claim
-- include kept
-- Publishes a backend's message to its users; one whose id was answered is only answered again.
-- KEYS from 5: backend, sessions of each of its users, its sessions, its stream, its users' rooms; from 10 as for
-- kept.lua. ARGV from 6: registration's life in ms, user or '', channel for the ack or '', ack without its end, ack for
-- an unknown backend, room; from 12 as for kept.lua.
-- Returns {1 if this node processed it, count, 1 if it was published, nodes with a session that gets it or -1 for an
-- unknown backend, message number, positions}.
local backend, users, sessions, rooms = KEYS[5], KEYS[6], KEYS[7], KEYS[9]
local backend_ms, user, channel, ack_start, rejected, room = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local nodes, sent = -1, {0, '', 0}
if redis.call('PEXPIRE', backend, backend_ms) == 1 then
  for i = 6, 9 do redis.call('PEXPIRE', KEYS[i], backend_ms) end
  if answered then
    nodes = tonumber(answered)
  else
    -- Before the publish, whose result counts the nodes with a pattern, which get every room's messages.
    local listening = redis.pcall('PUBSUB', 'NUMSUB', ARGV[18]) -- room
    sent = publish(10, 12)
    if sent[2] ~= '' and redis.pcall('SADD', rooms, room) == 1 then redis.call('PEXPIRE', rooms, backend_ms) end
    -- A node stays subscribed for a while to a room that its last session has left, and other programs may listen too.
    local there = user == '' and redis.call('HLEN', sessions) or redis.call('HGET', users, user) or 0
    nodes = math.min(listening.err and sent[3] or listening[2], tonumber(there))
    answer(nodes)
  end
else
  refuse()
end
if channel ~= '' then
  redis.call('PUBLISH', channel, nodes < 0 and rejected or ack_start .. nodes .. (answered and ',"duplicate":true}' or '}'))
end
return {1, mine, nodes >= 0 and not answered and 1 or 0, nodes, sent[1], sent[2]}
