-- Shared by the scripts on a channel: names of its keys, ranks, and how an entry is removed.
--
-- KEYS  1 the channel, as sharded pub/sub channel. The names of its keys begin with it and so share its hash tag:
--         log (stream)   meta (hash)   collapse (hash: collapse key -> entry)   mark:<notification> (string)
--         removed (list: `<entry> <by>`, which entries a recall or a collapse key has removed lately, the last one first)
--         late (hash: notification -> its entry, if that was appended more than LATE after the notification's id was made)
--         receipts (hash: <entry>:d, :r, :a -> when it was delivered, read, archived; of a shared channel: how many times)
--       and of a user's channel
--         inbox (sorted set of the log's entries that are items of the inbox, by rank)
--         expiring (sorted set of those with a ttl, by ms)   twins (hash: entry that went to shared channels too -> id)
--         seen, read, archived (sorted sets of items, by rank: exceptions from the marks of the same names in `state`)
--         exceptions (hash: `<first letter of the flag> <channel>` -> ranks: the same for items of other channels)
--         state (hash: seen, read, archived, revision, acked, recorded)
--         topics (hash: topic -> the last entry before the membership)
--         mutes (hash: `type:<type>` or `topic:<topic>` -> since when, ms)
--         cut, erased (strings: time of the last disconnection and erasure, ms)

local channel = KEYS[1]
local FLAGS = {'seen', 'read', 'archived'}
local TIED = {'inbox', 'expiring', 'twins', 'seen', 'read', 'archived', 'receipts'} -- expire with a user's log
local RANKS = 2048 -- entries of a millisecond that differ in rank
local LATE = 10000 -- ms
local MOST_REMOVED, REMEMBERED = 100, 600000 -- entries that a channel remembers to be removed; for how long, ms

local function of(what) return channel .. ':' .. what end

local function parts(id)
  local ms, sequence = string.match(id or '0-0', '(%d+)-(%d+)')
  return tonumber(ms), tonumber(sequence)
end

local function before(first, second)
  local ms, sequence = parts(first)
  local other_ms, other_sequence = parts(second)
  return ms < other_ms or (ms == other_ms and sequence < other_sequence)
end

-- Return the cursor of an entry as one number, to be used as a score.
local function rank(id)
  local ms, sequence = parts(id)
  return ms * RANKS + math.min(sequence, RANKS - 1)
end

local function text(number) return string.format('%.0f', number) end

-- Return the id of the notification that a body describes. A body begins with {"id":"<the id>", so it is not decoded.
local function notification_of(body) return string.sub(body, 8, 43) end

-- Return when the id of a notification was made, ms, or nothing. It is a UUID of version 7, and not later than any entry.
local function made_at(notification)
  return tonumber(string.sub(notification, 1, 8) .. string.sub(notification, 10, 13), 16)
end

-- Return {entry, kind} of each of these notifications that the log has, by their ids, which are sorted in place.
--
-- Redis reads entries with their bodies, which may be long. So only those entries are read that were appended soon after
-- one of the ids was made, each of them once: an unknown id does not read the log to its end.
--
-- With a `budget` of bytes, reading stops when it is used up. Then the position to go on from is also returned. It is the
-- `start` of the next call, for the same notification.
local function places_of(notifications, start, budget)
  local log, found, wanted = of('log'), {}, {}
  local from, reached = '-', -1
  local function read(last)
    local entries = redis.call('XRANGE', log, from, last, 'COUNT', 8)
    for _, entry in ipairs(entries) do
      local kind, notification = entry[2][1], notification_of(entry[2][2])
      if kind ~= 'r' and wanted[notification] then found[notification] = {entry[1], kind} end
      from, reached = '(' .. entry[1], parts(entry[1])
      if budget then budget = budget - #entry[2][2] end
    end
    return #entries == 8
  end
  for _, notification in ipairs(notifications) do wanted[notification] = true end
  table.sort(notifications) -- by the time when they were made
  for _, notification in ipairs(notifications) do
    local made = made_at(notification) or 0
    if made > reached then from = start or text(made) end
    while not found[notification] and read(text(made + LATE)) do
      if budget and budget <= 0 then return found, from end
    end
  end
  for _, notification in ipairs(notifications) do
    local entry = not found[notification] and redis.call('HGET', of('late'), notification)
    if entry then
      from = entry
      read(entry)
    end
  end
  return found
end

-- Remove an entry that has left the log from all other keys.
local function forget(id)
  redis.call('HDEL', of('receipts'), id .. ':d', id .. ':r', id .. ':a')
  if redis.call('ZREM', of('inbox'), id) == 0 then return end
  redis.call('ZREM', of('expiring'), id)
  redis.call('HDEL', of('twins'), id)
  for _, flag in ipairs(FLAGS) do redis.call('ZREM', of(flag), id) end
end

-- Make a key expire with the log.
local function tie(key)
  local time = redis.call('PEXPIRETIME', of('log'))
  if time > 0 then redis.call('PEXPIREAT', key, text(time)) end
end

local function time_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
