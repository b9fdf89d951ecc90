"""Allowances: how often something may be done, as a token bucket."""


class Allowance:
    """Allows `rate` uses per second in the long run, and twice that at once. `now` is in seconds."""

    __slots__ = ("_left", "_rate", "_updated")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = self._burst
        self._updated = now

    def take(self, now: float) -> float:
        """Use it once and return 0.0, or return in how many seconds it can be used again."""
        self._refill(now)
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0

    def is_full(self, now: float) -> bool:
        """Return whether it is the same as a new one."""
        self._refill(now)
        return self._left == self._burst

    @property
    def _burst(self) -> float:
        return max(2 * self._rate, 1)

    def _refill(self, now: float) -> None:
        self._left = min(self._left + self._rate * max(now - self._updated, 0), self._burst)
        self._updated = now
