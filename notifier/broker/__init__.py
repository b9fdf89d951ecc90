"""Redis: connections to it, scripts, keys, the log and the subscription."""
