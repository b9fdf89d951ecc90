"""A clock that stops while a test runs, and moves on when the code under test sleeps."""


class Clock:
    """Takes the place of the module `time` in a module under test."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self.late = 0.0  # seconds that each sleep takes longer than it should

    def time(self) -> float:
        """Return the present time."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.sleeps.append(seconds)
        self.now += seconds + self.late
