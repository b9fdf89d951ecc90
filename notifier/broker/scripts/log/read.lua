-- Read the entries of a log after a position, within limits.
--
-- KEYS  1 the log (stream)   2 meta (hash: floor, logged, found)
-- ARGV  1 the position   2 greatest number of entries   3 bytes after which reading stops
-- Answer  {floor or false, logged or false, found or false, 1 if the log exists, 1 if these are the last entries, entries}

local log, meta = KEYS[1], KEYS[2]
local most, budget = tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', meta, 'floor', 'logged', 'found')
local entries, from, complete = {}, '(' .. ARGV[1], 0

repeat
  local step = math.min(10, most - #entries)
  local read = redis.call('XRANGE', log, from, '+', 'COUNT', step)
  for _, entry in ipairs(read) do
    entries[#entries + 1] = entry
    budget = budget - #entry[2][2]
    from = '(' .. entry[1]
  end
  if #read < step then complete = 1 end
until complete == 1 or budget <= 0 or #entries >= most

return {state[1], state[2], state[3], redis.call('EXISTS', log), complete, entries}
