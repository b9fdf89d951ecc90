-- Shared by the scripts on a channel: names of its keys, ranks, and how an entry is removed.
--
-- KEYS  1 the channel, as sharded pub/sub channel. The names of its keys begin with it and so share its hash tag:
--         log (stream)   meta (hash)   collapse (hash: collapse key -> entry)   mark:<notification> (string)
--         receipts (hash: <entry>:d, :r, :a -> when it was delivered, read, archived; of a shared channel: how many times)
--       and of a user's channel
--         inbox (sorted set of the log's entries that are items of the inbox, by rank)
--         expiring (sorted set of those with a ttl, by ms)   twins (hash: entry that went to shared channels too -> id)
--         seen, read, archived (sorted sets of items, by rank: exceptions from the marks of the same names in `state`)
--         shared (sorted set of `<first letter of the flag> <entry> <channel>`, by rank: the same for other channels)
--         state (hash: seen, read, archived, revision, acked)   topics (hash: topic -> the last entry before the membership)
--         mutes (hash: `type:<type>` or `topic:<topic>` -> since when, ms)
--         cut, erased (strings: time of the last disconnection and erasure, ms)

local channel = KEYS[1]
local FLAGS = {'seen', 'read', 'archived'}
local TIED = {'inbox', 'expiring', 'twins', 'seen', 'read', 'archived', 'receipts'} -- expire with a user's log
local RANKS = 2048 -- entries of a millisecond that differ in rank

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
