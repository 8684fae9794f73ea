-- include claim
-- Claims an input whose message several groups publish, and notes the message until they have: if the node dies before,
-- another one publishes it. KEYS[5]: the node's claimed inputs. ARGV from 6: message id, message.
-- Returns {1 if this node processes it, count}.
redis.pcall('HSET', KEYS[5], ARGV[6], ARGV[7])
return {1, mine}
