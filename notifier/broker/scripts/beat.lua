-- Let every worker hear that one of them lives, and find out whether anything can be written.
--
-- KEYS  1 the nodes' channel, as sharded pub/sub channel   2 what is written (string)
-- ARGV  1 the node's name   2 how long it is kept, ms   3 the highest id time that it has seen, ms
-- Answer  {the highest id time that any node has seen, ms; what became of the write: a status or an error}
--
-- It is the time of Redis, unless that has stepped back: then ids go on where they were, on every node.
-- What cannot be written is published all the same: a worker that hears itself is not deaf.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms = string.format('%.0f', math.max(now, tonumber(ARGV[3]), tonumber(redis.call('GET', KEYS[2]) or 0)))
local written = redis.pcall('SET', KEYS[2], ms, 'PX', ARGV[2])
redis.call('SPUBLISH', KEYS[1], ARGV[1] .. ' ' .. ms)
return {ms, written}
