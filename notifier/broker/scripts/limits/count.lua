-- Settle what a worker has granted of daily quotas, see protocol/daily_usage.py.
--
-- KEYS  1 a hash: what all workers have granted on a day, by kind
-- ARGV  1 publications   2 recipients   3 topics   4 bytes
-- Answer  {ms until the day in UTC ends, publications, recipients, topics, bytes}

local time = redis.call('TIME')
local day = math.floor(time[1] / 86400)
local left = (day + 1) * 86400000 - (time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('HGET', KEYS[1], 'day') ~= tostring(day) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'day', tostring(day))
end
local answer = {left}
for index, kind in ipairs({'publications', 'recipients', 'topics', 'bytes'}) do
  answer[index + 1] = redis.call('HINCRBY', KEYS[1], kind, ARGV[index])
end
redis.call('PEXPIRE', KEYS[1], left + 60000)
return answer
