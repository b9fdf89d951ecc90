"""Cursors: positions of entries in the logs of channels.

A cursor is the id of a Redis Stream entry, `<milliseconds>-<sequence>`. It is sent as text, and compared as two
numbers.
"""

import functools
import re
from typing import NamedTuple

RANKS = 2048  # entries of a millisecond with distinct ranks; a float holds the product until the year 2109
_FORM = re.compile(rb"(\d{1,16})-(\d{1,19})\Z")


class Cursor(NamedTuple):
    """A position in time: compare two of them with `<`."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @property
    def rank(self) -> int:
        """The cursor as one number, as in log/entry.lua: exact for the first 2,047 entries of a millisecond."""
        return self.ms * RANKS + min(self.seq, RANKS - 1)

    def earlier(self, ms: int) -> "Cursor":
        """Return the first cursor of the millisecond that is `ms` milliseconds before this one; for 0 ms, this one."""
        return Cursor(max(self.ms - ms, 0), 0) if ms else self

    @property
    def previous(self) -> "Cursor":
        """A cursor before this one, with nothing between the two that has another rank."""
        if self.seq:
            return Cursor(self.ms, self.seq - 1)
        return Cursor(self.ms - 1, RANKS) if self.ms else self


BEGINNING = Cursor(0, 0)


@functools.lru_cache(maxsize=1024)  # many parts read the cursor of an entry, one after the other
def parse(text: str | bytes) -> Cursor:
    """Return the cursor that a text spells.

    Raises:
        ValueError: the text is not a cursor.
    """
    match = _FORM.match(text.encode() if isinstance(text, str) else text)
    if not match:
        raise ValueError("a cursor is <milliseconds>-<sequence>")
    return Cursor(int(match[1]), int(match[2]))


def is_later(text: str, other: str) -> bool:
    """Return whether a cursor is later than another one, both as Redis spells them: without leading zeros."""
    ms, _, seq = text.partition("-")
    other_ms, _, other_seq = other.partition("-")
    return (len(ms), ms, len(seq), seq) > (len(other_ms), other_ms, len(other_seq), other_seq)
