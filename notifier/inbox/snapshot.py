"""A snapshot: which items an inbox has at a moment, and their flags then."""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from notifier.protocol.digest import Item
from notifier.protocol.inbox_state import Flags

_BITS = (1, 2, 4, 8)  # of the flags, in their order


class Candidate(NamedTuple):
    """An item that may be listed: its notification has not been read yet."""

    item: Item
    flags: Flags


class Snapshot:
    """Items in the order in which they are added, in 21 bytes each: an inbox may have a hundred thousand."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._channels = array("I")  # numbers of their names
        self._ranks = array("Q")
        self._seqs = array("Q")
        self._flags = bytearray()

    def __len__(self) -> int:
        return len(self._ranks)

    def add(self, candidate: Candidate) -> None:
        """Add an item after all others."""
        item, flags = candidate
        self._channels.append(self._names.setdefault(item.channel, len(self._names)))
        self._ranks.append(item.rank)
        self._seqs.append(item.seq)
        self._flags.append(sum(bit for bit, is_set in zip(_BITS, flags, strict=True) if is_set))

    def pieces(self, size: int) -> Iterator[list[Candidate]]:
        """Yield the items, so many at a time. They have neither type nor expiry: only their places are known."""
        names = list(self._names)
        for start in range(0, len(self), size):
            places = range(start, min(start + size, len(self)))
            yield [Candidate(self._item(names, place), self._flags_of(place)) for place in places]

    def _item(self, names: list[str], place: int) -> Item:
        return Item(names[self._channels[place]], self._ranks[place], self._seqs[place])

    def _flags_of(self, place: int) -> Flags:
        return Flags(*(bool(self._flags[place] & bit) for bit in _BITS))
