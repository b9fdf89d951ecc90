"""How many streams a user or an address may have, here and on other workers."""

from collections import Counter

import pytest

from notifier.errors import RateLimited
from notifier.limits.holdings import Holdings
from notifier.limits.in_flight import InFlight
from tests.limits.conftest import Clock


def holdings(clock: Clock, most: int) -> tuple[Holdings, Counter[str]]:
    streams: Counter[str] = Counter()
    return Holdings("user_connections", most, lambda name: streams[name], clock), streams


def test_here(clock: Clock) -> None:
    """On one worker the limit is exact."""
    limit, streams = holdings(clock, 2)
    for _ in range(2):
        limit.require("alice")
        streams["alice"] += 1
        limit.note("alice")
    with pytest.raises(RateLimited) as raised:
        limit.require("alice")
    assert raised.value.fields == {"limit": "user_connections"}
    limit.require("bob")
    streams["alice"] -= 1
    limit.require("alice")


def test_others(clock: Clock) -> None:
    """The streams of other workers count, too, until the next report shows that they are closed."""
    limit, streams = holdings(clock, 8)
    streams["alice"] = 2
    limit.note("alice")
    assert limit.take_due(10) == [("alice", 2)]
    limit.settle([("alice", 2)], [6])
    with pytest.raises(RateLimited):
        limit.require("alice")
    assert limit.take_due(10) == [("alice", 2)]  # the number of the others may be old
    limit.settle([("alice", 2)], [5])
    limit.require("alice")
    assert limit.take_due(10) == []
    clock.now += 16
    assert limit.take_due(10) == [("alice", 2)]


def test_few(clock: Clock) -> None:
    """Names with few streams are not reported; an earlier report is withdrawn."""
    limit, streams = holdings(clock, 80)
    streams["alice"] = 10
    limit.note("alice")
    assert limit.take_due(10) == []
    streams["alice"] = 11
    limit.note("alice")
    limit.settle(limit.take_due(10), [0])
    streams["alice"] = 10
    limit.note("alice")
    due = limit.take_due(10)
    assert due == [("alice", 0)]
    limit.settle(due, [0])
    clock.now += 100
    assert limit.take_due(10) == []


def test_failure(clock: Clock) -> None:
    """A count that could not be reported is reported again."""
    limit, streams = holdings(clock, 2)
    streams["alice"] = 1
    limit.note("alice")
    limit.fail(limit.take_due(10))
    assert limit.take_due(10) == [("alice", 1)]


def test_in_flight() -> None:
    """Requests count while they are in flight, by name."""
    limit = InFlight("key_requests", 2)
    limit.enter("shop")
    limit.enter("shop")
    limit.enter("other")
    with pytest.raises(RateLimited) as raised:
        limit.enter("shop")
    assert (raised.value.retry_after, raised.value.fields) == (1, {"limit": "key_requests"})
    limit.leave("shop")
    limit.enter("shop")
    for name in ("shop", "shop", "other"):
        limit.leave(name)
    assert not limit._numbers
