-- Publish a heartbeat to every worker, and find out whether Redis can be written.
--
-- KEYS  1 the workers' channel, as sharded pub/sub channel   2 the key that is written (string)
-- ARGV  1 the worker's name   2 lifetime of the key, ms   3 the highest id time that the worker has seen, ms
-- Answer  {the highest id time that any worker has seen, ms; the result of the write: a status or an error}
--
-- The time is that of Redis, unless its clock has stepped back: then ids go on from the latest time on every worker.
-- The heartbeat is published even if the write fails, because the subscription works. A replica is the exception: what is
-- published elsewhere may not reach its subscribers, so a worker that is connected to it must not receive a heartbeat.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms = string.format('%.0f', math.max(now, tonumber(ARGV[3]), tonumber(redis.call('GET', KEYS[2]) or 0)))
local written = redis.pcall('SET', KEYS[2], ms, 'PX', ARGV[2])
if not (type(written) == 'table' and written.err and string.find(written.err, 'READONLY', 1, true)) then
  redis.call('SPUBLISH', KEYS[1], ARGV[1] .. ' ' .. ms)
end
return {ms, written}
