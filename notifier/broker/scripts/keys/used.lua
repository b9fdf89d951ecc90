-- Note when API keys were last used.
--
-- KEYS  1 the name of all keys, see put.lua
-- ARGV  id, ms, id, ms, ...

for index = 1, #ARGV, 2 do
  local id, ms = ARGV[index], tonumber(ARGV[index + 1])
  local known = tonumber(redis.call('HGET', KEYS[1] .. ':used', id) or '0')
  if ms > known and redis.call('HEXISTS', KEYS[1] .. ':records', id) == 1 then
    redis.call('HSET', KEYS[1] .. ':used', id, string.format('%.0f', ms))
  end
end
return 0
