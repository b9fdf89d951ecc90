"""How often each name may do something."""

import pytest

from notifier.errors import RateLimited
from notifier.limits import rates as module
from notifier.limits.rates import Rates
from notifier.protocol.allowance import Rate
from tests.limits.conftest import Clock


def rates(clock: Clock, rate: float = 0.5) -> Rates:
    return Rates("user_frames", Rate.of(rate), clock)


def test_refusal(clock: Clock) -> None:
    """The error states when to retry and names the limit, also in headers."""
    limit = rates(clock)
    limit.take("alice")
    with pytest.raises(RateLimited) as raised:
        limit.take("alice")
    assert (raised.value.retry_after, raised.value.fields) == (2, {"limit": "user_frames"})
    assert raised.value.headers == {
        "Retry-After": "2",
        "RateLimit-Policy": '"user_frames";q=1;w=2',
        "RateLimit": '"user_frames";r=0;t=2',
    }
    clock.now += 2
    limit.take("alice")


def test_names(clock: Clock) -> None:
    """Each name has an allowance of its own."""
    limit = rates(clock)
    limit.take("alice")
    limit.take("bob")
    with pytest.raises(RateLimited):
        limit.take("alice")


def test_due(clock: Clock) -> None:
    """Granted requests are settled once they are an eighth of the burst; rejected requests are not."""
    limit = rates(clock, 8)
    limit.take("alice")
    assert limit.take_due(10) == []
    limit.take("alice")
    limit.spend("bob", 20)
    due = limit.take_due(1)
    assert [(each.name, each.granted) for each in due] == [("alice", 2)]
    assert [(each.name, each.granted) for each in limit.take_due(10)] == [("bob", 20)]
    limit.settle(due, [16.0], clock.now)
    with pytest.raises(RateLimited):
        limit.take("alice")
    assert limit.take_due(10) == []


def test_sweep(clock: Clock) -> None:
    """Full allowances are forgotten, others are not, nor what has to be settled."""
    limit = rates(clock)
    limit.take("a")
    limit.take("b")
    limit.take_due(1)
    clock.now += 100
    limit.take("c")
    limit.take_due(0)
    assert len(list(limit.sweep(1))) == 3
    assert len(limit) == 2  # b is not settled yet
    with pytest.raises(RateLimited):
        limit.take("c")


def test_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit on names: then the oldest is forgotten."""
    monkeypatch.setattr(module, "MOST_NAMES", 3)
    limit = rates(clock)
    for name in range(10):
        limit.take(name)
    assert len(limit) == 3
    limit.take(0)
    with pytest.raises(RateLimited):
        limit.take(9)
