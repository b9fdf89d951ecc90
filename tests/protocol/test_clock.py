"""The hybrid logical clock."""

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor


def test_beginning() -> None:
    """A new clock has seen nothing."""
    assert Clock().cursor == BEGINNING


@given(st.lists(st.integers(0, 10**13), min_size=1))
def test_never_back(times: list[int]) -> None:
    """The clock is at the latest time that it has observed, in whatever order they came."""
    clock = Clock()
    for index, ms in enumerate(times):
        clock.observe(ms)
        assert clock.ms == max(times[: index + 1])
    assert clock.cursor == Cursor(max(times), 0)
