"""Quotas of users and API keys."""

import pytest

from notifier.errors import QuotaExceeded
from notifier.limits.quotas import Quotas
from notifier.protocol.daily_usage import Amounts
from tests.limits.conftest import Clock

MOST = Amounts(publications=3, recipients=10, topics=2, bytes=1000)


@pytest.fixture
def quotas(clock: Clock) -> Quotas:
    """The quotas of keys."""
    return Quotas("key_daily", MOST, clock)


def test_refusal(clock: Clock, quotas: Quotas) -> None:
    """The error names the quota and the end of the day; nothing of what was rejected counts."""
    quotas.take("shop", Amounts(2, 9, 0, 900))
    with pytest.raises(QuotaExceeded) as raised:
        quotas.take("shop", Amounts(1, 2, 0, 10))
    assert (raised.value.retry_after, raised.value.fields) == (1, {"limit": "key_daily_recipients"})
    [due] = quotas.take_due(10)
    quotas.settle([due], [(due.granted, 3600.0)])
    quotas.take("shop", Amounts(1, 1, 0, 100))
    with pytest.raises(QuotaExceeded) as raised:
        quotas.take("shop", Amounts(1, 0, 0, 0))
    assert raised.value.headers == {
        "Retry-After": "3600",
        "RateLimit-Policy": '"key_daily_publications";q=3;w=86400',
        "RateLimit": '"key_daily_publications";r=0;t=3600',
    }
    quotas.take("another", Amounts(1, 1, 0, 100))
    clock.now += 3600
    quotas.take("shop", Amounts(1, 1, 0, 100))


def test_due(clock: Clock) -> None:
    """A worker asks at once what others have used, and then reports when it has used much, or after a while."""
    quotas = Quotas("user_daily", Amounts(publications=6400), clock)
    quotas.take("alice", Amounts(1))
    [due] = quotas.take_due(10)
    quotas.settle([due], [(Amounts(1), 3600.0)])
    quotas.take("alice", Amounts(99))
    assert quotas.take_due(10) == []
    quotas.take("alice", Amounts(1))
    [due] = quotas.take_due(10)
    assert due.granted == Amounts(100)
    quotas.settle([due], [(Amounts(101), 3600.0)])
    quotas.take("alice", Amounts(1))
    assert quotas.take_due(10) == []
    clock.now += 5
    assert len(quotas.take_due(10)) == 1


def test_failure(quotas: Quotas) -> None:
    """Usage that could not be settled still counts, and is settled with the next."""
    quotas.take("shop", Amounts(2))
    quotas.fail(quotas.take_due(10))
    quotas.take("shop", Amounts(1))
    with pytest.raises(QuotaExceeded):
        quotas.take("shop", Amounts(1))
    assert [due.granted for due in quotas.take_due(10)] == [Amounts(3)]


def test_sweep(quotas: Quotas) -> None:
    """Settled usage is forgotten, unless it is a large part of the quota: it would have to be fetched again."""
    quotas.take("little", Amounts(1))
    quotas.take("much", Amounts(2))
    due = quotas.take_due(10)
    quotas.take("unsettled", Amounts(1))
    quotas.settle(due, [(each.granted, 3600.0) for each in due])
    assert len(list(quotas.sweep(1))) == 3
    assert set(quotas._usages) == {"much", "unsettled"}
