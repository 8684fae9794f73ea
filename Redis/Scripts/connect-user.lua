-- include usermessage
-- Records a user's new session and notifies its backend, once.
-- KEYS from 4: backend's sessions, sessions of each user, this node's users, users' rooms.
-- ARGV from 6: session, user, node's line for it, message without its end, message id, end of the body, the user's two
-- rooms if they keep a history, else ''.
-- Returns the number of the user's sessions, or -1 for an unknown backend.
local sessions, users, node_users, rooms = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local session, user, line, start, id, body_end, room, own_room =
  ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
if redis.call('PEXPIRE', backend, backend_ms) == 0 then return -1 end
redis.call('SADD', node_users, line)
if redis.call('HSETNX', sessions, session, user) == 0 then return tonumber(redis.call('HGET', users, user)) end
local count = redis.call('HINCRBY', users, user, 1)
if room ~= '' then redis.call('SADD', rooms, room, own_room) end
redis.call('PEXPIRE', sessions, backend_ms)
redis.call('PEXPIRE', users, backend_ms)
redis.call('PEXPIRE', rooms, backend_ms)
local json = start .. count .. '}'
store(json, '{"event":"dmb:uplink","data":' .. json .. body_end, id)
return count
