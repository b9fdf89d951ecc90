-- Shared by the scripts on a user's inbox: its state, and how a change is published to the workers.

local function drop_expired(now)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', of('expiring'), '-inf', text(now), 'LIMIT', 0, 1000)) do
    forget(id)
    redis.call('ZREM', of('expiring'), id)
  end
end

-- Count the items without a flag: those behind its mark, corrected by the exceptions on either side.
local function without(flag, mark)
  local behind = '(' .. mark
  return redis.call('ZCOUNT', of('inbox'), behind, '+inf')
    - redis.call('ZCOUNT', of(flag), behind, '+inf')
    + redis.call('ZCOUNT', of(flag), '-inf', mark)
end

-- Return {marks: seen, read, archived; revision; unread and unseen items of this channel; expiry of the next item;
-- exceptions of shared channels; topics; mutes; copies; time of the last disconnection; expiry of the log as a whole, below
-- 1 for never}, or nothing.
local function inbox_state()
  if redis.call('EXISTS', of('inbox'), of('state'), of('topics'), of('mutes'), of('cut')) == 0 then return {} end
  local state = redis.call('HMGET', of('state'), 'seen', 'read', 'archived', 'revision')
  local next = redis.call('ZRANGE', of('expiring'), 0, 0, 'WITHSCORES')
  local seen, read = state[1] or '0', state[2] or '0'
  return {
    seen, read, state[3] or '0', state[4] or '0', without('read', read), without('seen', seen), next[2] or '0',
    redis.call('HGETALL', of('exceptions')), redis.call('HGETALL', of('topics')),
    redis.call('HGETALL', of('mutes')), redis.call('HVALS', of('twins')), redis.call('GET', of('cut')) or '0',
    redis.call('PEXPIRETIME', of('log')),
  }
end

-- Return whether the user was erased within the last second: requests in flight must not recreate data.
local function was_erased(now)
  local when = redis.call('GET', of('erased'))
  return when and now < tonumber(when) + 1000
end

-- Record that the state has changed, and publish the change to the workers that have a connection of this user.
local function announce(members, lifetime)
  local revision = redis.call('HINCRBY', of('state'), 'revision', 1)
  redis.call('PEXPIRE', of('state'), lifetime)
  redis.call('SPUBLISH', channel, '0-0 0-0 s {"revision":' .. revision .. ',' .. members .. '}')
end

-- Tell every worker to close the connections of this user. Workers that miss the message see the time when they read the
-- state; it always rises, so that a worker can tell whether it knows of this disconnection.
local function disconnect(why, kept)
  local last = tonumber(redis.call('GET', of('cut')) or '0')
  local when = text(math.max(time_now(), last + 1))
  redis.call('SET', of('cut'), when, 'PX', kept)
  redis.call('SPUBLISH', channel, '0-0 0-0 d ' .. when .. ' ' .. why)
  return when
end
