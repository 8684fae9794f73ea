-- is_poisoned(answer, key) removes a key of the webhooks that holds something else, by what a command on it answered:
-- its messages are lost, and no other webhook waits for it.
local function is_poisoned(answer, key)
  if type(answer) ~= 'table' or not answer.err or not string.find(answer.err, '^WRONGTYPE') then return false end
  redis.call('DEL', key)
  return true
end
