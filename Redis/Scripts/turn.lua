-- Gives the claim of claim.lua back while another node has yet to publish an earlier input in several groups, so that
-- inputs keep their order in each room.
-- KEYS[5]: the node that has the turn. ARGV[6]: this node; empty with one group, where no input waits.
-- A script that includes this returns {2, count} meanwhile.
if ARGV[6] ~= '' then
  local acting = redis.call('GET', KEYS[5])
  if acting and acting ~= ARGV[6] then
    if count_before == 'id' then redis.call('DEL', claim) else redis.call('ZREM', claim, string.format('%015d', mine)) end
    return {2, mine}
  end
end
