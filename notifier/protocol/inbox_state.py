"""Inbox states: what Redis has of a user's inbox, with the flags of its items.

A mark is a rank: all items up to it have the flag, later ones do not, except for items listed as exceptions. So a
notification to everybody adds nothing to the keys of any user until the user acts on that one item.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from notifier.protocol import channel as channels
from notifier.protocol import cursor, rank_list
from notifier.protocol import tenant as tenants
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.rank_list import Ranks

_FLAGS = "sra"  # seen, read, archived
_NO_RANKS = rank_list.unpack(b"")
_NEVER = 1 << 62  # higher than every rank


class Action(NamedTuple):
    """The flags that an action sets or clears. An archived item is also read, and a read one also seen."""

    flags: str
    on: bool


ACTIONS = {
    "seen": Action("s", True),
    "read": Action("rs", True),
    "unread": Action("ra", False),
    "archive": Action("ars", True),
    "unarchive": Action("a", False),
}


class Flags(NamedTuple):
    """The flags of an item for a user. Muted: its type or topic was muted when it arrived."""

    seen: bool
    read: bool
    archived: bool
    muted: bool = False


class Counts(NamedTuple):
    """How many items are not read, and not seen, without muted ones."""

    unread: int = 0
    unseen: int = 0


Field = tuple[str, str]  # first letter of a flag, shared channel
Exceptions = Mapping[Field, Ranks]
Turns = Callable[[Iterable[Any]], Iterator[Any]]


class Marks(NamedTuple):
    """The marks of a user as ranks, and the exceptions among the items of shared channels."""

    seen: int = 0
    read: int = 0
    archived: int = 0
    exceptions: Exceptions = {}

    def has(self, flag: str, item: Item) -> bool:
        """Return whether an item of a shared channel has a flag, named by its first letter."""
        mark = (self.seen, self.read, self.archived)[_FLAGS.index(flag)]
        return (item.rank <= mark) != rank_list.has(self.exceptions.get((flag, item.channel), ()), item.rank)

    def same_until(self, other: "Marks") -> int:
        """Return the rank up to which all items have the same flags by these marks as by others."""
        moved = (min(pair) for pair in zip(self[:3], other[:3], strict=True) if pair[0] != pair[1])
        names = self.exceptions.keys() | other.exceptions.keys()
        parts = ([marks.exceptions.get(name, _NO_RANKS) for marks in (self, other)] for name in names)
        differing = (rank_list.first_difference(*pair) for pair in parts)
        return min([*moved, *(rank - 1 for rank in differing if rank is not None)], default=_NEVER)


class InboxState(NamedTuple):
    """The state of a user's inbox in Redis. Times are in Unix ms, 0 for never.

    `unread`, `unseen`, `expires` (of the next item) and `ends` (when the whole log expires) concern the user's own
    channel only. `topics`: each topic with the entry after which the membership begins. `mutes`: each with the time
    when it began. `copies`: ids of notifications that are on the user's channel and on others. `disconnected_at`: when
    the user was last disconnected. `everyone` is the channel of all users of the tenant.
    """

    marks: Marks = Marks()
    revision: int = 0
    unread: int = 0
    unseen: int = 0
    expires: int = 0
    topics: Mapping[str, Cursor] = {}
    mutes: Mapping[str, int] = {}
    copies: frozenset[str] = frozenset()
    disconnected_at: int = 0
    ends: int = 0
    everyone: str = channels.ALL

    @property
    def sources(self) -> list[str]:
        """The shared channels whose items are in this inbox."""
        return [self.everyone, *map(channels.of_topic, self.topics)]

    def mutes_item(self, item: Item) -> bool:
        """Return whether an item was muted when it arrived."""
        return bool(self.mutes) and self.mutes_entry(item.channel, item.type, item.cursor.ms)

    def mutes_entry(self, channel: str, type: str, ms: int) -> bool:
        """Return whether an entry of a channel and type was muted at a time, in Unix ms."""
        if not self.mutes:
            return False
        topic = channels.topic_of(channel)
        since = [self.mutes.get(f"type:{type}"), None if topic is None else self.mutes.get(f"topic:{topic}")]
        return any(begin is not None and ms >= begin for begin in since)


NOTHING = InboxState()


def read_state(user: str, reply: list[Any], turns: Turns = iter) -> InboxState:
    """Return the state of a user's inbox from the reply of the `state` script; see `InboxView` about `turns`."""
    everyone = tenants.everyone_of(tenants.of(user))
    if not reply:
        return NOTHING if everyone == channels.ALL else NOTHING._replace(everyone=everyone)
    seen, read, archived, revision, unread, unseen, expires, shared, topics, mutes, copies, disconnected_at, ends = (
        reply
    )
    return InboxState(
        read_marks([seen, read, archived, shared], turns),
        int(revision),
        int(unread),
        int(unseen),
        int(expires),
        # Sorted, so that a notification of several topics is always listed by the same one.
        {name: cursor.parse(since) for name, since in sorted(_pairs(topics))},
        read_mutes(mutes),
        frozenset(id.decode() for id in copies),
        int(disconnected_at),
        max(ends, 0),
        everyone,
    )


def read_marks(reply: list[Any], turns: Turns = iter) -> Marks:
    """Return marks from the reply of a script."""
    seen, read, archived, shared = reply
    return Marks(int(seen), int(read), int(archived), _exceptions(turns(_pairs(shared))))


def read_mutes(flat: list[bytes]) -> dict[str, int]:
    """Return mutes from a hash in a reply."""
    return {name: int(since) for name, since in _pairs(flat)}


def _exceptions(fields: Iterable[tuple[str, bytes]]) -> Exceptions:
    return {(name[0], name[2:]): rank_list.unpack(ranks) for name, ranks in fields}


def _pairs(flat: list[bytes]) -> Iterator[tuple[str, bytes]]:
    names = iter(flat)
    return ((name.decode(), value) for name, value in zip(names, names, strict=True))
