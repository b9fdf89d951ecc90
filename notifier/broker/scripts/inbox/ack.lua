-- Record that a client of a user has received everything after one entry, up to another.
--
-- KEYS  1 the user's channel
-- ARGV  1 the entry   2 the entry after which this holds   3 lifetime of the state, ms
-- Answer  {the entry acknowledged before, the entry acknowledged now}, as ranks
--
-- All items after `recorded_from`, up to `recorded_to`, are recorded as delivered. An acknowledgement that is repeated, or
-- goes back, does not read them again. The current millisecond, in which an entry may still be appended, is not among them.

local now = time_now()
local state = redis.call('HMGET', of('state'), 'acked', 'recorded_from', 'recorded_to')
local known = tonumber(state[1] or '0')
if was_erased(now) then return {text(known), text(known)} end
local reached = math.min(rank(ARGV[1]), (now + 1) * RANKS - 1)
local from = rank(ARGV[2])
local recorded_from, recorded_to = tonumber(state[2] or '0'), tonumber(state[3] or '0')

local function record(after, up_to)
  if after >= up_to then return end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('inbox'), '(' .. text(after), text(up_to))) do
    redis.call('HSETNX', of('receipts'), id .. ':d', text(now))
  end
  tie(of('receipts'))
end
record(from, math.min(recorded_from, reached))
record(math.max(from, recorded_to), reached)

local function is_empty(after, up_to)
  return after >= up_to or redis.call('ZCOUNT', of('inbox'), '(' .. text(after), text(up_to)) == 0
end
local certain = math.min(reached, now * RANKS - 1)
local has_more = true
if certain > recorded_to and from < certain then
  recorded_from = is_empty(recorded_to, from) and math.min(from, recorded_from) or from
  recorded_to = certain
elseif from < recorded_from and is_empty(reached, recorded_from) then recorded_from = from
else has_more = reached > known end
if has_more then
  redis.call(
    'HSET', of('state'), 'acked', text(math.max(known, reached)),
    'recorded_from', text(recorded_from), 'recorded_to', text(recorded_to)
  )
  redis.call('PEXPIRE', of('state'), ARGV[3])
end
return {text(known), text(math.max(known, reached))}
