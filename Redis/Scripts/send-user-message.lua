-- include usermessage
-- Hands a user's message to its backend, once.
-- KEYS from 4: claim of its id. ARGV from 6: body, first and last byte of the message in it (from 1), id, claim's life
-- in ms. Returns 1, or 0 if it was handed over before, or -1 for an unknown backend.
local claim = KEYS[4]
local body, first, last, id, claim_ms = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
if redis.call('PEXPIRE', backend, backend_ms) == 0 then return -1 end
if not redis.call('SET', claim, 1, 'NX', 'PX', claim_ms) then return 0 end
store(string.sub(body, first, last), body, id)
return 1
