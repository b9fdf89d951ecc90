-- Note that a client of a user has everything up to an entry.
--
-- KEYS  1 the user's channel
-- ARGV  1 the entry   2 after which entry it says so, or ""   3 how long what is written is kept, ms
-- Answer  {up to where it was known before, up to where it is known now}, as ranks

local now = time_now()
local known = tonumber(redis.call('HGET', of('state'), 'acked') or '0')
if was_erased(now) then return {text(known), text(known)} end
local reached = math.min(rank(ARGV[1]), (now + 1) * RANKS - 1)
local from = ARGV[2] == '' and known or rank(ARGV[2])

for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('inbox'), '(' .. text(from), text(reached))) do
  redis.call('HSETNX', of('receipts'), id .. ':d', text(now))
end
tie(of('receipts'))
if reached > known then
  redis.call('HSET', of('state'), 'acked', text(reached))
  redis.call('PEXPIRE', of('state'), ARGV[3])
end
return {text(known), text(math.max(known, reached))}
