"""Open streams: how many each user or address has here, and may have on all workers together."""

import time
from collections.abc import Callable

from notifier.limits.holdings import Holdings
from notifier.limits.name import Name


class Streams:
    """The open streams of one limit, by name."""

    def __init__(self, limit: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._numbers: dict[Name, int] = {}
        self.holdings = Holdings(limit, most, self._count, clock)

    def __len__(self) -> int:
        return len(self._numbers)

    def require(self, name: Name) -> None:
        """Check that there may be one more.

        Raises:
            RateLimited
        """
        self.holdings.require(name)

    def opened(self, name: Name) -> None:
        """Count a stream that is open."""
        self._numbers[name] = self._count(name) + 1
        self.holdings.note(name)

    def closed(self, name: Name) -> None:
        """Count a stream that is closed."""
        number = self._count(name) - 1
        if number > 0:
            self._numbers[name] = number
        else:
            self._numbers.pop(name, None)
        self.holdings.note(name)

    def _count(self, name: Name) -> int:
        return self._numbers.get(name, 0)
