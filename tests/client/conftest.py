"""What the tests of the pure core share."""

from hypothesis import settings

# No deadline: a busy machine is no fault of the code. No database: each run looks for itself.
settings.register_profile("notifier", deadline=None, database=None)
settings.load_profile("notifier")
