-- Record that a client of a user has received everything after one entry, up to another.
--
-- KEYS  1 the user's channel
-- ARGV  1 the entry   2 the entry after which this holds   3 lifetime of the state, ms
-- Answer  {the entry acknowledged before, the entry acknowledged now}, as ranks

local now = time_now()
local known = tonumber(redis.call('HGET', of('state'), 'acked') or '0')
if was_erased(now) then return {text(known), text(known)} end
local reached = math.min(rank(ARGV[1]), (now + 1) * RANKS - 1)

for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('inbox'), '(' .. text(rank(ARGV[2])), text(reached))) do
  redis.call('HSETNX', of('receipts'), id .. ':d', text(now))
end
tie(of('receipts'))
if reached > known then
  redis.call('HSET', of('state'), 'acked', text(reached))
  redis.call('PEXPIRE', of('state'), ARGV[3])
end
return {text(known), text(math.max(known, reached))}
