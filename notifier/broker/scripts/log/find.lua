-- Find a notification in a channel's log, with its receipts.
--
-- KEYS  1 the channel
-- ARGV  1 the notification's id   2 a time that is not later than its entry, ms
-- Answer  {entry, kind, times (user) or numbers (shared channel) of delivered, read, archived; "" if none}, or nothing

local channel, from = KEYS[1], ARGV[2]
while true do
  local entries = redis.call('XRANGE', channel .. ':log', from, '+', 'COUNT', 64)
  for _, entry in ipairs(entries) do
    if entry[2][1] ~= 'r' and string.sub(entry[2][2], 8, 43) == ARGV[1] then
      local id = entry[1]
      local receipts = redis.call('HMGET', channel .. ':receipts', id .. ':d', id .. ':r', id .. ':a')
      return {id, entry[2][1], receipts[1] or '', receipts[2] or '', receipts[3] or ''}
    end
  end
  if #entries < 64 then return {} end
  from = '(' .. entries[64][1]
end
