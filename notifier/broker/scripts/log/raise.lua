-- Record that a log has lost entries that a worker has seen, as a server may after a crash, and notify all workers.
--
-- KEYS  1 the channel
-- ARGV  1 the last entry that was seen   2 how long the loss is remembered, ms
--       3 the highest id time that the worker has seen, ms
-- Answer  1 if the entry is lost and that was not known, otherwise 0
--
-- Until now, clients were served without a report of the loss, and their cursors may have passed the entry. So `found` is
-- also stored: an id between those that were assigned by now and all later ones. A worker that receives it has sent its
-- connections what came before, and counts it as the end of the log.
--
-- The log ends before the entry, or goes on without it. In the second case the entry may also have been removed by a recall
-- or replaced by its collapse key. A channel remembers which entries were removed lately. Where it has forgotten some, one
-- that removes others must be a later entry of the log, and the log must have deleted an entry at or after this one. Erased
-- entries are not lost.

-- Return whether an entry was removed; nothing if that is not known any more.
local function was_removed(entry)
  local removed = redis.call('LRANGE', of('removed'), 0, -1)
  for _, each in ipairs(removed) do
    local which, by = string.match(each, '(%S+) (%S+)')
    if which == entry then return true end
    if before(by, entry) then return false end -- this and all earlier removals were before the entry
  end
  if #removed < MOST_REMOVED and parts(entry) > time_now() - REMEMBERED then return false end
end

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

local function may_be_removed(log, entry)
  if before(deleted(log), entry) then return false end
  for _, later in ipairs(redis.call('XRANGE', log, '(' .. entry, '+')) do
    if takes_away(later[2]) then return true end
  end
end

local meta, log, seen = of('meta'), of('log'), ARGV[1]
local state = redis.call('HMGET', meta, 'floor', 'logged', 'last', 'found')
local erased = redis.call('GET', of('erased'))
if erased and parts(seen) <= tonumber(erased) then return 0 end
if not before(state[1] or '0-0', seen) or state[2] == seen or state[4] == seen then return 0 end
if before(seen, state[2]) then
  if #redis.call('XRANGE', log, seen, seen) > 0 then return 0 end
  local removed = was_removed(seen)
  if removed or (removed == nil and may_be_removed(log, seen)) then return 0 end
end
local seen_ms, last_ms = parts(seen), parts(state[3])
local found = text(math.max(time_now(), tonumber(ARGV[3]), seen_ms, last_ms) + 1) .. '-0'
redis.call('HSET', meta, 'floor', seen, 'found', found, 'last', found)
if redis.call('PTTL', meta) < 0 then redis.call('PEXPIRE', meta, ARGV[2]) end
redis.call('SPUBLISH', channel, 'lost ' .. found)
return 1
