"""Holdings: how many streams each user or address may have open, on all workers together."""

import itertools
import time
from collections.abc import Callable
from typing import Any

from notifier.errors import RateLimited
from notifier.limits.name import Name
from notifier.protocol import rate_headers
from notifier.telemetry import metrics

_SHARE = 8  # a worker keeps to itself at most one part of so many
_REFRESH = 15.0  # seconds between two reports of the same number
_RETRY_AFTER = 5  # seconds


class Holdings:
    """One limit. `count` returns how many streams of a name this worker has.

    Numbers are reported to the other workers, and theirs asked for, only of names that have many.
    """

    def __init__(
        self, limit: str, most: int, count: Callable[[Any], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._most = most
        self._count = count
        self._clock = clock
        self._floor = most // _SHARE
        self._others: dict[Name, tuple[int, float]] = {}  # how many the other workers have, and when that was reported
        self._changed: dict[Name, None] = {}

    def has_room(self, name: Name) -> bool:
        """Return whether there may be one more."""
        others, _ = self._others.get(name, (0, 0.0))
        return self._count(name) + others < self._most

    def require(self, name: Name) -> None:
        """Check that there may be one more.

        Raises:
            RateLimited
        """
        if not self.has_room(name):
            self._changed[name] = None  # the number of the others may be old
            metrics.LIMITED.labels(self.limit).inc()
            headers = rate_headers.of_concurrency(self.limit, self._most)
            raise RateLimited(
                f"At most {self._most} streams.", retry_after=_RETRY_AFTER, headers=headers, limit=self.limit
            )

    def note(self, name: Name) -> None:
        """Note that the number has changed."""
        if self._count(name) > self._floor or name in self._others:
            self._changed[name] = None

    def take_due(self, most: int) -> list[tuple[Name, int]]:
        """Begin to report at most so many names, with the number of each."""
        before = self._clock() - _REFRESH
        old = (name for name, (_, at) in list(self._others.items()) if at < before)
        names = list(itertools.islice(dict.fromkeys(itertools.chain(self._changed, old)), most))
        for name in names:
            self._changed.pop(name, None)
        return [(name, self._reported(name)) for name in names]

    def settle(self, due: list[tuple[Name, int]], others: list[int]) -> None:
        """End a report with the numbers of the other workers."""
        now = self._clock()
        for (name, number), number_of_others in zip(due, others, strict=True):
            if number or self._reported(name) or self._count(name) + number_of_others >= self._most:
                self._others[name] = number_of_others, now
            else:
                self._others.pop(name, None)

    def fail(self, due: list[tuple[Name, int]]) -> None:
        """Report again what could not be reported."""
        self._changed.update(dict.fromkeys(name for name, _ in due))

    def _reported(self, name: Name) -> int:
        number = self._count(name)
        return number if number > self._floor else 0
