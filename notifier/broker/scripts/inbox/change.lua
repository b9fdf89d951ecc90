-- Change a user's memberships or mutes.
--
-- KEYS  1 the user's channel
-- ARGV  1 topics or mutes   2 1 to remove all others   3 lifetime of the state, ms   4 number of fields to add
--       5 greatest number of fields, or 0
--       then pairs of a field to add and its value (`now` for the time), then fields to remove
-- Answer  {number added, number removed}; -1 as the first one if there would be too many. A field that exists is kept.

local key, keep = of(ARGV[1]), {}
local added, removed = 0, 0
local first = 6 + 2 * tonumber(ARGV[4])

local most = tonumber(ARGV[5])
if most > 0 then
  local new = 0
  for i = 6, first - 1, 2 do new = new + 1 - redis.call('HEXISTS', key, ARGV[i]) end
  if new > 0 and redis.call('HLEN', key) + new > most then return {-1, 0} end
end
for i = 6, first - 1, 2 do
  keep[ARGV[i]] = true
  local value = ARGV[i + 1]
  added = added + redis.call('HSETNX', key, ARGV[i], value == 'now' and text(time_now()) or value)
end
for i = first, #ARGV do removed = removed + redis.call('HDEL', key, ARGV[i]) end
if ARGV[2] == '1' then
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if not keep[field] then removed = removed + redis.call('HDEL', key, field) end
  end
end
if added + removed > 0 then announce('"action":"' .. ARGV[1] .. '"', ARGV[3]) end
return {added, removed}
