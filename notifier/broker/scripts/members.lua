-- Read the first members of a topic whose names lie in some ranges.
--
-- KEYS  1 the members (sorted set, all with the score 0)
-- ARGV  1 how many at most   then pairs: the first and last bound of a range, as in ZRANGEBYLEX. Ranges are in the order of
--       the names, and have no name in common
-- Answer  the names, sorted

local most, found = tonumber(ARGV[1]), {}
for index = 2, #ARGV, 2 do
  local left = most - #found
  if left == 0 then break end
  for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[index], ARGV[index + 1], 'LIMIT', 0, left)) do
    found[#found + 1] = name
  end
end
return found
