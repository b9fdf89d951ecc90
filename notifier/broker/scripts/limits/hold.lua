-- Note how many connections of a name a worker holds.
--
-- KEYS  1 a hash: worker -> 'number until'
-- ARGV  1 the worker   2 how many it holds   3 how long this is remembered, ms
-- Answer  how many the other workers hold

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %.0f', ARGV[2], now + ARGV[3]))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
local others = 0
local found = redis.call('HGETALL', KEYS[1])
for index = 1, #found, 2 do
  local number, until_ = string.match(found[index + 1], '^(%S+) (%S+)$')
  if tonumber(until_) < now then
    redis.call('HDEL', KEYS[1], found[index])
  elseif found[index] ~= ARGV[1] then
    others = others + tonumber(number)
  end
end
return others
