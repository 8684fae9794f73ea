-- Takes messages out of a stream that need no delivery any more. KEYS: stream. ARGV: their entries.
redis.call('XACK', KEYS[1], 'dmb', unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV))
