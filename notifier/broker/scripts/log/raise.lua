-- Note that a log has lost entries that somebody has seen: a replica took over that did not have them.
--
-- KEYS  1 the channel
-- ARGV  1 the last entry that was seen   2 how long to remember it, ms
-- Answer  1 if it is lost and that was not known, else 0
--
-- The log ends before it, or others have gone on without it. Then it may also have been taken away: by a recall, or by
-- what has its collapse key, and each of them would stand behind it. Nor is what was erased lost.

local function takes_away(fields)
  for i = 3, #fields, 2 do
    if fields[i] == 'c' then return true end
  end
  return fields[1] == 'r'
end

local meta, log, seen = of('meta'), of('log'), ARGV[1]
local state = redis.call('HMGET', meta, 'floor', 'logged')
local erased = redis.call('GET', of('erased'))
if erased and parts(seen) <= tonumber(erased) then return 0 end
if not before(state[1] or '0-0', seen) or state[2] == seen then return 0 end
if before(seen, state[2]) then
  if #redis.call('XRANGE', log, seen, seen) > 0 then return 0 end
  for _, entry in ipairs(redis.call('XRANGE', log, '(' .. seen, '+')) do
    if takes_away(entry[2]) then return 0 end
  end
end
redis.call('HSET', meta, 'floor', seen)
if redis.call('PTTL', meta) < 0 then redis.call('PEXPIRE', meta, ARGV[2]) end
return 1
