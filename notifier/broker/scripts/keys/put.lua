-- Store the record of an API key, if it has not changed since it was read.
--
-- KEYS  1 the name of all keys; the names of their Redis keys begin with it
-- ARGV  1 id   2 record   3 the record so far; empty: there is none   4 when it is removed, ms; 0: never
--       5 how long keys are kept that have ended, ms   6 most keys   7 the group of the key
--       8 most keys of a group that are kept although they have ended
-- Answer  the number of this change, 0 if the record is another one, or an error if there is no room
--
-- Keys: `records` (hash: id to record), `used` (hash: id to ms), `until` (zset: id by removal), `until:<group>` (the same,
-- of one group; some of its keys may be gone), `names` (zset: ids, in their order), `order` (zset: id by number of its
-- last change), `version` (number of changes), `removed` (the highest number of a change whose record was removed to make
-- room: a worker that has not read that change must read all records, or the key would remain valid there).

local id, record, before = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function of(what) return KEYS[1] .. ':' .. what end

local function remove(old)
  redis.call('HDEL', of('records'), old)
  redis.call('HDEL', of('used'), old)
  redis.call('ZREM', of('until'), old)
  redis.call('ZREM', of('names'), old)
  redis.call('ZREM', of('order'), old)
end

local function make_room(ended)
  local number = redis.call('ZSCORE', of('order'), ended)
  if number and tonumber(number) > tonumber(redis.call('GET', of('removed')) or '0') then
    redis.call('SET', of('removed'), number)
  end
  remove(ended)
end

for _, old in ipairs(redis.call('ZRANGEBYSCORE', of('until'), '-inf', now, 'LIMIT', 0, 100)) do
  remove(old)
end
if (redis.call('HGET', of('records'), id) or '') ~= before then return 0 end
if before == '' and redis.call('HLEN', of('records')) >= tonumber(ARGV[6]) then
  -- One that has ended makes room.
  local ended = redis.call('ZRANGEBYSCORE', of('until'), '-inf', now + tonumber(ARGV[5]), 'LIMIT', 0, 1)
  if #ended == 0 then return redis.error_reply('FULL of keys') end
  make_room(ended[1])
end
local version = redis.call('INCR', of('version'))
redis.call('HSET', of('records'), id, record)
redis.call('ZADD', of('names'), 0, id)
redis.call('ZADD', of('order'), version, id)
local group = of('until:' .. ARGV[7])
if ARGV[4] == '0' then
  redis.call('ZREM', of('until'), id)
  redis.call('ZREM', group, id)
else
  redis.call('ZADD', of('until'), ARGV[4], id)
  redis.call('ZADD', group, ARGV[4], id)
  redis.call('ZREMRANGEBYSCORE', group, '-inf', now)
  local ended = redis.call('ZRANGEBYSCORE', group, '-inf', now + tonumber(ARGV[5]), 'WITHSCORES')
  for index = 1, #ended - 2 * tonumber(ARGV[8]), 2 do
    redis.call('ZREM', group, ended[index])
    -- Another key may have the id since then.
    if redis.call('ZSCORE', of('until'), ended[index]) == ended[index + 1] then make_room(ended[index]) end
  end
  local last = redis.call('ZRANGE', group, -1, -1, 'WITHSCORES')
  if last[2] then redis.call('PEXPIREAT', group, last[2]) end
end
return version
