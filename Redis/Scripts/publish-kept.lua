-- include kept
-- Publishes a message of which at least one room keeps a history. KEYS, ARGV and what it returns are those of kept.lua.
return publish(1, 1)
