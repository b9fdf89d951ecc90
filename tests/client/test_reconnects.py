"""Reconnecting: the pauses between attempts."""

from notifier.client.reconnects import Pauses


def test_pauses() -> None:
    """Pauses double with each failure up to thirty seconds, and begin again after a stable connection."""
    pauses = Pauses(lambda: 1.0)
    assert [pauses.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    pauses.reset()
    assert pauses.next() == 1


def test_a_full_service() -> None:
    """When a service is full, the first pauses are left out, and longer ones stay."""
    pauses = Pauses(lambda: 1.0)
    pauses.lengthen()
    assert pauses.next() == 8
    pauses.lengthen()
    assert pauses.next() == 16


def test_random() -> None:
    """A pause is anything between nothing and its length, so that clients do not reconnect together."""
    assert Pauses(lambda: 0.25).next() == 0.25
