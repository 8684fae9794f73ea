-- include claim
-- include turn
-- Claims an input whose message several groups publish, takes the turn, and notes the message until they have: if the
-- node dies before, another one publishes it.
-- KEYS[6]: the node's claimed inputs. ARGV from 7: turn's maximum time in ms, message id, message.
-- Returns {1 if this node processes it, 2 if another one has the turn, count}.
redis.pcall('SET', KEYS[5], ARGV[6], 'PX', ARGV[7])
redis.pcall('HSET', KEYS[6], ARGV[8], ARGV[9])
return {1, mine}
