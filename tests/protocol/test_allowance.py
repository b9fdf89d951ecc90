"""Allowances: how often something may be done."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.allowance import Allowance

RATES = st.integers(1, 50) | st.sampled_from([Fraction(1, 4), Fraction(1, 2)])
STEPS = st.lists(st.integers(0, 64))  # sixty-fourths of a second, so that floats are exact


class Model:
    """What is used within any span of time is at most the burst and the rate times the span."""

    def __init__(self, rate: Fraction) -> None:
        self.rate, self.burst = rate, max(2 * rate, Fraction(1))
        self.taken: list[Fraction] = []

    def room(self, now: Fraction) -> bool:
        """Return whether one more use is within the bound, for every span that ends now."""
        at = [*self.taken, now]
        return all(len(at) - index <= self.burst + self.rate * (now - begin) for index, begin in enumerate(at))


@given(RATES, STEPS)
def test_model(rate: Fraction, steps: list[int]) -> None:
    """It allows exactly as much as the rate and the burst allow over every span of time."""
    allowance, model, now = Allowance(float(rate), 0.0), Model(Fraction(rate)), Fraction(0)
    for step in steps:
        now += Fraction(step, 64)
        granted = not allowance.take(float(now))
        assert granted == model.room(now)
        if granted:
            model.taken.append(now)


@given(st.sampled_from([0.25, 0.5, 1, 2, 4, 8]), st.integers(0, 100))
def test_the_wait_is_enough(rate: float, more: int) -> None:
    """After the wait it can be used again, and not before."""
    allowance, burst = Allowance(rate, 0.0), int(max(2 * rate, 1))
    assert [allowance.take(0.0) for _ in range(burst)] == [0.0] * burst
    wait = allowance.take(0.0)
    assert wait > 0
    assert allowance.take(wait / 2) > 0
    assert allowance.take(wait + more) == 0.0


def test_full() -> None:
    """It is full before it was used, not just after, and again when enough time has passed."""
    allowance = Allowance(2, 0.0)
    assert allowance.is_full(0.0)
    allowance.take(0.0)
    assert not allowance.is_full(0.25)
    assert allowance.is_full(0.5)


@pytest.mark.parametrize("rate", [0.1, 10.0])
def test_a_clock_that_steps_back(rate: float) -> None:
    """A clock that steps back takes nothing away and gives nothing."""
    allowance = Allowance(rate, 1000.0)
    while not allowance.take(1000.0):
        pass
    assert allowance.take(0.0) == pytest.approx(1 / rate, rel=1)
    assert allowance.take(0.0) > 0
