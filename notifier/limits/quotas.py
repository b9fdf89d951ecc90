"""Quotas: how much each user or API key may publish in a day, on all workers together. Days are in UTC."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from notifier.errors import QuotaExceeded
from notifier.protocol import rate_headers
from notifier.protocol.daily_usage import Amounts, DailyUsage
from notifier.telemetry import metrics

_SHARE = 64  # a worker keeps to itself at most one part of so many of a quota,
_AGE = 5.0  # and no longer than so many seconds


class Due(NamedTuple):
    """The amounts to settle: those granted to a name since the last settlement."""

    name: str
    usage: DailyUsage
    granted: Amounts


class Quotas:
    """The usage of one kind of publisher, by name. `most` are the quotas, 0 for none."""

    def __init__(self, limit: str, most: Amounts, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._most = most
        self._has_any = any(most)
        self._clock = clock
        self._quantum = Amounts(*(max(quota // _SHARE, 1) for quota in most))
        self._usages: dict[str, DailyUsage] = {}
        self._due: dict[str, DailyUsage] = {}

    def __bool__(self) -> bool:
        return self._has_any

    @property
    def has_topics(self) -> bool:
        """Whether there is a quota of new topics."""
        return self._most.topics > 0

    def take(self, name: str, amounts: Amounts) -> None:
        """Grant amounts, or refuse all of them.

        Raises:
            QuotaExceeded
        """
        usage, now = self._usage(name), self._clock()
        exceeded = usage.exceeds(self._most, now, amounts)
        if exceeded:
            raise self._refusal(usage, now, exceeded)
        self._add(name, usage, now, amounts)

    def has(self, name: str, amounts: Amounts) -> bool:
        """Return whether amounts would be granted now, at once or in parts."""
        return not self._usage(name).exceeds(self._most, self._clock(), amounts)

    def require_topics(self, name: str, number: int) -> None:
        """Check that topics may be created.

        Raises:
            QuotaExceeded
        """
        usage, now = self._usage(name), self._clock()
        if usage.exceeds(self._most, now, Amounts(topics=number)):
            raise self._refusal(usage, now, "topics")

    def has_used_topics(self, name: str) -> bool:
        """Return whether the quota of new topics is used up."""
        return not self.has(name, Amounts(topics=1))

    def note_topics(self, name: str, number: int) -> None:
        """Note topics that were created."""
        self._add(name, self._usage(name), self._clock(), Amounts(topics=number))

    def take_due(self, most: int) -> list[Due]:
        """Begin the settlement of at most so many names."""
        now = self._clock()
        late = (name for name, usage in self._due.items() if self._is_due(usage, now))
        names = list(itertools.islice(late, most))
        due = ((name, self._due.pop(name)) for name in names)
        return [Due(name, usage, usage.begin_settlement()) for name, usage in due]

    def settle(self, due: list[Due], used: list[tuple[Amounts, float]]) -> None:
        """End a settlement. `used` is what all workers have used, and when the day ends, in seconds from now."""
        now = self._clock()
        for (_, usage, _), (amounts, left) in zip(due, used, strict=True):
            usage.settle(amounts, now + left)

    def fail(self, due: list[Due]) -> None:
        """Keep amounts for the next settlement: this one failed."""
        for name, usage, _ in due:
            usage.fail()
            self._due[name] = usage

    def sweep(self, each: int) -> Iterator[None]:
        """Forget usages that are settled and in which nothing is used up. Yield after so many."""
        for number, (name, usage) in enumerate(list(self._usages.items()), 1):
            if name not in self._due and usage.unsettled == Amounts() and not self._is_near(usage):
                self._usages.pop(name, None)
            if not number % each:
                yield

    def _usage(self, name: str) -> DailyUsage:
        usage = self._usages.get(name)
        if usage is None:
            usage = self._usages[name] = DailyUsage(self._clock())
        return usage

    def _add(self, name: str, usage: DailyUsage, now: float, amounts: Amounts) -> None:
        usage.add(now, amounts)
        self._due[name] = usage

    def _is_due(self, usage: DailyUsage, now: float) -> bool:
        is_much = any(used >= much for used, much in zip(usage.unsettled, self._quantum, strict=True))
        return is_much or not usage.is_known or now - usage.since >= _AGE

    def _is_near(self, usage: DailyUsage) -> bool:
        """Return whether so much is used that another worker's spending might have to be asked for again."""
        now = self._clock()
        return any(usage.left(self._most, now, name) < most / 2 for name, most in self._most._asdict().items() if most)

    def _refusal(self, usage: DailyUsage, now: float, name: str) -> QuotaExceeded:
        limit, wait = f"{self.limit}_{name}", usage.wait(now)
        metrics.LIMITED.labels(limit).inc()
        headers = rate_headers.of_day(limit, getattr(self._most, name), usage.left(self._most, now, name), wait)
        return QuotaExceeded(retry_after=math.ceil(wait), headers=headers, limit=limit)
