-- Shared by the scripts that change exceptions among the items of shared channels: a string per flag and channel, of ranks
-- in ascending order, eight bytes each.

local function rank_at(ranks, place) return (struct.unpack('<I8', ranks, place)) end

-- Return the place of a rank, or the one where it belongs; it is not before `first`.
local function place_of(ranks, rank, first)
  local low, high = 0, (#ranks + 1 - first) / 8
  if high > 0 and rank_at(ranks, first) >= rank then return first end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if rank_at(ranks, first + 8 * middle) < rank then low = middle + 1 else high = middle end
  end
  return first + 8 * low
end

-- Make each of the `named` ranks present or absent, as `wanted` returns. Return the new ranks, and how many have changed.
local function with(ranks, named, wanted)
  local parts, copied, first, changed = {}, 1, 1, 0
  for i = 1, #named, 8 do
    local rank = rank_at(named, i)
    local place = place_of(ranks, rank, first)
    local is_present = place <= #ranks and rank_at(ranks, place) == rank
    first = is_present and place + 8 or place
    if is_present ~= wanted(rank) then
      parts[#parts + 1] = string.sub(ranks, copied, place - 1)
      if not is_present then parts[#parts + 1] = string.sub(named, i, i + 7) end
      copied, changed = first, changed + 1
    end
  end
  parts[#parts + 1] = string.sub(ranks, copied)
  return table.concat(parts), changed
end

local function exceptions(field) return redis.call('HGET', of('exceptions'), field) or '' end

local function set_exceptions(field, ranks)
  if ranks == '' then redis.call('HDEL', of('exceptions'), field)
  else redis.call('HSET', of('exceptions'), field, ranks) end
end

-- Make each of these ranks an exception or not, and return how many have changed.
local function change_exceptions(field, named, wanted)
  local ranks, changed = with(exceptions(field), named, wanted)
  if changed > 0 then set_exceptions(field, ranks) end
  return changed
end

-- Remove the exceptions from a flag up to a rank, and return their number.
local function drop_exceptions(letter, up_to)
  local dropped = 0
  for _, field in ipairs(redis.call('HKEYS', of('exceptions'))) do
    if string.sub(field, 1, 1) == letter then
      local ranks = exceptions(field)
      local place = place_of(ranks, up_to + 1, 1)
      if place > 1 then
        set_exceptions(field, string.sub(ranks, place))
        dropped = dropped + (place - 1) / 8
      end
    end
  end
  return dropped
end
