"""The copies of a digest: which of its items were also published to other channels, in 16 bytes each."""

from array import array
from bisect import bisect_left, bisect_right

_RANDOM = 8  # bytes at the end of a key


def mark_of(key: bytes | bytearray) -> int:
    """Return the random half of the key of a notification. Two keys with the same mark need not be the same."""
    return int.from_bytes(key[-_RANDOM:], "big")


class Copies:
    """The marks of the items, in order, and their ranks.

    A dict of keys takes 130 bytes for each item, and most workers have as many as fit into the logs.
    """

    def __init__(self) -> None:
        self.marks = array("Q")
        self._ranks = array("Q")

    def add(self, key: bytes, rank: int) -> None:
        """Add an item."""
        place = bisect_right(self.marks, mark_of(key))
        self.marks.insert(place, mark_of(key))
        self._ranks.insert(place, rank)

    def remove(self, key: bytes, rank: int) -> None:
        """Remove an item that was added."""
        place = self._ranks.index(rank, bisect_left(self.marks, mark_of(key)))
        del self.marks[place], self._ranks[place]

    def ranks(self, mark: int) -> "array[int] | tuple[()]":
        """Return the ranks of the items with a mark."""
        marks = self.marks
        place = bisect_left(marks, mark)
        if place == len(marks) or marks[place] != mark:
            return ()
        return self._ranks[place : bisect_right(marks, mark, place)]
