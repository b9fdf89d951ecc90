-- Take a notification out of a channel's log.
--
-- KEYS  1 the channel
-- ARGV  1 the notification's id   2 a time that is not later than its entry, ms
-- Answer  1 if it was there, else 0
--
-- A body begins with {"id":"<the id>", so nothing has to be decoded.

local log, collapse = of('log'), of('collapse')
local from = ARGV[2]

while true do
  local entries = redis.call('XRANGE', log, from, '+', 'COUNT', 64)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    if fields[1] ~= 'r' and string.sub(fields[2], 8, 43) == ARGV[1] then
      redis.call('XDEL', log, entry[1])
      forget(entry[1])
      for i = 3, #fields, 2 do
        if fields[i] == 'c' and redis.call('HGET', collapse, fields[i + 1]) == entry[1] then
          redis.call('HDEL', collapse, fields[i + 1])
        end
      end
      return 1
    end
  end
  if #entries < 64 then return 0 end
  from = '(' .. entries[64][1]
end
