-- Record that a log has lost entries that a worker has seen: a replica without them took over.
--
-- KEYS  1 the channel
-- ARGV  1 the last entry that was seen   2 how long the loss is remembered, ms
-- Answer  1 if the entry is lost and that was not known, otherwise 0
--
-- The log ends before the entry, or goes on without it. In the second case the entry may also have been removed by a recall
-- or replaced by its collapse key: either of them would be a later entry of the log, and the log would have deleted an
-- entry at or after this one. Erased entries are not lost.

local function takes_away(fields)
  for i = 3, #fields, 2 do
    if fields[i] == 'c' then return true end
  end
  return fields[1] == 'r'
end

-- Return the highest entry that was deleted. Trimming does not count.
local function deleted(log)
  local info = redis.pcall('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'max-deleted-entry-id' then return info[i + 1] end
  end
  return '0-0'
end

local meta, log, seen = of('meta'), of('log'), ARGV[1]
local state = redis.call('HMGET', meta, 'floor', 'logged')
local erased = redis.call('GET', of('erased'))
if erased and parts(seen) <= tonumber(erased) then return 0 end
if not before(state[1] or '0-0', seen) or state[2] == seen then return 0 end
if before(seen, state[2]) then
  if #redis.call('XRANGE', log, seen, seen) > 0 then return 0 end
  if not before(deleted(log), seen) then
    for _, entry in ipairs(redis.call('XRANGE', log, '(' .. seen, '+')) do
      if takes_away(entry[2]) then return 0 end
    end
  end
end
redis.call('HSET', meta, 'floor', seen)
if redis.call('PTTL', meta) < 0 then redis.call('PEXPIRE', meta, ARGV[2]) end
return 1
