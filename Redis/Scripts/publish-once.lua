-- include claim
-- include kept
-- Publishes an input that every node receives, in order with other messages, whichever node processes it.
-- KEYS from 5 and ARGV from 6: as for kept.lua.
-- Returns {1 if this node processed it, count, 1, message number, positions}.
local sent = publish(5, 6)
return {1, mine, 1, sent[1], sent[2]}
