-- Stores a dead letter. A message that all nodes refuse is stored by the first of them.
-- KEYS: stream, claim. ARGV: stream's length, claim's life in ms (0: not claimed), the entry's fields.
local length, claim_ms = ARGV[1], tonumber(ARGV[2])
if claim_ms > 0 and not redis.call('SET', KEYS[2], 1, 'NX', 'PX', claim_ms) then return end
redis.call('XADD', KEYS[1], 'MAXLEN', length, '*', unpack(ARGV, 3))
