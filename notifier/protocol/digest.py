"""Digests: the items of a shared channel, without their bodies.

A digest follows the log of the channel: an entry adds an item; a recall, another entry with the same collapse key, or
time removes one. It does not depend on the user, so a worker needs one digest per channel.

A worker has the items of all its channels in memory, so a digest stores columns of numbers, about 35 bytes per item,
and makes an `Item` when it is asked for one.
"""

import itertools
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from typing import NamedTuple

from notifier.protocol import cursor, rank_list
from notifier.protocol.cursor import BEGINNING, RANKS, Cursor
from notifier.protocol.entry import NOTIFICATION, REMOVED, Row
from notifier.protocol.notification_id import id_of, key_of
from notifier.protocol.rank_list import Ranks
from notifier.protocol.turns import Turns
from notifier.protocol.type_column import TypeColumn

_END = Cursor(1 << 63, 0)  # after every entry
_KEY = 16  # bytes of a notification's id
_SCAN = 50  # up to this many ids are searched for one by one: an index of all items costs as much
_SPARE = 50  # ranks of entries that may have left: removing them one by one costs too much
_TOGETHER = 500  # items that are forgotten without a turn for others
_SKEW = 60_000  # ms by which the clocks of two workers may differ


class Item(NamedTuple):
    """One item: its channel, the rank and the sequence of its entry there, and its notification's id as a key.

    `expires` is in Unix ms, 0 for never. `is_copy`: the notification was published to other channels too.
    """

    channel: str
    rank: int
    seq: int
    key: bytes = b""
    expires: int = 0
    type: str = ""
    is_copy: bool = False

    @property
    def cursor(self) -> Cursor:
        """The entry as a cursor."""
        return Cursor(self.rank // RANKS, self.seq)

    @property
    def entry(self) -> str:
        """The entry as a text."""
        return f"{self.rank // RANKS}-{self.seq}"

    @property
    def id(self) -> str:
        """The notification's id."""
        return id_of(self.key)


class Digest:
    """The items of one channel, in order. `len` is their number.

    `removals` is how often items were removed: the places of others have changed then. `last` is the last entry of the
    log that was read. `ends` is when the whole log expires (Unix ms, 0 for never). Keys are ids of notifications as 16
    bytes.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.removals = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything, and begin again with the first entry of the log."""
        self.removals += 1
        self.last = BEGINNING
        self.ends = 0
        self._begin = 0  # all entries with lower ranks have left the log
        self._expired: dict[int, int] = {}  # the ranks of items that have expired lately, and when
        # The columns: one place per item, in the order of the log.
        self._ranks = array("Q")
        self._keys = bytearray()
        self._tails = bytearray()  # the last bytes of the keys, which are random: to find a key fast
        self._types = TypeColumn()
        # The values that only some items have, by the keys of the items.
        self._copies: dict[bytes, int] = {}  # the ranks of items that are also in other channels
        self._expiries: dict[bytes, int] = {}
        self._seqs: dict[bytes, int] = {}  # of entries that the rank does not tell apart
        self._collapse_keys: dict[bytes, bytes] = {}
        self._collapsible: dict[bytes, bytes] = {}  # collapse key -> key
        self._next_expiry: int | None = 0  # None: it must be determined

    def __len__(self) -> int:
        return len(self._ranks)

    def follow(self, first: bytes, rows: Iterable[Row], turns: Turns = iter) -> None:
        """Take the entries after `last`. The log now begins with the entry `first`, empty if there is none.

        In a turn for others, the digest is that of a shorter log. Nobody else may follow the log meanwhile.
        """
        for row in turns(rows):
            place = cursor.parse(row.entry)
            if place > self.last:  # else another reader has brought it already
                self._take(row, place)
                self.last = place
        begin = cursor.parse(first) if first else _END
        self._begin = min(begin, self.last).rank
        for _ in turns(range(0, self._count_before(begin), _TOGETHER)):
            self._forget(range(min(self._count_before(begin), _TOGETHER)))  # fewer if some have expired in a turn

    def pass_time(self, now: int, turns: Turns = iter) -> None:
        """Remove the items that have expired. `now` is in Unix ms. The digest may change in a turn for others."""
        if 0 < self.next_expiry <= now:
            expired = sorted((expires, key) for key, expires in self._expiries.items() if expires <= now)
            for expires, key in turns(expired):
                place = self._place(key)
                if place >= 0:  # else somebody else has removed it in a turn
                    self._expired[self._ranks[place]] = expires
                    self._forget(range(place, place + 1))
        for rank in list(itertools.islice(self._expired, _TOGETHER)):  # what is left comes next time
            if self._expired[rank] >= now - _SKEW:
                break
            del self._expired[rank]

    @property
    def next_expiry(self) -> int:
        """When the next item expires, in Unix ms; 0: none expires."""
        if self._next_expiry is None:
            self._next_expiry = min(self._expiries.values(), default=0)
        return self._next_expiry

    def behind(self, rank: int) -> int:
        """Return how many items have a higher rank."""
        return len(self._ranks) - bisect_right(self._ranks, rank)

    def count(self, after: int, before: int) -> int:
        """Return how many items have a rank above `after` and below `before`."""
        return max(bisect_left(self._ranks, before) - bisect_right(self._ranks, after), 0)

    def count_among(self, ranks: Ranks) -> int:
        """Return how many items have one of these ranks, which are in order."""
        return rank_list.count_among(self._ranks, ranks)

    def count_type(self, type: str, after: int, before: int) -> int:
        """Return how many items of a type have a rank above `after` and below `before`."""
        ranks = self.types().get(type, ())
        return max(bisect_left(ranks, before) - bisect_right(ranks, after), 0)

    def left(self, ranks: Ranks, turns: Turns = iter) -> list[int]:
        """Return ranks whose entries have left the log: all from before its first entry, and others if they are many.

        The digest may change meanwhile.
        """
        begin = bisect_left(ranks, self._begin)
        left = list(ranks[:begin])
        if len(ranks) - begin > len(self) + _SPARE:
            others = (rank for rank in turns(ranks[begin:]) if rank < self.last.rank and rank not in self._expired)
            left += [rank for rank in others if not rank_list.has(self._ranks, rank)]
        return left

    def types(self, turns: Turns = iter) -> Mapping[str, Sequence[int]]:
        """Return the ranks of the items of each type, in order."""
        return self._types.ranks(self._ranks, turns)

    @property
    def copies(self) -> KeysView[bytes]:
        """The keys of items that were published to other channels too."""
        return self._copies.keys()

    def between(self, after: int, up_to: int) -> Iterator[Item]:
        """Yield the items with ranks above `after`, up to and including `up_to`. The digest may change meanwhile."""
        place = bisect_right(self._ranks, after)
        while place < len(self._ranks) and self._ranks[place] <= up_to:
            item, removals = self._item(place), self.removals
            yield item
            if removals != self.removals:
                found = self._place(item.key, item.rank)
                place = found if found >= 0 else bisect_left(self._ranks, item.rank) - 1
            place += 1

    def newest(self, after: int, up_to: int) -> Iterator[Item]:
        """Yield the same items as `between`, the newest first."""
        place = bisect_right(self._ranks, up_to) - 1
        while place >= 0 and self._ranks[place] > after:
            item, removals = self._item(place), self.removals
            yield item
            if removals != self.removals:
                found = self._place(item.key, item.rank)
                place = found if found >= 0 else bisect_left(self._ranks, item.rank)
            place -= 1

    def copy(self, key: bytes) -> Item | None:
        """Return the item with this key, if it is among the `copies`."""
        rank = self._copies.get(key)
        return None if rank is None else self._item(self._place(key, rank))

    def find(self, keys: Sequence[bytes]) -> list[Item]:
        """Return the items with these keys."""
        if len(keys) <= _SCAN:
            places = [place for key in keys if (place := self._place(key)) >= 0]
        else:
            index = {key: place for place, (key,) in enumerate(struct.iter_unpack(f"{_KEY}s", self._keys))}
            places = [index[key] for key in keys if key in index]
        return [self._item(place) for place in places]

    def _item(self, place: int) -> Item:
        key, rank = bytes(self._keys[place * _KEY : (place + 1) * _KEY]), self._ranks[place]
        return Item(
            self.channel,
            rank,
            self._seqs.get(key, rank % RANKS),
            key,
            self._expiries.get(key, 0),
            self._types[place],
            key in self._copies,
        )

    def _place(self, key: bytes, rank: int | None = None) -> int:
        """Return the place of the item with this key, which has this rank if it is known, or -1."""
        place = (0 if rank is None else bisect_left(self._ranks, rank)) - 1
        while key and (place := self._tails.find(key[-1], place + 1)) >= 0:
            if self._keys[place * _KEY : (place + 1) * _KEY] == key:
                return place
        return -1

    def _take(self, row: Row, place: Cursor) -> None:
        key = key_of(row.id.decode())
        if row.kind == REMOVED:
            self._drop(key)
        if row.collapse_key in self._collapsible:
            self._drop(self._collapsible[row.collapse_key])
        if row.kind != NOTIFICATION or not key:
            return
        self._types.append(row.type.decode(), place.rank)
        self._ranks.append(place.rank)
        self._keys += key
        self._tails.append(key[-1])
        if place.seq >= RANKS - 1:
            self._seqs[key] = place.seq
        if row.copy:
            self._copies[key] = place.rank
        if row.collapse_key:
            self._collapsible[row.collapse_key] = key
            self._collapse_keys[key] = row.collapse_key
        if expires := int(row.expires or 0):
            self._expiries[key] = expires
            if not 0 < self.next_expiry < expires:
                self._next_expiry = expires

    def _count_before(self, place: Cursor) -> int:
        """Return how many items' entries lie before a place."""
        count = bisect_left(self._ranks, place.rank)
        while place.seq >= RANKS - 1 and count < len(self) and self._item(count).cursor < place:
            count += 1
        return count

    def _drop(self, key: bytes) -> None:
        place = self._place(key)
        if place >= 0:
            self._forget(range(place, place + 1))

    def _forget(self, places: range) -> None:
        """Remove the items at these places."""
        self.removals += 1
        ends = slice(places.start * _KEY, places.stop * _KEY)
        keys = bytes(self._keys[ends])
        del self._keys[ends]
        for column in (self._tails, self._ranks):
            del column[places.start : places.stop]
        self._types.remove(places)
        for at in range(0, len(keys), _KEY):
            key = keys[at : at + _KEY]
            self._copies.pop(key, None)
            self._seqs.pop(key, None)
            self._collapsible.pop(self._collapse_keys.pop(key, b""), None)
            if self._expiries.pop(key, -1) == self._next_expiry:
                self._next_expiry = None
