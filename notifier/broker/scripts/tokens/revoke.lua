-- Revoke tokens: those of a user that were issued before a time, or one token.
--
-- KEYS  1 the name of all revocations; their keys begin with it
-- ARGV  1 user:<name> or id:<digest>   2 revoked are tokens issued before, ms   3 how long it is remembered, ms
--       4 most revocations   5 empty: the operator revokes   6 the tenant; empty: the default one
--       7 the key, if its grants are limited; empty: they are not
-- Answer  the number of this change, or an error if there is no room
--
-- Keys: `revoked` (hash: name to 'before until share', times in ms), `until` (zset: name by expiry), `until:<tenant>` and
-- `until:<tenant>/<key>` (the same, of one tenant and of one share), `order` (zset: name by number of its last change),
-- `version` (number of changes).
--
-- Nothing is removed before it expires. So what a share may have depends on what is free, and falls with its square: if
-- many shares one after the other take all that they may, a part of 2 / (number of shares + 2) is left for others.

local name, before = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ = now + tonumber(ARGV[3])
local most, tenant, key = tonumber(ARGV[4]), ARGV[6], ARGV[7]
local function of(what) return KEYS[1] .. ':' .. what end

local function used(share)
  redis.call('ZREMRANGEBYSCORE', of('until:' .. share), '-inf', now)
  return redis.call('ZCARD', of('until:' .. share))
end

local function part(free, room) return free * free / (2 * room) end

local function has_room()
  local total = redis.call('HLEN', of('revoked'))
  if ARGV[5] == '' then return total < most end
  local room = most - math.ceil(most / 10) -- a tenth is the operator's
  local free = math.max(room - total, 0)
  if tenant == '' and key == '' then return used('/') < 4 * free end -- so it leaves a fifth
  local allowed = part(free, room)
  if tenant == '' then return used('/' .. key) < allowed end
  local left = math.max(allowed - used(tenant), 0)
  if key == '' then return left > 0 end
  return left > 0 and used(tenant .. '/' .. key) < part(left, allowed)
end

local function count(share)
  redis.call('ZADD', of('until:' .. share), string.format('%.0f', until_), name)
  local last = redis.call('ZRANGE', of('until:' .. share), -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', of('until:' .. share), last[2])
end

for _, old in ipairs(redis.call('ZRANGEBYSCORE', of('until'), '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', of('revoked'), old)
  redis.call('ZREM', of('until'), old)
  redis.call('ZREM', of('order'), old)
end
local share = ARGV[5] ~= '' and tenant .. '/' .. key or ''
local known = redis.call('HGET', of('revoked'), name)
if known then
  local known_before, known_until, first = string.match(known, '^(%S+) (%S+) ?(.*)$')
  before, until_ = math.max(before, tonumber(known_before)), math.max(until_, tonumber(known_until))
  share = first -- it still takes the room of the share that revoked it first
elseif not has_room() then
  return redis.error_reply('FULL of revocations')
end
local version = redis.call('INCR', of('version'))
redis.call('HSET', of('revoked'), name, string.format('%.0f %.0f %s', before, until_, share))
redis.call('ZADD', of('until'), string.format('%.0f', until_), name)
redis.call('ZADD', of('order'), version, name)
if share ~= '' then
  local of_tenant, of_key = string.match(share, '^([^/]*)/(.*)$')
  if of_tenant ~= '' then count(of_tenant) end
  if of_tenant == '' or of_key ~= '' then count(share) end
end
return version
