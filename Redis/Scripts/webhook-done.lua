-- Removes finished messages from streams; a stream that is something else has none.
-- KEYS: streams. ARGV: of each stream the number of entries, and the entries.
local at = 1
for _, stream in ipairs(KEYS) do
  local last = at + tonumber(ARGV[at])
  local done = redis.pcall('XACK', stream, 'dmb', unpack(ARGV, at + 1, last))
  if type(done) == 'number' then
    redis.call('XDEL', stream, unpack(ARGV, at + 1, last))
  elseif not string.find(done.err, '^WRONGTYPE') then
    return done
  end
  at = last + 1
end
