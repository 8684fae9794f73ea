-- Removes finished messages from streams. KEYS: streams. ARGV: of each stream the number of entries, and the entries.
local at = 1
for _, stream in ipairs(KEYS) do
  local last = at + tonumber(ARGV[at])
  redis.call('XACK', stream, 'dmb', unpack(ARGV, at + 1, last))
  redis.call('XDEL', stream, unpack(ARGV, at + 1, last))
  at = last + 1
end
