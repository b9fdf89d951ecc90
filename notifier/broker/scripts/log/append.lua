-- Append an entry to a channel and publish it to the workers, as one step.
--
-- KEYS  1 the channel
-- ARGV  1 kind: i inbox, h history, e ephemeral (not stored), r removal
--       2 body: JSON, or a notification's id for r
--       3 the highest id time that the publishing worker has seen, ms
--       4 greatest number of entries   5 greatest age of an entry, ms
--       6 collapse key or ""   7 expiry of the entry, Unix ms, or 0
--       8 how long meta outlives the log, ms   9 lifetime of the dedupe key, ms, or 0   10 the dedupe key
--       11 type or ""   12 1 for a user's channel   13 1 if the notification has copies on shared channels and others
-- Answer  {id, number of workers that received it, 1 if the user has muted its type, 1 if the channel is new}
--
-- In `meta`, `logged` is the last entry of the log, `last` the last id assigned, ephemeral entries included, `floor` the
-- highest entry that a limit removed or that was lost, and `found` when the last loss was found, see raise.lua. The keys live as long as the channel is used; their expiry is renewed from time to
-- time. Entries of a type that the user has muted have the kind m: they are stored and sent to no connection.

local log, meta, collapse, inbox = of('log'), of('meta'), of('collapse'), of('inbox')
local kind, body = ARGV[1], ARGV[2]
local keep_mark = tonumber(ARGV[9])
local age = tonumber(ARGV[5])
local type, is_user, is_twin = ARGV[11], ARGV[12] == '1', ARGV[13] == '1'
local every = math.min(age / 10, 3600000) -- ms between two renewals of the keys
local lifetime = text(age + every)

if keep_mark > 0 then
  local id = redis.call('GET', of('mark:' .. ARGV[10]))
  if id then return {id, 0, 0, 0} end
end

local now = time_now()
local state = redis.call('HMGET', meta, 'last', 'logged', 'kept', 'floor')
local previous = state[2] or '0-0'

-- The id is later than every entry of this channel, and than all that the publishing worker has seen elsewhere.
local ms, sequence = math.max(now, tonumber(ARGV[3])), 0
if state[1] then
  local last_ms, last_sequence = parts(state[1])
  if ms <= last_ms then
    ms, sequence = last_ms, last_sequence + 1
  end
end
local id = string.format('%.0f-%.0f', ms, sequence)

local is_item = is_user and kind == 'i'
if is_item and type ~= '' and redis.call('HEXISTS', of('mutes'), 'type:' .. type) == 1 then kind = 'm' end

local function keep(key)
  if redis.call('PTTL', key) < 0 then tie(key) end
end

local function add_item()
  local score = text(rank(id))
  redis.call('ZADD', inbox, score, id)
  keep(inbox)
  if ARGV[7] ~= '0' then
    redis.call('ZADD', of('expiring'), ARGV[7], id)
    keep(of('expiring'))
  end
  if is_twin then
    redis.call('HSET', of('twins'), id, notification_of(body))
    keep(of('twins'))
  end
  if kind == 'm' then -- muted: not counted
    for _, flag in ipairs({'seen', 'read'}) do
      redis.call('ZADD', of(flag), score, id)
      keep(of(flag))
    end
  end
end

local function fall_out(entries)
  -- Entries that have outlived their ttl are not lost.
  local floor
  local has_late = redis.call('EXISTS', of('late')) == 1
  for _, entry in ipairs(entries) do
    local fields, expires, key = entry[2], nil, nil
    for i = 3, #fields, 2 do
      if fields[i] == 'x' then expires = tonumber(fields[i + 1]) end
      if fields[i] == 'c' then key = fields[i + 1] end
    end
    if key and redis.call('HGET', collapse, key) == entry[1] then redis.call('HDEL', collapse, key) end
    if not expires or expires > now then floor = entry[1] end
    if fields[1] == 'i' or fields[1] == 'm' then forget(entry[1]) end
    if has_late then redis.call('HDEL', of('late'), notification_of(fields[2])) end
  end
  -- After a failover that lost entries, the floor may already be higher.
  if floor and before(state[4] or '0-0', floor) then redis.call('HSET', meta, 'floor', floor) end
end

