"""How often a user may publish by requests."""

import pytest

from notifier.errors import RateLimited
from notifier.limits import rates
from notifier.limits.rates import PublishRates


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its first item is changed."""
    now = [1000.0]
    monkeypatch.setattr(rates.time, "time", lambda: now[0])
    return now


def test_rate(clock: list[float]) -> None:
    """Twice the rate is allowed at once, then one publication at a time; the error says when."""
    limit = PublishRates(0.5)
    limit.require("alice")
    with pytest.raises(RateLimited) as raised:
        limit.require("alice")
    assert raised.value.retry_after == 2
    clock[0] += 2
    limit.require("alice")


def test_users(clock: list[float]) -> None:
    """Each user has an allowance of their own."""
    limit = PublishRates(0.5)
    limit.require("alice")
    limit.require("bob")
    with pytest.raises(RateLimited):
        limit.require("alice")


def test_memory(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Full allowances are forgotten when there are too many; an exhausted one is not."""
    monkeypatch.setattr(rates, "_MOST_ALLOWANCES", 3)
    limit = PublishRates(0.5)
    for user in ("a", "b"):
        limit.require(user)
    clock[0] += 100
    limit.require("c")
    limit.require("d")
    assert set(limit._allowances) == {"c", "d"}
    with pytest.raises(RateLimited):
        limit.require("c")
