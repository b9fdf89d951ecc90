-- Return how a user's inbox stands.
--
-- KEYS  1 the user's channel
-- Answer  see `inbox_state` in user.lua

local now = time_now()
pcall(drop_expired, now) -- where nothing can be written, it may count them for a while
return inbox_state()
