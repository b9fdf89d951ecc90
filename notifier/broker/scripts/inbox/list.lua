-- List items of a user's own channel, the newest first.
--
-- KEYS  1 the user's channel
-- ARGV  1 highest rank, as a bound of ZREVRANGEBYSCORE   2 greatest number of items   3 status: all, unread, archived, any
-- Answer  {{entry, flags: any of s, r, a}, ...}

local status, most = ARGV[3], tonumber(ARGV[2])
local state = redis.call('HMGET', of('state'), 'seen', 'read', 'archived')

local function has(number, id, score)
  local excepted = redis.call('ZSCORE', of(FLAGS[number]), id)
  return (score <= tonumber(state[number] or '0')) ~= (excepted ~= false)
end

pcall(drop_expired, time_now())
local items, bound, offset = {}, ARGV[1], 0
repeat
  local found = redis.call('ZREVRANGEBYSCORE', of('inbox'), bound, '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  for i = 1, #found, 2 do
    local id, score = found[i], tonumber(found[i + 1])
    local archived = has(3, id, score)
    if status == 'any' or archived == (status == 'archived') then
      local read = has(2, id, score)
      if status ~= 'unread' or not read then
        items[#items + 1] = {id, (has(1, id, score) and 's' or '') .. (read and 'r' or '') .. (archived and 'a' or '')}
      end
    end
    if #items == most then return items end
  end
  offset = offset + 100
until #found < 200
return items
