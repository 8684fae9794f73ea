-- include claim
-- include turn
-- include kept
-- Publishes an input that every node receives, in order with other messages, whichever node processes it.
-- KEYS from 6 and ARGV from 7: as for kept.lua.
-- Returns {1 if this node processed it, 2 if another one has the turn, count, 1, message number, positions}.
local sent = publish(6, 7)
return {1, mine, 1, sent[1], sent[2]}
