-- Find a notification in a channel's log, with its receipts.
--
-- KEYS  1 the channel
-- ARGV  1 the notification's id
-- Answer  {entry, kind, times (user) or numbers (shared channel) of delivered, read, archived; "" if none}, or nothing

local place = places_of({ARGV[1]})[ARGV[1]]
if not place then return {} end
local id = place[1]
local receipts = redis.call('HMGET', of('receipts'), id .. ':d', id .. ':r', id .. ':a')
return {id, place[2], receipts[1] or '', receipts[2] or '', receipts[3] or ''}
