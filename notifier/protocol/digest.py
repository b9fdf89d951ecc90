"""Digests: the items of a shared channel, without their bodies.

A digest follows the log of the channel: an entry adds an item; a recall, another entry with the same collapse key, or
time removes one. It does not depend on the user, so a worker needs one digest per channel.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION, REMOVED

_END = Cursor(1 << 63, 0)  # after every entry


class Item(NamedTuple):
    """One item: its channel, its entry there (the cursor as text, `rank` as a number), and the notification's id.

    `expires` is in Unix ms, 0 for never. `is_copy`: the notification was published to other channels too.
    """

    channel: str
    entry: str
    rank: int
    id: str
    expires: int = 0
    type: str = ""
    is_copy: bool = False

    @property
    def cursor(self) -> Cursor:
        """The entry as a cursor."""
        return cursor.parse(self.entry)


class Row(NamedTuple):
    """One entry of the log, without its body. `id` is its notification, or the one that it recalls."""

    entry: bytes
    kind: bytes
    id: bytes
    expires: bytes
    collapse_key: bytes
    type: bytes
    copy: bytes


class Digest:
    """The items of one channel, in order.

    `last` is the last entry of the log that was read. `ends` is when the whole log expires (Unix ms, 0 for never).
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.reset()

    def reset(self) -> None:
        """Forget everything, and begin again with the first entry of the log."""
        self.last = BEGINNING
        self.ends = 0
        self.items: dict[str, Item] = {}  # by the notification's id
        self.copies: set[str] = set()
        self._by_entry: dict[str, Item] = {}
        self._by_key: dict[bytes, str] = {}  # collapse key -> id
        self._keys: dict[str, bytes] = {}  # id -> collapse key
        self._next_expiry: int | None = 0  # None: it must be determined
        self._sorted: list[Item] | None = None
        self._ranks: list[int] = []
        self._types: dict[str, list[int]] | None = None  # made when a user who has muted a type asks

    def follow(self, first: bytes, rows: Iterable[Row]) -> None:
        """Take the entries after `last`. The log now begins with the entry `first`, empty if there is none."""
        for row in rows:
            place = cursor.parse(row.entry)
            if place > self.last:  # else another reader has brought it already
                self._take(row, place)
                self.last = place
        self._drop_before(cursor.parse(first) if first else _END)

    def pass_time(self, now: int) -> None:
        """Remove the items that have expired. `now` is in Unix ms."""
        if 0 < self.next_expiry <= now:
            for item in [item for item in self.items.values() if 0 < item.expires <= now]:
                self._drop(item.id)

    @property
    def next_expiry(self) -> int:
        """When the next item expires, in Unix ms; 0: none expires."""
        if self._next_expiry is None:
            self._next_expiry = min((item.expires for item in self.items.values() if item.expires), default=0)
        return self._next_expiry

    def behind(self, rank: int) -> int:
        """Return how many items have a higher rank."""
        self._sort()
        return len(self._ranks) - bisect_right(self._ranks, rank)

    def between(self, after: int, up_to: int) -> list[Item]:
        """Return the items with ranks above `after`, up to and including `up_to`."""
        items = self._sort()
        return items[bisect_right(self._ranks, after) : bisect_right(self._ranks, up_to)]

    def count(self, after: int, before: int) -> int:
        """Return how many items have a rank above `after` and below `before`."""
        self._sort()
        return max(bisect_left(self._ranks, before) - bisect_right(self._ranks, after), 0)

    def count_type(self, type: str, after: int, before: int) -> int:
        """Return how many items of a type have a rank above `after` and below `before`."""
        ranks = self.types.get(type, ())
        return max(bisect_left(ranks, before) - bisect_right(ranks, after), 0)

    @property
    def types(self) -> Mapping[str, Sequence[int]]:
        """The ranks of the items of each type, in order."""
        if self._types is None:
            found: dict[str, list[int]] = {}
            for item in self._sort():
                found.setdefault(item.type, []).append(item.rank)
            self._types = found
        return self._types

    def at(self, entry: str) -> Item | None:
        """Return the item of an entry, or None if the entry is no item (any more)."""
        return self._by_entry.get(entry)

    def _take(self, row: Row, place: Cursor) -> None:
        if row.kind == REMOVED:
            self._drop(row.id.decode())
        if row.collapse_key:
            self._drop(self._by_key.get(row.collapse_key, ""))
        if row.kind != NOTIFICATION:
            return
        id, expires = row.id.decode(), int(row.expires or 0)
        entry = row.entry.decode()
        item = Item(self.channel, entry, place.rank, id, expires, row.type.decode(), bool(row.copy))
        self.items[id] = self._by_entry[entry] = item
        self._sorted = None
        if row.copy:
            self.copies.add(id)
        if row.collapse_key:
            self._by_key[row.collapse_key] = id
            self._keys[id] = row.collapse_key
        if expires and not 0 < self.next_expiry < expires:
            self._next_expiry = expires

    def _drop_before(self, place: Cursor) -> None:
        while self.items:
            item = next(iter(self.items.values()))
            if item.cursor >= place:
                break
            self._drop(item.id)

    def _drop(self, id: str) -> None:
        item = self.items.pop(id, None)
        if item:
            del self._by_entry[item.entry]
            self._by_key.pop(self._keys.pop(id, b""), None)
            self.copies.discard(id)
            self._sorted = None
            if 0 < item.expires == self._next_expiry:
                self._next_expiry = None

    def _sort(self) -> list[Item]:
        """Return the items as a list, and keep their ranks beside it. A dict keeps its order, so both are sorted."""
        if self._sorted is None:
            self._sorted = list(self.items.values())
            self._ranks = [item.rank for item in self._sorted]
            self._types = None
        return self._sorted
