-- Claims entries of a stream that other nodes, or earlier runs of this one, have read and not finished.
-- KEYS: stream. ARGV: node, where to begin, entries at most.
-- Returns {where to go on or '0-0', entries}.
local answer = redis.pcall('XAUTOCLAIM', KEYS[1], 'dmb', ARGV[1], 0, ARGV[2], 'COUNT', ARGV[3])
if answer.err then return {'0-0', {}} end
return {answer[1], answer[2]}
