-- Revoke tokens: those of a user that were issued before a time, or one token.
--
-- KEYS  1 the name of all revocations; their keys begin with it
-- ARGV  1 user:<name> or id:<digest>   2 revoked are tokens issued before, ms   3 how long it is remembered, ms
--       4 most revocations   5 the tenant; empty: the default one   6 most revocations of a tenant
-- Answer  the number of this change, or an error if there is no room
--
-- Keys: `revoked` (hash: name to 'before until', both ms), `until` (zset: name by expiry), `until:<tenant>` (the same, of
-- one tenant), `order` (zset: name by number of its last change), `version` (number of changes).

local name, before = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ = now + tonumber(ARGV[3])
local function of(what) return KEYS[1] .. ':' .. what end
local own = ARGV[5] ~= '' and of('until:' .. ARGV[5])

for _, old in ipairs(redis.call('ZRANGEBYSCORE', of('until'), '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', of('revoked'), old)
  redis.call('ZREM', of('until'), old)
  redis.call('ZREM', of('order'), old)
end
if own then redis.call('ZREMRANGEBYSCORE', own, '-inf', now) end
local known = redis.call('HGET', of('revoked'), name)
if known then
  local known_before, known_until = string.match(known, '^(%S+) (%S+)$')
  before, until_ = math.max(before, tonumber(known_before)), math.max(until_, tonumber(known_until))
elseif redis.call('HLEN', of('revoked')) >= tonumber(ARGV[4]) then
  return redis.error_reply('FULL of revocations')
elseif own and redis.call('ZCARD', own) >= tonumber(ARGV[6]) then
  return redis.error_reply('FULL of revocations of this tenant')
end
local version = redis.call('INCR', of('version'))
redis.call('HSET', of('revoked'), name, string.format('%.0f %.0f', before, until_))
redis.call('ZADD', of('until'), string.format('%.0f', until_), name)
redis.call('ZADD', of('order'), version, name)
if own then
  redis.call('ZADD', own, string.format('%.0f', until_), name)
  redis.call('PEXPIREAT', own, redis.call('ZRANGE', own, -1, -1, 'WITHSCORES')[2]) -- of any of them
end
return version
