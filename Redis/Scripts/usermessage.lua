-- include heal
-- store(json, body, id) stores a user's message for its backend and publishes it. A backend with a webhook has in its
-- field `webhook` the stream of that webhook, which is the only key here that is not declared, and the webhook's id.
-- KEYS: log, backend's stream, backend.
-- ARGV: log's length, stream's length, channel of the backend's own sockets, channel of all backends, registration's
-- life in ms.
local log, stream, backend = KEYS[1], KEYS[2], KEYS[3]
local log_length, stream_length, backend_channel, all_backends, backend_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local function store(json, body, id)
  redis.pcall('XADD', log, 'MAXLEN', '~', log_length, '*', 'm', body)
  redis.pcall('XADD', stream, 'MAXLEN', stream_length, '*', 'id', id, 'message', json)
  redis.call('PEXPIRE', stream, backend_ms)
  redis.call('PUBLISH', backend_channel, body) -- room
  redis.call('PUBLISH', all_backends, json)
  local lane, webhook = string.match(redis.call('HGET', backend, 'webhook') or '', '^(%S+) (%x+)$')
  local function post()
    return redis.pcall('XADD', lane, '*', 'w', webhook, 'e', 'dmb:uplink', 'i', id, 's', '', 'p', '', 'd', json)
  end
  if lane and is_poisoned(post(), lane) then post() end
end

