-- Removes finished messages from a stream. KEYS: stream. ARGV: their entries.
redis.call('XACK', KEYS[1], 'dmb', unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV))
