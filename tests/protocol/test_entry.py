"""Entries: a page of a log serves every position that it reaches."""

from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import NOTIFICATION, Entry, Page


def page(*times: int, complete: bool = True, floor: int = 0) -> Page:
    """Return a page with an entry for each time."""
    return Page([Entry(b"%d-0" % ms, b"", NOTIFICATION, b"{}") for ms in times], complete, Cursor(floor, 0))


def test_after() -> None:
    """A page has what a later position needs, unless it ends before that position."""
    assert page(1, 5, 9, floor=1).after(Cursor(5, 0)) == page(9, floor=1)
    assert page(1, 5, 9, complete=False).after(Cursor(5, 0)) == page(9, complete=False)
    assert page(1, 5).after(Cursor(5, 0)) == page()
    assert page(1, 5, complete=False).after(Cursor(5, 0)) is None
