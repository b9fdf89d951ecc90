-- Disconnect a user: every worker closes the connections of this user.
--
-- KEYS  1 the user's channel
-- ARGV  1 reason, for the workers   2 how long this is remembered, ms
-- Answer  the time of the disconnection, ms

return disconnect(ARGV[1], ARGV[2])
