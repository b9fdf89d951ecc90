"""Daily usage: how much of a quota was used on a day in UTC.

Several workers share it: each counts what it grants at once, and settles later with a ledger.
"""

import math
from typing import NamedTuple


class Amounts(NamedTuple):
    """Amounts of each kind that has a quota. Of quotas, 0 means that there is none."""

    publications: int = 0
    recipients: int = 0
    topics: int = 0
    bytes: int = 0

    def plus(self, other: "Amounts") -> "Amounts":
        """Return the sum."""
        publications, recipients, topics, size = self  # names cost a third of the time that a loop takes
        more_publications, more_recipients, more_topics, more_bytes = other
        return Amounts(
            publications + more_publications, recipients + more_recipients, topics + more_topics, size + more_bytes
        )


class DailyUsage:
    """The amounts that were used today. `now` is in seconds, of a clock of this worker.

    `unsettled` are the amounts granted since the last settlement began, `since` is when the first was granted.
    """

    __slots__ = ("_ends", "_total", "_under_way", "since", "unsettled")

    def __init__(self, now: float) -> None:
        self._total = Amounts()  # all that is known to be used, also what is not settled
        self._under_way = Amounts()  # what is being settled
        self._ends = math.inf  # when the day ends; not known before the first settlement
        self.unsettled = Amounts()
        self.since = now

    @property
    def is_known(self) -> bool:
        """Whether a settlement has returned the usage of the other workers."""
        return self._ends != math.inf

    def exceeds(self, most: Amounts, now: float, amounts: Amounts) -> str:
        """Return the name of a quota that does not have these amounts left; empty: all of them have."""
        for name, limit, used, asked in zip(most._fields, most, self._all(now), amounts, strict=True):
            if asked and used + asked > limit > 0:
                return name
        return ""

    def left(self, most: Amounts, now: float, name: str) -> int:
        """Return what is left of a quota."""
        at = most._fields.index(name)
        return max(most[at] - self._all(now)[at], 0)

    def add(self, now: float, amounts: Amounts) -> None:
        """Note what was used."""
        if self.unsettled == Amounts():
            self.since = now
        self.unsettled = self.unsettled.plus(amounts)
        self._total = self._total.plus(amounts)

    def wait(self, now: float) -> float:
        """Return how many seconds it is until the day ends; a moment, if that is not known yet."""
        return max(self._ends - now, 1.0) if self._ends != math.inf else 1.0

    def begin_settlement(self) -> Amounts:
        """Return what was used since the last settlement began."""
        self._under_way, self.unsettled = self.unsettled, Amounts()
        return self._under_way

    def settle(self, used: Amounts, ends: float) -> None:
        """Adopt what all workers have used on the day that ends at `ends`."""
        self._total, self._under_way, self._ends = used.plus(self.unsettled), Amounts(), ends

    def fail(self) -> None:
        """Keep what could not be settled for the next settlement."""
        self.unsettled, self._under_way = self.unsettled.plus(self._under_way), Amounts()

    def _all(self, now: float) -> Amounts:
        if now >= self._ends:  # the next settlement returns the usage of the new day
            self._total, self._ends = self._under_way.plus(self.unsettled), math.inf
        return self._total
