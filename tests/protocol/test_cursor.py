"""Cursors: from text to two numbers, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from tests.kit.cases import rows

CURSORS = st.builds(Cursor, st.integers(0, 10**16 - 1), st.integers(0, 10**19 - 1))
NO_CURSORS = [
    "",
    "-",
    "1",
    "1-",
    "-1",
    "1-2-3",
    "1--2",
    "x-1",
    "1-x",
    "+1-1",
    "1.0-1",
    " 1-1",
    "1-1 ",
    "1-1\n",
    "1_0-1",
    "0x1-1",
    "\u0661-1",
    "\ud800-1",
    "1" * 17 + "-0",
    "1-" + "1" * 20,
]


@given(CURSORS)
def test_round_trip(position: Cursor) -> None:
    """A cursor is read again from its text, as text and as bytes."""
    assert cursor.parse(str(position)) == position
    assert cursor.parse(str(position).encode()) == position


@rows("text", NO_CURSORS)
def test_refuse(text: str) -> None:
    """Text that is not two decimal numbers of a sensible length is rejected."""
    with pytest.raises(ValueError):
        cursor.parse(text)


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_random_text(text: str | bytes) -> None:
    """Any text is a cursor or is rejected with ValueError."""
    try:
        position = cursor.parse(text)
    except ValueError:
        return
    assert position >= BEGINNING


@rows(
    ("earlier", "later"),
    [("9-0", "10-0"), ("10-9", "10-10"), ("10-999", "11-0"), ("0-0", "0-1"), ("999999999999-5", "1000000000000-0")],
)
def test_order(earlier: str, later: str) -> None:
    """Cursors are compared as numbers, not as text."""
    assert cursor.parse(earlier) < cursor.parse(later)


@given(CURSORS, CURSORS)
def test_order_is_total(one: Cursor, other: Cursor) -> None:
    """The time decides, and the sequence where the times are the same."""
    assert (one < other) == (one.ms < other.ms or (one.ms == other.ms and one.seq < other.seq))


@given(CURSORS, CURSORS)
def test_later(one: Cursor, other: Cursor) -> None:
    """Texts are compared as the numbers that they spell."""
    for left in (one, Cursor(one.ms, other.seq), Cursor(other.ms, one.seq), other):
        assert cursor.is_later(str(left), str(other)) == (left > other)


def test_earlier() -> None:
    """An earlier cursor is the first one of its millisecond."""
    assert Cursor(5000, 7).earlier(2000) == Cursor(3000, 0)


def test_no_earlier() -> None:
    """Without a distance the cursor is unchanged: earlier entries of its millisecond stay before it."""
    assert Cursor(5000, 7).earlier(0) == Cursor(5000, 7)


def test_previous() -> None:
    """The previous cursor has the previous rank, also that of an earlier millisecond; the first one has none."""
    for place in (Cursor(5000, 7), Cursor(5000, 1), Cursor(5000, 0), Cursor(1, 0)):
        assert place.previous < place
        assert place.previous.rank == place.rank - 1
    assert BEGINNING.previous == BEGINNING


def test_earlier_than_all() -> None:
    """Nothing is before the beginning."""
    assert Cursor(5, 7).earlier(6) == BEGINNING
