-- Settle what a worker has granted of an allowance, see protocol/allowance.py.
--
-- KEYS  1 the debt of all workers
-- ARGV  1 what was granted   2 the rate at which the debt is paid back, per second
-- Answer  the debt
--
-- The value is 'debt time', the time in seconds of this server. If its clock steps back, nothing is paid back.

local rate = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local debt = 0
local saved = redis.call('GET', KEYS[1])
if saved then
  local before, updated = string.match(saved, '^(%S+) (%S+)$')
  debt = math.max(tonumber(before) - rate * math.max(now - tonumber(updated), 0), 0)
end
debt = debt + tonumber(ARGV[1])
-- It may expire once it is paid back.
redis.call('SET', KEYS[1], string.format('%.6f %.6f', debt, now), 'PX', string.format('%.0f', debt / rate * 1000 + 1000))
return string.format('%.6f', debt)
