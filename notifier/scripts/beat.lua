-- Let every worker hear that one of them lives, and find out whether anything can be written.
--
-- KEYS  1 the nodes' channel, as sharded pub/sub channel   2 what is written (string)
-- ARGV  1 the node's name   2 how long it is kept, ms
-- Answer  {time of Redis in ms, what became of the write: a status or an error}
--
-- What cannot be written is published all the same: a worker that hears itself is not deaf.

local time = redis.call('TIME')
local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local written = redis.pcall('SET', KEYS[2], ms, 'PX', ARGV[2])
redis.call('SPUBLISH', KEYS[1], ARGV[1] .. ' ' .. ms)
return {ms, written}
