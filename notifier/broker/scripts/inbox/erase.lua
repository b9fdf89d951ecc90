-- Disconnect a user, and remove all keys of their channel.
--
-- KEYS  1 the user's channel
-- ARGV  1 reason, for the workers   2 how long the erasure is remembered, ms
-- Answer  {ids of the notifications in the log, topics of the user}: keys elsewhere name them

local ids, from = {}, '-'
repeat -- few at a time: their bodies may be long
  local entries = redis.call('XRANGE', of('log'), from, '+', 'COUNT', 64)
  for _, entry in ipairs(entries) do
    local kind, body = entry[2][1], entry[2][2]
    local id = kind == 'r' and body or notification_of(body)
    ids[#ids + 1] = id
    redis.call('DEL', of('mark:' .. id))
    from = '(' .. entry[1]
  end
until #entries < 64
local topics = redis.call('HKEYS', of('topics'))
for _, what in ipairs({'log', 'late', 'removed', 'meta', 'collapse', 'exceptions', 'state', 'topics', 'mutes', unpack(TIED)}) do
  redis.call('DEL', of(what))
end
redis.call('SET', of('erased'), disconnect(ARGV[1], ARGV[2]), 'PX', ARGV[2])
return {ids, topics}
