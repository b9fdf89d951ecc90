-- Cut a user off: let every worker close the connections of this user.
--
-- KEYS  1 the user's channel
-- ARGV  1 why, for the workers   2 how long to remember it, ms
-- Answer  when that was, ms

return disconnect(ARGV[1], ARGV[2])
