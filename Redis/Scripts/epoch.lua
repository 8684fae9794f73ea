-- Detects a loss of data that a node has seen. Each run of a server (run_id) begins where the previous one ended, or
-- earlier if it lost data or is a lagging replica: then the script creates a new mark. A key of a wrong type is removed.
-- KEYS: epoch. ARGV: new mark, mark that the node knows, message number up to which it has seen the server count, run of
-- the server in which it saw that; what the layout of keys began with, which is another after a change of the groups.
-- Returns {mark, run}.
local epoch = KEYS[1]
local new_mark, known_mark, seen, known_run, layout = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
local life = redis.pcall('HMGET', epoch, 'mark', 'count', 'run', 'since', 'layout')
if life.err or life[2] and not tonumber(life[2]) or life[4] and not tonumber(life[4]) then
  redis.call('DEL', epoch)
  life = {}
end
local mark, count, last_run, since = life[1], life[2], life[3], life[4]
if not mark or (life[5] or '') ~= layout then
  redis.pcall('HSET', epoch, 'mark', new_mark, 'count', 0, 'run', run, 'since', 0, 'layout', layout)
  return {new_mark, run}
end
if last_run ~= run then
  since = count or 0
  redis.pcall('HSET', epoch, 'run', run, 'since', since)
end
if known_mark == mark and known_run ~= run and seen > tonumber(since) then
  redis.pcall('HSET', epoch, 'mark', new_mark)
  return {new_mark, run}
end
return {mark, run}