local function delete(entry)
  if redis.call('EXISTS', of('late')) == 1 then
    for _, found in ipairs(redis.call('XRANGE', log, entry, entry)) do
      redis.call('HDEL', of('late'), notification_of(found[2][2]))
    end
  end
  if redis.call('XDEL', log, entry) == 1 then -- see raise.lua
    redis.call('LPUSH', of('removed'), entry .. ' ' .. id)
    redis.call('LTRIM', of('removed'), 0, MOST_REMOVED - 1)
    redis.call('PEXPIRE', of('removed'), REMEMBERED)
  end
  forget(entry)
end

-- Remove a notification from the log, and return its collapse key.
local function take_out(notification)
  local place = places_of({notification})[notification]
  if not place then return end
  local entry = place[1]
  local fields = redis.call('XRANGE', log, entry, entry)[1][2]
  delete(entry)
  for i = 3, #fields, 2 do
    if fields[i] == 'c' then
      if redis.call('HGET', collapse, fields[i + 1]) == entry then redis.call('HDEL', collapse, fields[i + 1]) end
      return fields[i + 1]
    end
  end
end

if kind == 'e' then
  redis.call('HSET', meta, 'last', id)
else
  local entry = {'XADD', log, id, kind, body}
  if ARGV[7] ~= '0' then
    entry[#entry + 1] = 'x'
    entry[#entry + 1] = ARGV[7]
  end
  if ARGV[6] ~= '' then
    entry[#entry + 1] = 'c'
    entry[#entry + 1] = ARGV[6]
    local replaced = redis.call('HGET', collapse, ARGV[6])
    if replaced then delete(replaced) end
    redis.call('HSET', collapse, ARGV[6], id)
    if redis.call('HLEN', collapse) == 1 then redis.call('PEXPIRE', collapse, lifetime) end
  end
  local freed = kind == 'r' and take_out(body)
  if freed then -- a client may not have the removed entry, but the one that it had replaced: this removes that one, too
    entry[#entry + 1] = 'c'
    entry[#entry + 1] = freed
  end
  if kind == 'i' and not is_user then -- for readers of the log that skip the bodies
    if type ~= '' then
      entry[#entry + 1] = 't'
      entry[#entry + 1] = type
    end
    if is_twin then
      entry[#entry + 1] = 'w'
      entry[#entry + 1] = '1'
    end
  end
  redis.call(unpack(entry))
  redis.call('HSET', meta, 'last', id, 'logged', id)
  local length = redis.call('XLEN', log)
  local excess = length - tonumber(ARGV[4])
  if length == 1 then
    redis.call('PEXPIRE', log, lifetime)
    -- Either the first entry ever, or the log had expired as a whole. After recalls of all entries the counter goes on.
    local info = redis.call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
      if info[i] == 'entries-added' and info[i + 1] == 1 and state[2] then
        redis.call('HSET', meta, 'floor', previous)
      end
    end
  elseif excess > 0 then
    fall_out(redis.call('XRANGE', log, '-', '+', 'COUNT', excess))
    redis.call('XTRIM', log, 'MAXLEN', ARGV[4])
  end
  if is_item then add_item() end
  local notification = notification_of(body)
  local made = kind ~= 'r' and made_at(notification)
  if made and ms > made + LATE then -- see `places_of`
    redis.call('HSET', of('late'), notification, id)
    tie(of('late'))
  end
end

-- Once an hour, or a tenth of the age if that is shorter: remove entries that are too old, and renew the expiry of the keys.
-- Ephemeral entries do not touch the log: readers that follow it look at its end.
local is_due = not state[3] or now - tonumber(state[3]) > every
if is_due then redis.call('PEXPIRE', meta, text(age + every + tonumber(ARGV[8]))) end
if is_due and kind ~= 'e' then
  local oldest, from = text(now - age), '-'
  repeat
    local old = redis.call('XRANGE', log, from, '(' .. oldest .. '-0', 'COUNT', 100)
    fall_out(old)
    if #old > 0 then from = '(' .. old[#old][1] end
  until #old < 100
  redis.call('XTRIM', log, 'MINID', oldest)
  redis.call('HSET', meta, 'kept', text(now))
  for _, key in ipairs({log, collapse, of('late')}) do redis.call('PEXPIRE', key, lifetime) end
  if is_user then
    for _, key in ipairs(TIED) do redis.call('PEXPIRE', of(key), lifetime) end
  end
end

if keep_mark > 0 then redis.call('SET', of('mark:' .. ARGV[10]), id, 'PX', keep_mark) end
local heard = redis.call('SPUBLISH', channel, id .. ' ' .. previous .. ' ' .. kind .. ' ' .. body)
return {id, heard, kind == 'm' and 1 or 0, state[1] and 0 or 1}
