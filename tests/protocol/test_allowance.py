"""Allowances: how often something may be done, by one worker and by several."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.allowance import Allowance, Rate, add_to_ledger
from tests.kit.cases import rows

RATES = st.sampled_from([0.25, 0.5, 1, 2, 4, 8, 32])
STEPS = st.lists(st.integers(0, 64), max_size=60)  # sixty-fourths of a second, so that floats are exact


class Model:
    """A bound on use: within any span of time at most the burst and the rate times the span."""

    def __init__(self, rate: float) -> None:
        self.rate, self.burst = Fraction(rate), max(2 * Fraction(rate), Fraction(1))
        self.taken: list[Fraction] = []

    def room(self, now: Fraction) -> bool:
        """Return whether one more use is within the bound, for every span that ends now."""
        at = [*self.taken, now]
        return all(len(at) - index <= self.burst + self.rate * (now - begin) for index, begin in enumerate(at))


class Worker:
    """A worker that shares an allowance with others. `began` and `sent` are of a settlement under way."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.allowance = Allowance(0.0)
        self.sent: float | None = None
        self.began = 0.0
        self.granted = 0

    def take(self, now: float) -> None:
        self.granted += not self.allowance.take(self.rate, now)


class Ledger:
    """The ledger in Redis: see `limits/spend.lua`."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.debt = self.updated = 0.0

    def settle(self, worker: Worker, now: float, clock: float, *, fails: bool = False) -> None:
        """Settle in one step; it may fail before or after the ledger has taken it."""
        amount = worker.allowance.begin_settlement()
        if fails:
            return
        self.debt = add_to_ledger(self.debt, self.updated, clock, self.rate.per_second, amount)
        self.updated = clock
        worker.allowance.settle(self.rate, self.debt, now, now)


@given(RATES, STEPS)
def test_model(rate: float, steps: list[int]) -> None:
    """It allows exactly as much as the rate and the burst allow over every span of time."""
    allowance, model, now = Allowance(0.0), Model(rate), Fraction(0)
    for step in steps:
        now += Fraction(step, 64)
        granted = not allowance.take(Rate.of(rate), float(now))
        assert granted == model.room(now)
        if granted:
            model.taken.append(now)
    assert allowance.unsettled == len(model.taken)


@given(RATES, st.integers(0, 100))
def test_the_wait_is_enough(rate: float, more: int) -> None:
    """After the wait it can be used again, and not before."""
    allowance, limit = Allowance(0.0), Rate.of(rate)
    assert [allowance.take(limit, 0.0) for _ in range(int(limit.burst))] == [0.0] * int(limit.burst)
    wait = allowance.take(limit, 0.0)
    assert wait > 0
    assert allowance.take(limit, wait / 2) > 0
    assert allowance.take(limit, wait + more) == 0.0


def test_amounts() -> None:
    """An amount counts in full. An amount that is larger than the burst has to wait until there is no debt."""
    allowance, limit = Allowance(0.0), Rate(10, 20)
    assert allowance.take(limit, 0.0, 15) == 0.0
    assert allowance.take(limit, 0.0, 10) == 0.5
    assert allowance.take(limit, 0.5, 10) == 0.0
    assert allowance.take(limit, 0.5, 1000) == 2.0
    assert allowance.take(limit, 2.5, 1000) == 0.0
    assert allowance.take(limit, 2.5) == 98.1
    assert Allowance(0.0).spend(limit, 0.0, 30) == 1.0


@given(RATES, STEPS, st.integers(1, 70))
def test_parts(rate: float, steps: list[int], number: int) -> None:
    """A number is left if, and only if, each use of so many is granted."""
    allowance, limit, now = Allowance(0.0), Rate.of(rate), 0.0
    for step in steps:
        now += step / 64
        allowance.take(limit, now)
    assert allowance.has(limit, now, number) == all(not allowance.take(limit, now) for _ in range(number))


def test_full() -> None:
    """It is full before it was used, not just after, and again when enough time has passed."""
    allowance, limit = Allowance(0.0), Rate.of(2)
    assert allowance.is_full(limit, 0.0)
    allowance.take(limit, 0.0)
    assert not allowance.is_full(limit, 0.25)
    assert allowance.is_full(limit, 0.5)


@rows("rate", [0.1, 10.0])
def test_a_clock_that_steps_back(rate: float) -> None:
    """A clock that steps back takes nothing away and gives nothing."""
    allowance, limit = Allowance(1000.0), Rate.of(rate)
    while not allowance.take(limit, 1000.0):
        pass
    assert allowance.take(limit, 0.0) == pytest.approx(1 / rate, rel=1)
    assert allowance.take(limit, 0.0) > 0


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[int, str, int]]:
    """Draw events: the time before each in sixty-fourths of a second, its name, and the worker that it concerns."""
    happenings = st.sampled_from(["take", "take", "take", "settle", "fail", "back", "forward", "lose"])
    return draw(st.lists(st.tuples(st.integers(0, 32), happenings, st.integers(0, 1)), max_size=120))


@given(RATES, stories())
def test_two_workers(rate: float, story: list[tuple[int, str, int]]) -> None:
    """In every order, with settlements that fail, and with a ledger whose clock jumps or that loses everything, no
    worker grants more than the rate and the burst, and none waits longer than until everything is paid back."""
    limit = Rate.of(rate)
    workers, ledger, now, skew = [Worker(limit), Worker(limit)], Ledger(limit), 0.0, 1000.0
    for step, happening, number in story:
        now += step / 64
        worker = workers[number]
        match happening:
            case "take":
                worker.take(now)
            case "settle" | "fail":
                ledger.settle(worker, now, now + skew, fails=happening == "fail")
            case "back" | "forward":
                skew += 100 if happening == "forward" else -100
            case "lose":
                ledger.debt = ledger.updated = 0.0
        assert worker.granted <= limit.burst + limit.per_second * now + 1e-6
    granted = sum(worker.granted for worker in workers)
    for worker in workers:
        later = now + granted / limit.per_second + 1e-6
        assert worker.allowance.take(limit, later) == 0.0


@given(RATES, st.lists(st.tuples(st.integers(0, 16), st.integers(0, 1)), max_size=200))
def test_exact_in_the_long_run(rate: float, uses: list[tuple[int, int]]) -> None:
    """Workers that settle after each use grant together what one of them would grant, but for one use of each."""
    limit = Rate.of(rate)
    workers, ledger, now = [Worker(limit), Worker(limit)], Ledger(limit), 0.0
    for step, number in uses:
        now += step / 64
        workers[number].take(now)
        ledger.settle(workers[number], now, now)
    granted = sum(worker.granted for worker in workers)
    assert granted <= limit.burst + 2 + limit.per_second * now + 1e-6


def test_settlement() -> None:
    """A worker adopts what others have used, and counts what it has granted while it was settling."""
    limit, allowance = Rate(10, 20), Allowance(0.0)
    allowance.take(limit, 0.0, 4)
    assert allowance.begin_settlement() == 4
    allowance.take(limit, 0.5, 3)
    allowance.settle(limit, 19.0, 0.0, 1.0)  # 19 in all, of which 10 are paid back after a second
    assert allowance.take(limit, 1.0, 9) == pytest.approx(0.1)
    assert allowance.unsettled == 3
    allowance.settle(limit, 0.0, 1.0, 1.0)  # a ledger that has lost everything
    assert allowance.take(limit, 1.0, 9) == pytest.approx(0.1)


def test_ledger() -> None:
    """A ledger's debt is paid back by its own clock; if that steps back, nothing is."""
    assert add_to_ledger(10, 100, 101, 2, 5) == 13
    assert add_to_ledger(10, 100, 200, 2, 5) == 5
    assert add_to_ledger(10, 100, 0, 2, 5) == 15
