"""The settlement: adds this worker's granted amounts to the ledger in Redis, and fetches those of all workers.

A worker grants at once what its own count allows, and settles in the background. So a limit costs no round trip, holds
exactly in the long run, and is exceeded for a moment at most: by what each worker grants before it has settled. While
Redis cannot be reached, each worker uses its own count.
"""

import time
from collections.abc import Sequence

from notifier.broker.ledger import Held, Ledger, Spent, Used
from notifier.errors import BrokerUnavailable
from notifier.limits.holdings import Holdings
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.loop import Loop, give_way

_INTERVAL = 0.25  # seconds
_BATCH = 500  # names of a request to Redis: a few milliseconds there
_SWEEP, _SWEPT = 10.0, 500  # seconds between two sweeps; how many names at a time


class Settlement:
    """A thread that settles all limits of a worker."""

    def __init__(
        self, ledger: Ledger, rates: Sequence[Rates], quotas: Sequence[Quotas], holdings: Sequence[Holdings]
    ) -> None:
        self._ledger = ledger
        self._rates = rates
        self._quotas = quotas
        self._holdings = holdings
        self._swept_at = time.monotonic()
        self._loop = Loop("settlement of limits", self._step, longest_pause=5.0)

    def start(self) -> None:
        """Begin to settle."""
        self._loop.start()

    def stop(self) -> None:
        """Stop settling."""
        self._loop.stop()

    def run(self) -> None:
        """Settle everything that is due.

        Raises:
            BrokerUnavailable
        """
        for rates in self._rates:
            self._settle_rates(rates)
        for quotas in self._quotas:
            self._settle_quotas(quotas)
        for holdings in self._holdings:
            self._settle_holdings(holdings)

    def sweep(self) -> None:
        """Forget what is the same as never used."""
        for sweep in (*(each.sweep(_SWEPT) for each in self._rates), *(each.sweep(_SWEPT) for each in self._quotas)):
            for _ in sweep:
                give_way()

    def _step(self) -> None:
        time.sleep(_INTERVAL)
        self.run()
        if time.monotonic() - self._swept_at > _SWEEP:
            self._swept_at = time.monotonic()
            self.sweep()

    def _settle_rates(self, rates: Rates) -> None:
        is_full = True
        while is_full:
            due, began = rates.take_due(_BATCH), time.monotonic()
            is_full = len(due) == _BATCH
            # If this fails, what was granted is forgotten: it is paid back before Redis is there again, most likely.
            spent = [Spent(rates.limit, str(name), granted, rates.rate.per_second) for name, _, granted in due]
            rates.settle(due, self._ledger.spend(spent), began)

    def _settle_quotas(self, quotas: Quotas) -> None:
        is_full = True
        while is_full:
            due = quotas.take_due(_BATCH)
            is_full = len(due) == _BATCH
            try:
                quotas.settle(due, self._ledger.count([Used(quotas.limit, name, used) for name, _, used in due]))
            except BrokerUnavailable:
                quotas.fail(due)
                raise

    def _settle_holdings(self, holdings: Holdings) -> None:
        due = holdings.take_due(_BATCH)
        try:
            held = [Held(holdings.limit, str(name), number) for name, number in due]
            holdings.settle(due, self._ledger.hold(held))
        except BrokerUnavailable:
            holdings.fail(due)
            raise
