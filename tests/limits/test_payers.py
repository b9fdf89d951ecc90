"""Payers of publications: what is charged, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import Problem, QuotaExceeded
from notifier.limits.payers import Payer, Payers
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.protocol.allowance import Rate
from notifier.protocol.daily_usage import Amounts
from tests.limits.conftest import Clock

MOST = Amounts(publications=3, recipients=10, topics=2, bytes=1000)
RATE = Rate(per_second=2, burst=16)
COSTS = st.builds(Amounts, st.just(1), st.sampled_from([1, 1, 2, 20]), st.just(0), st.integers(0, 400))
PARTS = st.lists(st.tuples(st.integers(0, 8), st.lists(COSTS, min_size=1, max_size=12)), max_size=12)


@pytest.fixture
def quotas(clock: Clock) -> Quotas:
    """The quotas of keys."""
    return Quotas("key_daily", MOST, clock)


def test_payer(quotas: Quotas) -> None:
    """A publication costs its recipients and its bytes; topics count once they are created."""
    payer = Payer("shop", (), quotas)
    assert payer.charge(Amounts(1, 3, 0, 600)) is None
    assert payer.charge(Amounts(1, 1, 0, 0)) is None
    [due] = quotas.take_due(10)
    assert due.granted == Amounts(2, 4, 0, 600)
    assert isinstance(payer.charge(Amounts(1, 3, 0, 600)), QuotaExceeded)
    assert payer.may_create_topics and payer.refusal_of_topics(2) is None
    assert isinstance(payer.refusal_of_topics(3), QuotaExceeded)
    payer.created_topics(2)
    assert not payer.may_create_topics and payer.refusal_of_topics(0) is None


def test_none(clock: Clock) -> None:
    """Without quotas nothing is counted."""
    quotas = Quotas("key_daily", Amounts(), clock)
    payer = Payer("shop", (), quotas)
    assert not quotas and payer.may_create_topics
    payer.created_topics(5)
    assert payer.charge(Amounts(1, 1, 0, 10**9)) is None and payer.charge_all(Amounts(9, 9, 0, 10**9))
    assert quotas.take_due(10) == []


def test_payers(quotas: Quotas, clock: Clock) -> None:
    """A key pays, and so does its tenant; one that refuses is enough."""
    of_tenant = Quotas("tenant_daily", Amounts(publications=1, topics=1), clock)
    payers = Payers(Payer("shop", (), quotas), Payer("acme", (), of_tenant))
    assert payers.charge(Amounts(1, 2, 0, 10)) is None
    refusal = payers.charge(Amounts(1, 2, 0, 10))
    assert isinstance(refusal, QuotaExceeded) and refusal.fields["limit"] == "tenant_daily_publications"
    assert payers.may_create_topics and payers.refusal_of_topics(1) is None
    assert isinstance(payers.refusal_of_topics(2), QuotaExceeded)
    payers.created_topics(1)
    assert not payers.may_create_topics
    assert [due.granted.topics for each in (quotas, of_tenant) for due in each.take_due(10)] == [1, 1]


def test_all_or_none(quotas: Quotas, clock: Clock) -> None:
    """Several publications are charged together, to the key and to its tenant, or to neither."""
    of_tenant = Quotas("tenant_daily", Amounts(publications=3), clock)
    payers = Payers(Payer("shop", (), quotas), Payer("acme", (), of_tenant))
    assert payers.charge_all(Amounts(2, 5, 0, 10))
    assert not payers.charge_all(Amounts(2, 2, 0, 10)) and not payers.charge_all(Amounts(1, 6, 0, 10))
    assert payers.charge_all(Amounts(1, 5, 0, 990))
    granted = [due.granted for each in (quotas, of_tenant) for due in each.take_due(10)]
    assert granted == [Amounts(3, 10, 0, 1000)] * 2


@given(PARTS)
def test_parts(parts: list[tuple[int, list[Amounts]]]) -> None:
    """Publications that are charged together cost the same, and are refused where each alone would be."""
    clock = Clock()
    (one, of_one), (other, of_other) = (full_payer(clock) for _ in range(2))
    for seconds, costs in parts:
        clock.now += seconds
        alone = [refusal_of(one.charge(cost)) for cost in costs]
        together = other.charge_all(Amounts(*map(sum, zip(*costs, strict=True))))
        assert alone == ([""] * len(costs) if together else [refusal_of(other.charge(cost)) for cost in costs])
        granted = [[due.granted for due in quotas.take_due(1)] for quotas in (of_one, of_other)]
        assert granted[0] == granted[1]


def full_payer(clock: Clock) -> tuple[Payer, Quotas]:
    """Return a payer with rates and quotas, and its quotas."""
    quotas = Quotas("key_daily", Amounts(40, 400, 0, 9000), clock)
    return Payer("shop", (Rates("publications", RATE, clock), Rates("recipients", RATE, clock)), quotas), quotas


def refusal_of(problem: Problem | None) -> str:
    """Return the limit that refuses a publication; empty: it is charged."""
    return problem.fields["limit"] if problem else ""
