-- Find a notification in a channel's log, with its receipts.
--
-- KEYS  1 the channel
-- ARGV  1 the notification's id   2 where to go on, or ""   3 bytes after which reading stops
-- Answer  {entry, kind, times (user) or numbers (shared channel) of delivered, read, archived; "" if none}, or nothing,
--         or {where to go on} if reading has stopped: the notification may have left the log, which may be long

local places, from = places_of({ARGV[1]}, ARGV[2] ~= '' and ARGV[2], tonumber(ARGV[3]))
local place = places[ARGV[1]]
if not place then return {from} end
local id = place[1]
local receipts = redis.call('HMGET', of('receipts'), id .. ':d', id .. ':r', id .. ':a')
return {id, place[2], receipts[1] or '', receipts[2] or '', receipts[3] or ''}
