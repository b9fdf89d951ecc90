"""Allowances: how often something may be done, by the generic cell rate algorithm in its form as a leaky bucket.

Used amounts add to a debt, which is paid back at the rate; more is allowed as long as the debt stays within the
burst. Several workers may share an allowance: each counts what it grants at once, and settles later with a ledger that
adds up the debts of all of them.
"""

from typing import NamedTuple

_NOISE = 1e-9  # of floats


class Rate(NamedTuple):
    """How much is allowed: `per_second` in the long run, and `burst` at once."""

    per_second: float
    burst: float

    @classmethod
    def of(cls, per_second: float, seconds: float = 2) -> "Rate":
        """Return a rate with what it allows in so many seconds as its burst, at least 1."""
        return cls(per_second, max(seconds * per_second, 1))


class Allowance:
    """The remaining amount of a rate. `now` is in seconds, of a clock of this worker.

    `unsettled` is the amount granted since the last settlement began.
    """

    __slots__ = ("_debt", "_updated", "unsettled")

    def __init__(self, now: float) -> None:
        self._debt = 0.0
        self._updated = now
        self.unsettled = 0.0

    def take(self, rate: Rate, now: float, amount: float = 1) -> float:
        """Use it and return 0.0, or return in how many seconds it can be used.

        An amount that is larger than the burst may be used as soon as there is no debt.
        """
        per_second, burst = rate
        debt = self._debt - per_second * max(now - self._updated, 0)
        if debt < 0:
            debt = 0.0
        self._updated = now
        excess = debt + amount - burst
        if excess > _NOISE and debt > _NOISE:
            self._debt = debt
            return min(excess, debt) / per_second
        self._debt = debt + amount
        self.unsettled += amount
        return 0.0

    def spend(self, rate: Rate, now: float, amount: float) -> float:
        """Use it in any case. Return in how many seconds the debt is within the burst; 0.0: it is now."""
        self._pay(rate, now)
        self._add(amount)
        return max(self._debt - rate.burst, 0.0) / rate.per_second

    def has(self, rate: Rate, now: float, amount: float) -> bool:
        """Return whether it can be used, at once or in parts."""
        self._pay(rate, now)
        return self._debt + amount <= rate.burst

    def is_full(self, rate: Rate, now: float) -> bool:
        """Return whether it is the same as a new one."""
        self._pay(rate, now)
        return self._debt <= _NOISE

    def begin_settlement(self) -> float:
        """Return what was granted since the last settlement began."""
        granted, self.unsettled = self.unsettled, 0.0
        return granted

    def settle(self, rate: Rate, debt: float, began: float, now: float) -> None:
        """Adopt the debt of all workers, which the ledger had after a settlement began at `began`.

        The debt does not become less: what this worker has granted is due, also if the ledger has forgotten it.
        """
        self._pay(rate, now)
        since = debt - rate.per_second * max(now - began, 0) + self.unsettled
        self._debt = max(self._debt, since)

    def _add(self, amount: float) -> None:
        self._debt += amount
        self.unsettled += amount

    def _pay(self, rate: Rate, now: float) -> None:
        self._debt = max(self._debt - rate.per_second * max(now - self._updated, 0), 0.0)
        self._updated = now


def add_to_ledger(debt: float, updated: float, now: float, per_second: float, amount: float) -> float:
    """Return the debt of a ledger that had `debt` at `updated`, after a settlement of `amount`.

    The script `limits/spend.lua` does the same. A clock of the ledger that steps back pays nothing back.
    """
    return max(debt - per_second * max(now - updated, 0), 0.0) + amount
