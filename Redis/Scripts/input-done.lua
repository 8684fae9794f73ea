-- Forgets a claimed input that all groups have, and with the last one the turn.
-- KEYS: node's claimed inputs, turn. ARGV: message id, node.
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[2]) end
