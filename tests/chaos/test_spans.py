"""Spans of memberships and mutes."""

from chaos.ledger import Publication
from chaos.spans import Spans


def at(first: float, last: float) -> Publication:
    return Publication("key", ["all"], attempts=[(first, "201")], acknowledged=last)


def test_a_repeated_request() -> None:
    """A request that is repeated changes nothing: the first one may have been carried out, and its answer counts."""
    spans = Spans()
    spans.begins("orders", 1)
    spans.begins("orders", 2)
    spans.has_begun("orders", 3)
    spans.begins("orders", 4)
    spans.has_begun("orders", 5)
    assert spans.covering("orders", at(3.5, 6))
    assert not spans.covering("orders", at(2.5, 6))
    assert spans.may_cover("orders", at(0, 1))
    assert not spans.may_cover("orders", at(0, 0.5))
    assert list(spans.names) == ["orders"]


def test_an_end_that_is_not_acknowledged() -> None:
    """From the request on, a span has perhaps ended; from the answer on, certainly, and another may begin."""
    spans = Spans()
    spans.ends("orders", 1)
    spans.has_ended("orders", 1)
    spans.begins("orders", 1)
    spans.has_begun("orders", 2)
    spans.ends("orders", 5)
    spans.ends("orders", 6)
    assert spans.covering("orders", at(3, 4))
    assert not spans.covering("orders", at(3, 5.5))
    assert spans.may_cover("orders", at(8, 9))
    assert spans.is_open("orders")
    spans.has_ended("orders", 7)
    assert not spans.may_cover("orders", at(8, 9))
    assert not spans.is_open("orders")
    spans.begins("orders", 10)
    assert len(spans.may_cover("orders", at(3, 11))) == 2
