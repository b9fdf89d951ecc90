"""Pasts that were requested: which entries they cover."""

from chaos.pasts import Pasts


def test_what_a_past_covers() -> None:
    """Entries of its topic after its cursor and in the overlap, from the request until the past is complete."""
    pasts = Pasts()
    pasts.ask("orders", (10_000, 0), at=1.0)
    pasts.complete("orders", at=2.0)
    assert pasts.cover("topic:orders", (8_000, 0), at=1.0)
    assert pasts.cover("topic:orders", (99_000, 0), at=2.0)
    assert not pasts.cover("topic:orders", (7_999, 9), at=1.5)
    assert not pasts.cover("topic:orders", (10_000, 1), at=0.9)
    assert not pasts.cover("topic:orders", (10_000, 1), at=2.1)
    assert not pasts.cover("topic:invoices", (10_000, 1), at=1.5)
    assert not pasts.cover("all", (10_000, 1), at=1.5)


def test_a_past_that_is_requested_again() -> None:
    """What completes a request also completes the earlier ones, but not those that came after it."""
    pasts = Pasts()
    for number, ms in enumerate((30_000, 20_000, 10_000)):
        pasts.ask("orders", (ms, 0), at=1.0, number=number)
    pasts.complete("orders", at=2.0, number=1)
    pasts.complete("invoices", at=2.0, number=2)
    pasts.ask("orders", (40_000, 0), at=3.0, number=3)
    pasts.complete("orders", at=4.0, number=2)
    assert pasts.cover("topic:orders", (10_000, 0), at=4.0)
    assert not pasts.cover("topic:orders", (30_000, 0), at=4.5)
    assert pasts.cover("topic:orders", (40_000, 0), at=9.0)
