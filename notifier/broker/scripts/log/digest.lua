-- Read the entries of a shared channel's log after a position, without bodies.
--
-- KEYS  1 the channel
-- ARGV  1 the position   2 greatest number of entries   3 bytes after which reading stops
-- Answer  {the first entry of the log or "", the last one ever appended, 1 if these are the last entries,
--          {{entry, kind, notification's id, expiry or "", collapse key or "", type or "", 1 if a copy or ""}, ...},
--          expiry of the log as a whole, Unix ms, below 1 for never, bytes that were read: at least 1,024 for each entry},
--         or nothing if the position is the last entry: entries leave the log only when others come, or all at once

local channel = KEYS[1]
local log, rows = channel .. ':log', {}
local logged = redis.call('HGET', channel .. ':meta', 'logged') or '0-0'
if logged == ARGV[1] and redis.call('EXISTS', log) == 1 then return false end
local most, budget = tonumber(ARGV[2]), tonumber(ARGV[3])
local from, complete, size = '(' .. ARGV[1], 0, 0
repeat
  local step = math.min(20, most - #rows)
  local entries = redis.call('XRANGE', log, from, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    local more = {}
    for i = 3, #fields, 2 do more[fields[i]] = fields[i + 1] end
    local id = fields[1] == 'r' and fields[2] or string.sub(fields[2], 8, 43)
    rows[#rows + 1] = {entry[1], fields[1], id, more.x or '', more.c or '', more.t or '', more.w or ''}
    size = size + math.max(#fields[2], 1024)
    from = '(' .. entry[1]
  end
  if #entries < step then complete = 1 end
until complete == 1 or size >= budget or #rows >= most
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
return {
  first[1] and first[1][1] or '', logged, complete, rows, redis.call('PEXPIRETIME', log), size,
}
