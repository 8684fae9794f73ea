-- Empties a room's history; its position stays. The next publish sets the life of the new stream.
-- KEYS: history, position.
redis.pcall('HDEL', KEYS[2], 'lived')
redis.call('DEL', KEYS[1])
