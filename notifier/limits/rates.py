"""Rates: how often each user, address or API key may do something, on all workers together."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from notifier.errors import RateLimited
from notifier.limits.name import Name
from notifier.protocol import rate_headers
from notifier.protocol.allowance import Allowance, Rate
from notifier.telemetry import metrics

MOST_NAMES = 100_000
_SHARE = 8  # a worker keeps to itself at most one part of so many of a burst


class Due(NamedTuple):
    """The amount to settle: that granted to a name since the last settlement."""

    name: Name
    allowance: Allowance
    granted: float


class Rates:
    """The allowances of one limit, by name. Names that have not used theirs lately take no memory."""

    def __init__(self, limit: str, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.rate = rate
        self._clock = clock
        self._quantum = rate.burst / _SHARE
        self._allowances: dict[Name, Allowance] = {}
        self._due: dict[Name, Allowance] = {}

    def __len__(self) -> int:
        return len(self._allowances)

    def take(self, name: Name, amount: float = 1) -> None:
        """Grant an amount, or refuse it.

        Raises:
            RateLimited
        """
        allowance = self._allowances.get(name) or self._new(name)
        wait = allowance.take(self.rate, self._clock(), amount)
        if wait:
            raise self.refusal(wait)
        if allowance.unsettled >= self._quantum:
            self._due[name] = allowance

    def has(self, name: Name, amount: float) -> bool:
        """Return whether an amount would be granted now, at once or in parts."""
        allowance = self._allowances.get(name) or self._new(name)
        return allowance.has(self.rate, self._clock(), amount)

    def spend(self, name: Name, amount: float) -> float:
        """Note an amount that was used. Return in how many seconds the next may be; 0.0: now."""
        allowance = self._allowances.get(name) or self._new(name)
        wait = allowance.spend(self.rate, self._clock(), amount)
        if allowance.unsettled >= self._quantum:
            self._due[name] = allowance
        return wait

    def refusal(self, wait: float) -> RateLimited:
        """Return the error that refuses something, and count it. `wait` is in seconds."""
        metrics.LIMITED.labels(self.limit).inc()
        headers = rate_headers.of_rate(self.limit, self.rate, wait)
        return RateLimited(retry_after=max(math.ceil(wait), 1), headers=headers, limit=self.limit)

    def take_due(self, most: int) -> list[Due]:
        """Begin the settlement of at most so many names."""
        names = list(itertools.islice(self._due, most))
        due = ((name, self._due.pop(name)) for name in names)
        return [Due(name, allowance, allowance.begin_settlement()) for name, allowance in due]

    def settle(self, due: list[Due], debts: list[float], began: float) -> None:
        """End the settlement that began at `began`."""
        now = self._clock()
        for (_, allowance, _), debt in zip(due, debts, strict=True):
            allowance.settle(self.rate, debt, began, now)

    def sweep(self, each: int) -> Iterator[None]:
        """Forget full allowances, which are the same as new ones. Yield after so many, to let others go first."""
        for number, (name, allowance) in enumerate(list(self._allowances.items()), 1):
            if allowance.is_full(self.rate, self._clock()) and name not in self._due:
                self._allowances.pop(name, None)
            if not number % each:
                yield

    def _new(self, name: Name) -> Allowance:
        if len(self._allowances) >= MOST_NAMES:
            self._allowances.pop(next(iter(self._allowances)))
        allowance = self._allowances[name] = Allowance(self._clock())
        return allowance
