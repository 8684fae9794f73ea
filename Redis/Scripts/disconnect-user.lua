-- include usermessage
-- Records the end of a user's session and notifies its backend, once. KEYS and ARGV: as for connect-user.lua.
-- Returns the number of the user's sessions, or -1 for an unknown session.
local sessions, users, node_users = KEYS[4], KEYS[5], KEYS[6]
local session, user, line, start, id, body_end = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
redis.call('SREM', node_users, line)
if redis.call('HDEL', sessions, session) == 0 then return -1 end
local count = redis.call('HINCRBY', users, user, -1)
if count <= 0 then redis.call('HDEL', users, user) end
if redis.call('PEXPIRE', backend, backend_ms) == 1 then
  local json = start .. count .. '}'
  store(json, '{"event":"dmb:uplink","data":' .. json .. body_end, id)
end
return count
