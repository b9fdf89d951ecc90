"""The ends of logs that a worker has appended to lately."""

from notifier.broker.recent_ends import _CERTAIN, _LASTING, _MOST, RecentEnds
from notifier.protocol.cursor import Cursor


class Clock:
    """Time that a test sets."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_last() -> None:
    """The last entry of each channel is remembered, whatever the order in which replies arrive."""
    ends = RecentEnds()
    for channel, entry in [("a", "1-0"), ("b", "7-0"), ("a", "10-1"), ("a", "9-5"), ("a", "10-0")]:
        ends.note(channel, entry)
    assert dict(ends) == {"a": Cursor(10, 1), "b": Cursor(7, 0)}


def test_time() -> None:
    """An end is remembered for its time, and not much longer."""
    clock = Clock()
    ends = RecentEnds(clock)
    ends.note("old", "1-0")
    clock.time = _LASTING - 1
    ends.note("later", "5-0")
    ends.note("again", "9-0")
    clock.time += 2
    ends.note("new", "6-0")
    ends.note("again", "8-0")
    assert dict(ends) == {"old": Cursor(1, 0), "later": Cursor(5, 0), "new": Cursor(6, 0), "again": Cursor(9, 0)}
    clock.time += _LASTING + 1
    ends.note("newest", "7-0")
    assert dict(ends) == {"new": Cursor(6, 0), "again": Cursor(8, 0), "newest": Cursor(7, 0)}


def test_number() -> None:
    """The number of channels is limited; the latest are remembered."""
    clock = Clock()
    ends = RecentEnds(clock)
    for number in range(5 * _MOST):
        clock.time += 2 * _CERTAIN / _MOST
        ends.note(f"{number}", "1-0")
    assert _MOST <= len(list(ends)) <= 2 * _MOST
    assert set(dict(ends)) >= {f"{number}" for number in range(4 * _MOST, 5 * _MOST)}


def test_burst() -> None:
    """Those of the last seconds are remembered, whatever their number."""
    clock = Clock()
    ends = RecentEnds(clock)
    step = _CERTAIN / (3 * _MOST)
    for number in range(20 * _MOST):
        clock.time += step
        ends.note(f"{number}", "1-0")
    assert set(dict(ends)) >= {f"{number}" for number in range(17 * _MOST, 20 * _MOST)}
    assert len(list(ends)) <= 7 * _MOST
