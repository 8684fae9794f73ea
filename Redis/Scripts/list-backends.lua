-- Lists backends by their lines, `name bkid`, and takes lines of expired ones out. The keys of the backends are not
-- declared: only the lines name them.
-- KEYS: backends. ARGV: range of lines, from and to, lines at most, what all keys begin with.
-- Returns for each registered backend {line, rest of its life in ms, users, sessions, stored uplinks}.
local backends = KEYS[1]
local from, to, max, prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local found = {}
local function count(command, key)
  local number = redis.pcall(command, key)
  return type(number) == 'number' and number or 0
end
for _, line in ipairs(redis.call('ZRANGEBYLEX', backends, from, to, 'LIMIT', 0, max)) do
  local key = prefix .. string.sub(line, -32)
  local rest_ms = redis.call('PTTL', key)
  if rest_ms == -2 then redis.call('ZREM', backends, line) end
  found[#found + 1] = {
    line, rest_ms, count('HLEN', key .. ':users'), count('HLEN', key .. ':sessions'), count('XLEN', key .. ':uplink')
  }
end
return found
