-- Note that a log has lost entries that somebody has seen: a replica took over that did not have them.
--
-- KEYS  1 meta of the channel (hash: floor, logged)
-- ARGV  1 the last entry that was seen   2 how long to remember it, ms
-- Answer  1 if the log ends before it, else 0

local function parts(id)
  local ms, sequence = string.match(id or '0-0', '(%d+)-(%d+)')
  return tonumber(ms), tonumber(sequence)
end

local function before(first, second)
  local ms, sequence = parts(first)
  local other_ms, other_sequence = parts(second)
  return ms < other_ms or (ms == other_ms and sequence < other_sequence)
end

local meta, seen = KEYS[1], ARGV[1]
local state = redis.call('HMGET', meta, 'floor', 'logged')
if not before(state[2] or '0-0', seen) then return 0 end
if before(state[1] or '0-0', seen) then redis.call('HSET', meta, 'floor', seen) end
if redis.call('PTTL', meta) < 0 then redis.call('PEXPIRE', meta, ARGV[2]) end
return 1
