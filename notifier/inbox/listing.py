"""Lists of inboxes: pages of items with their notifications, the newest first.

Items of the user's own channel come from a script, those of shared channels from digests; the two are merged.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.inbox.digests import Digests
from notifier.inbox.snapshot import Candidate, Snapshot
from notifier.loop import in_turns
from notifier.protocol import channel as channels
from notifier.protocol import cursor
from notifier.protocol import tenant as tenants
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.entry import MUTED
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_query import ANY, Place, Query
from notifier.protocol.inbox_state import Flags, read_state

PAGE_BYTES = 1 << 20  # of notifications: ten times that of a page of usual ones
MOST_READ = 1 << 20  # bytes of notifications that are read for a page, about, if a filter rejects them
_LEAST_READ = 1024  # bytes that the shortest notification counts for
_BATCH = 100  # smallest number of items whose bodies are read at once
_SNAPSHOT = 500  # items without bodies that are read at once
_PIECE = 8  # items of a whole inbox whose bodies are in memory at once: half a megabyte of the longest ones


class Listed(NamedTuple):
    """One item of a list; `body` is the JSON of the notification as it goes out."""

    cursor: Cursor
    channel: str
    body: bytes
    flags: Flags


class Listing(NamedTuple):
    """One page of a list, the place where the next page begins, and the view that the page was made from.

    Nothing up to `cursor` is missing from the list, even if it was published while the list was read.
    """

    items: list[Listed]
    next: Place | None
    view: InboxView
    cursor: Cursor


class InboxLists:
    """The lists of all inboxes. Every method may raise `BrokerUnavailable`."""

    def __init__(self, store: Store, digests: Digests) -> None:
        self._store = store
        self._digests = digests

    def page(self, user: str, query: Query) -> Listing:
        """Return a page of a user's inbox."""
        begun = self._begin(user, query)
        found: list[Listed] = []
        read, examined = 0, None
        for batch in self._batches(user, query, begun):
            wanted, size = self._with_bodies(batch, query)
            found, read = found + wanted, read + size
            if len(found) > query.limit:
                break
            if read >= MOST_READ and len(batch) == _batch_size(query):
                examined = _place_of(batch[-1].item)
                break
        items, more = split(found, query.limit)
        following = _place_of(items[-1]) if more else examined
        reached = [item.cursor for item in items if item.cursor.ms < begun.now]
        return Listing(items, following, begun.view, max([Cursor(begun.now - 1, 0), *reached]))

    def everything(self, user: str) -> Iterator[list[Listed]]:
        """Return all items of a user's inbox as they are now, archived ones last; a few at a time are read.

        The flags are those of this moment: an item that is archived meanwhile is neither missing nor listed twice.
        """
        query = Query(ANY, _SNAPSHOT)
        items, archived = Snapshot(), Snapshot()
        for batch in self._batches(user, query, self._begin(user, query, is_of_user=False)):
            for each in in_turns(batch):
                (archived if each.flags.archived else items).add(each)
        few = itertools.chain(items.pieces(_PIECE), archived.pieces(_PIECE))
        return (self._with_bodies(each, query)[0] for each in few)

    def _begin(self, user: str, query: Query, *, is_of_user: bool = True) -> "_Begun":
        """Begin a list. `is_of_user`: the user asks for it, and pays for what was not in memory."""
        # Entries published from now on get no earlier time than this one, in whichever order channels are read.
        commands = [
            pack("TIME"),
            self._store.call("state", (self._base(user),)),
            self._own(user, query, query.before),
        ]
        replies = self._store.carry_out(commands, pipeline=self._store.reading)
        time_of_redis, state, own = map(require, replies)
        known = read_state(user, state, in_turns)
        view = self._digests.view(user, known) if is_of_user else self._digests.views([known])[0]
        return _Begun(int(time_of_redis[0]) * 1000 + int(time_of_redis[1]) // 1000, view, own)

    def _batches(self, user: str, query: Query, begun: "_Begun") -> Iterator[list[Candidate]]:
        """Yield the candidates of a list, in batches."""
        before, own = query.before, begun.own
        while True:
            batch = _merge(user, begun.view, query, before, own)
            yield batch
            if len(batch) < _batch_size(query):
                return
            before = _place_of(batch[-1].item)
            [own] = map(require, self._store.carry_out([self._own(user, query, before)]))

    def _own(self, user: str, query: Query, before: Place | None) -> bytes:
        """Return the command that lists items of the user's own channel."""
        bound = "+inf"
        if before is not None:
            bound = f"{'' if channels.of_user(user) < before.channel else '('}{before.cursor.rank}"
        return self._store.call("list", (self._base(user),), (bound, _batch_size(query), query.status))

    def _with_bodies(self, batch: list[Candidate], query: Query) -> tuple[list[Listed], int]:
        """Return wanted items with their notifications, and how much was read.

        An item that has left its log meanwhile is left out.
        """
        commands = [
            pack("XRANGE", self._store.of(each.item.channel, "log"), each.item.entry, each.item.entry) for each in batch
        ]
        # Publications do not wait for the long reads of a filter.
        replies = self._store.execute(commands, pipeline=self._store.reading if query.needs_bodies else None)
        found, read = [], 0
        for (item, flags), reply in zip(batch, replies, strict=True):
            for _, fields in require(reply):
                read += max(len(fields[1]), _LEAST_READ)
                if query.wants_body(fields[1]):
                    flags = flags._replace(muted=flags.muted or fields[0] == MUTED)
                    found.append(Listed(item.cursor, item.channel, fields[1], flags))
        return found, read

    def _base(self, user: str) -> str:
        return self._store.sharded(channels.of_user(user))


def split(found: list[Listed], limit: int) -> tuple[list[Listed], list[Listed]]:
    """Return the items of a page and the rest. Notifications that are very long make a page shorter.

    An answer is in memory until its client has read it, and a user may have a hundred of them at a time.
    """
    size = 0
    for number, item in enumerate(found[:limit]):
        size += len(item.body)
        if size > PAGE_BYTES and number:
            return found[:number], found[number:]
    return found[:limit], found[limit:]


def describe(items: Iterable[Listed]) -> list[dict[str, Any]]:
    """Return the items of a list as they go out."""
    return [
        {
            "cursor": str(item.cursor),
            "channel": tenants.public(item.channel),
            "notification": msgspec.Raw(item.body),
            **item.flags._asdict(),
        }
        for item in items
    ]


class _Begun(NamedTuple):
    """The time of Redis when a list was begun, in Unix ms, the view, and the first reply to `InboxLists._own`."""

    now: int
    view: InboxView
    own: list[list[bytes]]


def _merge(user: str, view: InboxView, query: Query, before: Place | None, own: list[list[bytes]]) -> list[Candidate]:
    """Return the next candidates of a list. `own` is the reply to `InboxLists._own`."""
    channel = channels.of_user(user)
    owned = [
        Candidate(_own_item(channel, entry.decode()), Flags(*(letter in flags for letter in b"sra")))
        for entry, flags in (own if query.wants_channel(channel) else [])
    ]
    shared = (
        Candidate(item, flags)
        for item in view.newest(None if before is None else before.cursor.rank)
        if (before is None or (item.rank, item.channel) < before.key) and query.wants(item, flags := view.flags(item))
    )
    return list(itertools.islice(heapq.merge(owned, shared, key=_key, reverse=True), _batch_size(query)))


def _batch_size(query: Query) -> int:
    """Return how many candidates are read at once: one more than fit, or many if the query may reject most of them."""
    return 1 + (max(query.limit, _BATCH) if query.needs_bodies else query.limit)


def _place_of(item: Item | Listed) -> Place:
    return Place(item.cursor, item.channel)


def _key(candidate: Candidate) -> tuple[int, str]:
    return candidate.item.rank, candidate.item.channel


def _own_item(channel: str, entry: str) -> Item:
    place = cursor.parse(entry)
    return Item(channel, place.rank, place.seq)
