-- Note that a log has lost entries that somebody has seen: a replica took over that did not have them.
--
-- KEYS  1 meta of the channel (hash: floor, logged)   2 its log (stream)
-- ARGV  1 the last entry that was seen   2 how long to remember it, ms
-- Answer  1 if it is lost and that was not known, else 0
--
-- The log ends before it, or others have gone on without it. Then it may also have been taken away: by a recall, or by
-- what has its collapse key, and each of them would stand behind it.

local function parts(id)
  local ms, sequence = string.match(id or '0-0', '(%d+)-(%d+)')
  return tonumber(ms), tonumber(sequence)
end

local function before(first, second)
  local ms, sequence = parts(first)
  local other_ms, other_sequence = parts(second)
  return ms < other_ms or (ms == other_ms and sequence < other_sequence)
end

local function takes_away(fields)
  for i = 3, #fields, 2 do
    if fields[i] == 'c' then return true end
  end
  return fields[1] == 'r'
end

local meta, log, seen = KEYS[1], KEYS[2], ARGV[1]
local state = redis.call('HMGET', meta, 'floor', 'logged')
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
