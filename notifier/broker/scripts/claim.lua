-- Claim an idempotency key, or return the result of the request that has it.
--
-- KEYS  1 the key (hash: fingerprint, id, created, lease, and answer or packed)
-- ARGV  1 fingerprint of the request   2 notification id and 3 time of creation to use if the key is free
--       4 lease of the request, ms: a retry takes over after it   5 lifetime of the key, ms
-- Answer  {'claimed', id, created}   run the request under that id: that of the first try, if it did not finish
--         {'answered', answer}       {'packed', packed}       {'running'}       {'mismatch'}

local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen = redis.call('HMGET', key, 'fingerprint', 'id', 'created', 'lease', 'answer', 'packed')

if not seen[1] then
  local lease = string.format('%.0f', now + tonumber(ARGV[4]))
  redis.call('HSET', key, 'fingerprint', ARGV[1], 'id', ARGV[2], 'created', ARGV[3], 'lease', lease)
  redis.call('PEXPIRE', key, ARGV[5])
  return {'claimed', ARGV[2], ARGV[3]}
end
if seen[1] ~= ARGV[1] then return {'mismatch'} end
if seen[5] then return {'answered', seen[5]} end
if seen[6] then return {'packed', seen[6]} end
if tonumber(seen[4]) > now then return {'running'} end
redis.call('HSET', key, 'lease', string.format('%.0f', now + tonumber(ARGV[4])))
return {'claimed', seen[2], seen[3]}
