-- Return the records of API keys that have changed since a version.
--
-- KEYS  1 the name of all keys, see put.lua
-- ARGV  1 the version that the worker has   2 most records in the answer   3 the version with which it began to ask
-- Answer  {version, record, record, ...}: the worker has the version then; it asks again until nothing is found. A
-- version lower than the one with which it began means that the database is another one, or, if it is 0, that records of
-- later changes were removed.

local version = tonumber(redis.call('GET', KEYS[1] .. ':version') or '0')
local seen, begun = tonumber(ARGV[1]), tonumber(ARGV[3])
if begun > 0 and begun < tonumber(redis.call('GET', KEYS[1] .. ':removed') or '0') then return {0} end
if version <= seen then return {version} end
local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':order', '(' .. seen, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {#found == 2 * tonumber(ARGV[2]) and tonumber(found[#found]) or version}
for index = 1, #found, 2 do
  local record = redis.call('HGET', KEYS[1] .. ':records', found[index])
  if record then answer[#answer + 1] = record end
end
return answer
