-- Set or clear flags of items of a user's inbox.
--
-- KEYS  1 the user's channel
-- ARGV  1 action, for the state frame   2 flags to change, by their first letters   3 1 to set them, 0 to clear them
--       4 entry up to which all items change, or ""   5 lifetime of the keys that are written, ms
--       6 number of notifications that are named   7 number of notifications that shared channels have
--       8 number of shared channels with items
--       then the ids of both, and pairs: a shared channel, and the ranks of its items; then pairs: a field of exceptions, and
--       ranks that are removed from it, because no entry has them any more. Ranks are in the form of exceptions.lua
-- Answer  {1 if anything changed, ids that were found, shared flags before: seen, read, archived, exceptions, state, number
--         of items of the user's own channel that were looked at one by one}
--
-- "Up to an entry" concerns the items that exist now. A mark sets a flag for all items before it at once. It never covers
-- the current millisecond, in which another entry may still be appended: items of that millisecond are changed one by one,
-- and so are items whose flag is cleared.

local action, letters, on = ARGV[1], ARGV[2], ARGV[3] == '1'
local up_to, lifetime, named = ARGV[4], ARGV[5], tonumber(ARGV[6])
local now = time_now()
if was_erased(now) then return {0, {}, {'0', '0', '0', {}}, inbox_state(), 0} end
drop_expired(now)

local changes, found, own, shared = 0, {}, {}, {}
local pairs_at = 9 + named + tonumber(ARGV[7])
local removals_at = pairs_at + 2 * tonumber(ARGV[8])
for i = 9 + named, pairs_at - 1 do found[ARGV[i]] = true end
for i = pairs_at, removals_at - 1, 2 do shared[#shared + 1] = {channel = ARGV[i], ranks = ARGV[i + 1]} end
for i = removals_at, #ARGV, 2 do
  change_exceptions(ARGV[i], ARGV[i + 1], function() return false end)
end

local marks = redis.call('HMGET', of('state'), 'seen', 'read', 'archived')
local before = {marks[1] or '0', marks[2] or '0', marks[3] or '0', redis.call('HGETALL', of('exceptions'))}

-- The items of the user's own channel that are concerned.
local bound = 0 -- the mark that covers all items before it
if up_to == '' then
  local notifications = {}
  for i = 9, 8 + named do notifications[#notifications + 1] = ARGV[i] end
  for id, place in pairs(places_of(notifications)) do
    if redis.call('ZSCORE', of('inbox'), place[1]) then
      own[#own + 1] = place[1]
      found[id] = true
    end
  end
else
  local ms = parts(up_to)
  bound = ms < now and rank(up_to) or now * RANKS - 1
  own = redis.call('ZRANGEBYSCORE', of('inbox'), on and text(bound + 1) or '-inf', text(rank(up_to)))
end

local function note(letter, id)
  if letter == 's' then return end
  if on then redis.call('HSETNX', of('receipts'), id .. ':' .. letter, text(now))
  else redis.call('HDEL', of('receipts'), id .. ':' .. letter) end
end

local function change(number)
  local flag = FLAGS[number]
  local letter = string.sub(flag, 1, 1)
  local mark = tonumber(marks[number] or '0')

  if on and up_to ~= '' then
    -- Receipts of the items that get the flag by the mark.
    if letter ~= 's' then
      local excepted = {}
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', of(flag), '(' .. text(mark), text(bound))) do excepted[id] = true end
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('inbox'), '(' .. text(mark), text(bound))) do
        if not excepted[id] then note(letter, id) end
      end
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', of(flag), '-inf', text(math.min(mark, bound)))) do note(letter, id) end
    end
    local lost = redis.call('ZREMRANGEBYSCORE', of(flag), '-inf', text(bound))
    lost = lost + drop_exceptions(letter, bound)
    if bound > mark then
      mark = bound
      redis.call('HSET', of('state'), flag, text(mark))
      lost = lost + 1
    end
    changes = changes + lost
  end

  local function is_exception(score) return (score > mark) == on end
  for _, id in ipairs(own) do
    local score = rank(id)
    local changed
    if is_exception(score) then changed = redis.call('ZADD', of(flag), text(score), id)
    else changed = redis.call('ZREM', of(flag), id) end
    if changed == 1 then note(letter, id) end
    changes = changes + changed
  end
  for _, items in ipairs(shared) do
    changes = changes + change_exceptions(letter .. ' ' .. items.channel, items.ranks, is_exception)
  end
end

for number, flag in ipairs(FLAGS) do
  if string.find(letters, string.sub(flag, 1, 1), 1, true) then change(number) end
end

local ids = {}
for id in pairs(found) do ids[#ids + 1] = id end
if changes > 0 then
  for _, key in ipairs({'seen', 'read', 'archived', 'receipts'}) do tie(of(key)) end
  redis.call('PEXPIRE', of('exceptions'), lifetime)
  local what = up_to ~= '' and '"up_to":"' .. up_to .. '"' or '"ids":["' .. table.concat(ids, '","') .. '"]'
  announce('"action":"' .. action .. '",' .. what, lifetime)
end
return {changes > 0 and 1 or 0, ids, before, inbox_state(), #own}
