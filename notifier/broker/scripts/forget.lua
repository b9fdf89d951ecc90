-- Forget an idempotency key whose request was rejected before it published anything.
--
-- KEYS  1 the key   ARGV  1 lifetime that it has left, ms, when its first lease ends: a retry may then have taken it over

if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
