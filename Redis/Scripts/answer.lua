-- include claim
-- Answers an input. ARGV from 6: channel, answer. Returns {1 if this node answered, count}.
local channel, reply = ARGV[6], ARGV[7]
redis.call('PUBLISH', channel, reply)
return {1, mine}
