"""Cursors: how far a client has read.

A cursor is the id of a Redis Stream entry, `<milliseconds>-<sequence>`. It travels as text and is compared as two
numbers.
"""

import re
from typing import NamedTuple

_RANKS = 2048  # entries of a millisecond that are told apart; a float holds the product until the year 2109
_FORM = re.compile(rb"(\d{1,16})-(\d{1,19})\Z")


class Cursor(NamedTuple):
    """A position in time: compare two of them with `<`."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @property
    def rank(self) -> int:
        """This place as one number, as in log/entry.lua: exact for the first 2,047 entries of a millisecond."""
        return self.ms * _RANKS + min(self.seq, _RANKS - 1)

    def earlier(self, ms: int) -> "Cursor":
        """Return the first cursor of the millisecond that is `ms` milliseconds before this one."""
        return Cursor(max(self.ms - ms, 0), 0)


BEGINNING = Cursor(0, 0)


def parse(text: str | bytes) -> Cursor:
    """Return the cursor that `text` is.

    Raises:
        ValueError: the text is no cursor.
    """
    match = _FORM.match(text.encode() if isinstance(text, str) else text)
    if not match:
        raise ValueError("a cursor is <milliseconds>-<sequence>")
    return Cursor(int(match[1]), int(match[2]))
