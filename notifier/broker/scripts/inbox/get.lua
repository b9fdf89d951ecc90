-- Read the state of a user's inbox.
--
-- KEYS  1 the user's channel
-- Answer  see `inbox_state` in state.lua

local now = time_now()
pcall(drop_expired, now) -- if nothing can be written, expired items are counted for a while
return inbox_state()
