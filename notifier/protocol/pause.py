"""Pauses after failures: each is twice as long as the one before."""

FIRST, LONGEST = 1.0, 300.0  # seconds
_DOUBLINGS = 20  # more would overflow


class Pause:
    """The pause of one client. `now` is in seconds."""

    __slots__ = ("_failures", "until")

    def __init__(self) -> None:
        self._failures = 0
        self.until = 0.0

    def lengthen(self, now: float) -> None:
        """Begin the next pause."""
        self.until = now + min(FIRST * 2.0 ** min(self._failures, _DOUBLINGS), LONGEST)
        self._failures += 1

    def left(self, now: float) -> float:
        """Return how many seconds are left; 0.0: it is over."""
        return max(self.until - now, 0.0)
