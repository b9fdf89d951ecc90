"""Settlements with Redis: two workers, an outage, and the days of Redis."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from notifier.broker.ledger import Held, Ledger, Spent, Used
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, QuotaExceeded, RateLimited
from notifier.limits.holdings import Holdings
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.limits.settlement import Settlement
from notifier.protocol.allowance import Rate
from notifier.protocol.daily_usage import Amounts
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.waiting import DEADLINE


class Worker:
    """The limits of one worker."""

    def __init__(self, name: str, store: Store) -> None:
        self.rates = Rates("rate", Rate(0.001, 16))
        self.quotas = Quotas("quota", Amounts(publications=10))
        self.streams = 0
        self.holdings = Holdings("streams", 8, lambda _: self.streams)
        self._settlement = Settlement(Ledger(store, name), [self.rates], [self.quotas], [self.holdings])
        self.settle = self._settlement.run
        self.sweep = self._settlement.sweep


Make = Callable[[str], Store]


@pytest.fixture
def make(valkey: EmbeddedValkey) -> Iterator[Make]:
    """Makes connections to Redis; the names of their keys begin with a prefix."""
    with contextlib.ExitStack() as stack:

        def make(prefix: str) -> Store:
            store = Store(BrokerSettings(redis_url=valkey.url, redis_prefix=prefix, redis_timeout=DEADLINE))
            stack.callback(store.close)
            return store

        yield make


def test_two_workers(make: Make) -> None:
    """Requests that one worker has granted are not available to the other, once both have settled."""
    store = make("two")
    one, two = Worker("one", store), Worker("two", store)
    one.rates.take("alice", 12)
    one.quotas.take("alice", Amounts(7))
    one.streams = 5
    one.holdings.note("alice")
    one.settle()
    two.rates.take("alice", 2)
    two.quotas.take("alice", Amounts(1))
    two.streams = 3
    two.holdings.note("alice")
    two.settle()
    two.rates.take("alice", 2)
    with pytest.raises(RateLimited):
        two.rates.take("alice", 1)
    two.quotas.take("alice", Amounts(2))
    with pytest.raises(QuotaExceeded) as raised:
        two.quotas.take("alice", Amounts(1))
    assert raised.value.retry_after and raised.value.retry_after <= 86400
    with pytest.raises(RateLimited):
        two.holdings.require("alice")
    one.streams = 0
    one.holdings.note("alice")
    one.settle()
    two.settle()
    two.holdings.require("alice")
    two.sweep()


def test_many(make: Make) -> None:
    """More names than one request settles are all settled."""
    store = make("many")
    one, two = Worker("one", store), Worker("two", store)
    for name in range(1100):
        one.rates.take(name, 16)
        two.rates.take(name, 2)
    one.settle()
    two.settle()
    for name in range(1100):
        with pytest.raises(RateLimited):
            two.rates.take(name, 1)


def test_outage() -> None:
    """Without Redis each worker goes by its own count; quotas are settled later, rates are forgotten there."""
    store = Store(BrokerSettings(redis_url="redis://127.0.0.1:1"))
    worker = Worker("one", store)
    worker.rates.take("alice", 16)
    worker.quotas.take("alice", Amounts(10))
    worker.streams = 8
    worker.holdings.note("alice")
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            worker.settle()
    with pytest.raises(RateLimited):
        worker.rates.take("alice")
    with pytest.raises(QuotaExceeded):
        worker.quotas.take("alice", Amounts(1))
    with pytest.raises(RateLimited):
        worker.holdings.require("alice")
    assert [due.granted for due in worker.quotas.take_due(10)] == [Amounts(10)]
    assert worker.rates.take_due(10) == []


def test_ledger(make: Make) -> None:
    """The ledger pays debts back, starts each day at zero, and forgets workers that have ended."""
    store = make("ledger")
    ledger = Ledger(store, "one")
    key = store.key("limit", "rate:alice")
    [debt] = ledger.spend([Spent("rate", "alice", 10, 0.001)])
    assert debt == pytest.approx(10)
    [debt] = ledger.spend([Spent("rate", "alice", 5, 0.001)])
    assert debt == pytest.approx(15, abs=0.1)
    assert 14_000_000 < store.ask("PTTL", key) <= 15_001_000
    seconds = int(store.ask("TIME")[0])
    store.ask("SET", key, f"10 {seconds + 1000}")  # the clock of Redis was ahead
    [debt] = ledger.spend([Spent("rate", "alice", 1, 5)])
    assert debt == pytest.approx(11)
    store.ask("SET", key, f"10 {seconds - 1000}")
    [debt] = ledger.spend([Spent("rate", "alice", 1, 5)])
    assert debt == pytest.approx(1)
    for total in (4, 8):
        [(used, left)] = ledger.count([Used("quota", "alice", Amounts(1, 2, 3, 4))])
        assert used.bytes == total and 0 < left <= 86400
    store.ask("HSET", store.key("limit", "quota:alice"), "day", "1")
    [(used, _)] = ledger.count([Used("quota", "alice", Amounts(1, 2, 3, 2**40))])
    assert used == Amounts(1, 2, 3, 2**40)
    other = Ledger(store, "two")
    assert ledger.hold([Held("streams", "alice", 3)]) == [0]
    assert other.hold([Held("streams", "alice", 4)]) == [3]
    store.ask("HSET", store.key("limit", "streams:alice"), "one", "3 1")
    assert other.hold([Held("streams", "alice", 4)]) == [0]
    assert ledger.hold([Held("streams", "alice", 0)]) == [4]
