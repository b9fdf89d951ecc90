-- Record that a client of a user has received everything after one entry, up to another.
--
-- KEYS  1 the user's channel
-- ARGV  1 the entry   2 the entry after which this holds   3 lifetime of the state, ms
-- Answer  {the entry acknowledged before, the entry acknowledged now}, as ranks
--
-- `recorded` has the ranges of ranks, `<after>-<up to>` in ascending order, whose items are recorded as delivered. What is
-- acknowledged again, by this client or another one, is not read again. The current millisecond, in which an entry may
-- still be appended, is not among them.

local MOST_RANGES = 32
local now = time_now()
local state = redis.call('HMGET', of('state'), 'acked', 'recorded')
local known = tonumber(state[1] or '0')
if was_erased(now) then return {text(known), text(known)} end
local reached = math.min(rank(ARGV[1]), (now + 1) * RANKS - 1)
local from = rank(ARGV[2])

local function record(after, up_to)
  if after >= up_to then return end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('inbox'), '(' .. text(after), text(up_to))) do
    redis.call('HSETNX', of('receipts'), id .. ':d', text(now))
  end
  tie(of('receipts'))
end

local function is_empty(after, up_to)
  return after >= up_to or redis.call('ZCOUNT', of('inbox'), '(' .. text(after), text(up_to)) == 0
end

local ranges, place = {}, from
for after, up_to in string.gmatch(state[2] or '', '(%d+)-(%d+)') do
  local range = {after = tonumber(after), up_to = tonumber(up_to)}
  ranges[#ranges + 1] = range
  record(place, math.min(range.after, reached))
  place = math.max(place, range.up_to)
end
record(place, reached)

local certain = math.min(reached, now * RANKS - 1)
local recorded = state[2]
if from < certain then
  -- The new range takes in those that overlap with it, and its neighbours if no items lie between.
  local range, parts, is_placed = {after = from, up_to = certain}, {}, false
  local function keep(each) parts[#parts + 1] = text(each.after) .. '-' .. text(each.up_to) end
  for _, each in ipairs(ranges) do
    if each.up_to < range.after and not is_empty(each.up_to, range.after) then keep(each)
    elseif range.up_to < each.after and not is_empty(range.up_to, each.after) then
      if not is_placed then keep(range) end
      is_placed = true
      keep(each)
    else
      range.after, range.up_to = math.min(range.after, each.after), math.max(range.up_to, each.up_to)
    end
  end
  if not is_placed then keep(range) end
  recorded = table.concat(parts, ' ', math.max(#parts - MOST_RANGES + 1, 1))
end
if reached > known or recorded ~= state[2] then
  redis.call('HSET', of('state'), 'acked', text(math.max(known, reached)), 'recorded', recorded or '')
  redis.call('PEXPIRE', of('state'), ARGV[3])
end
return {text(known), text(math.max(known, reached))}
