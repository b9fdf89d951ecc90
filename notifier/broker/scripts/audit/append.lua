-- Append an entry to the audit log of a tenant.
--
-- KEYS  1 the name of the log; its keys begin with it
-- ARGV  1 the entry   2 the part of the log   3 the key that causes the entry   4 most entries of the part
-- Answer  the id of the entry
--
-- Keys: `last` (the id of the last entry) and for each part `<part>` (stream: entry), `<part>:of:<key>` (list: ids of the
-- entries that a key has caused, the oldest first) and `<part>:keys` (zset: key by number of these).
--
-- Beyond the limit, the key with most entries loses its oldest. So a key that writes many removes its own.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local part = KEYS[1] .. ':' .. ARGV[2]
local most = tonumber(ARGV[4])
local keys = part .. ':keys'
local function of(key) return part .. ':of:' .. key end

-- All parts have the same order, and a clock that steps back does not change it.
local ms, number = now, 0
local last = redis.call('GET', KEYS[1] .. ':last')
if last then
  local last_ms, last_number = string.match(last, '^(%d+)-(%d+)$')
  if tonumber(last_ms) >= now then ms, number = tonumber(last_ms), tonumber(last_number) + 1 end
end
local id = string.format('%.0f-%.0f', ms, number)
redis.call('SET', KEYS[1] .. ':last', id)
redis.call('XADD', part, id, 'entry', ARGV[1])
redis.call('RPUSH', of(ARGV[3]), id)
redis.call('ZINCRBY', keys, 1, ARGV[3])

-- If the limit has been lowered, the entries beyond it are removed little by little.
for _ = 1, math.min(redis.call('XLEN', part) - most, 100) do
  local key = redis.call('ZREVRANGE', keys, 0, 0)[1]
  redis.call('XDEL', part, redis.call('LPOP', of(key)))
  if tonumber(redis.call('ZINCRBY', keys, -1, key)) < 1 then redis.call('ZREM', keys, key) end
end
return id
