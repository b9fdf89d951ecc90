"""Settings that the tests of the pure core share."""

from hypothesis import settings

# No deadline: a slow run on a busy machine is not an error of the code. No database: each run searches independently.
settings.register_profile("notifier", deadline=None, database=None)
settings.load_profile("notifier")
