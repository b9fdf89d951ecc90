"""The model of an inbox: its items and their flags, after all publications and actions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.cursors import Cursor
from chaos.entitlement import muting
from chaos.ledger import Ledger, Publication
from chaos.spans import Spans

JOIN, LEAVE, MUTE = "join", "leave", "mute"
EFFECTS = {
    "seen": {"seen": True},
    "read": {"seen": True, "read": True},
    "unread": {"read": False, "archived": False},
    "archive": {"seen": True, "read": True, "archived": True},
    "unarchive": {"archived": False},
}

Flags = dict[str, bool | None]  # None: both are possible


@dataclass
class Operation:
    """An action on an inbox, by ids or up to a cursor, a topic joined or left, or new mutes.

    An attempt with an unknown outcome may take effect later, until `late_until`. `began_ms` is in Unix ms, all other
    times are in monotonic seconds.
    """

    action: str
    ids: tuple[str, ...] = ()
    up_to: Cursor | None = None
    topic: str = ""
    mutes: frozenset[str] = frozenset()
    attempts: list[tuple[float, str]] = field(default_factory=list)
    began_ms: int = 0
    acknowledged: float = 0.0
    late_until: float = 0.0

    @property
    def began(self) -> float:
        """When it was first requested."""
        return self.attempts[0][0]

    @property
    def is_filter(self) -> bool:
        """Whether it changes what the user is sent from now on."""
        return self.action in (JOIN, LEAVE, MUTE)

    def __str__(self) -> str:
        if self.action == MUTE:
            return f"mute {', '.join(sorted(self.mutes)) or 'nothing'}"
        what = self.topic or (f"up to {self.up_to[0]}-{self.up_to[1]}" if self.up_to else f"{len(self.ids)} by id")
        return f"{self.action} {what}"

    def reaches(self, publication: Publication, cursor: Cursor) -> bool | None:
        """Return whether it affects an item; None: that depends on which of the two came first."""
        if self.up_to is None:
            return publication.id in self.ids
        if cursor > self.up_to or publication.attempts[0][0] > max(self.acknowledged, self.late_until):
            return False
        # An entry's time is not earlier than its append.
        if cursor[0] < self.began_ms or 0 < publication.acknowledged <= self.began:
            return True
        return None


class Item(NamedTuple):
    """One item of a list, as the service returns it."""

    cursor: Cursor
    channel: str
    key: str
    flags: dict[str, bool]


class Model:
    """The inbox of one user. `topics` are those of which the user is a member, `operations` are all actions.

    `members` and `muted` have the times of memberships and mutes.
    """

    def __init__(self, user: str, ledger: Ledger) -> None:
        self.user = user
        self.members = Spans()
        self.muted = Spans()
        self.topics: dict[str, Operation] = {}  # with how it was joined
        self.mutes: frozenset[str] = frozenset()
        self.operations: list[Operation] = []
        self.changes = 0  # of memberships and mutes
        self._ledger = ledger

    def ask(self, operation: Operation, at: float) -> None:
        """Note that an operation is requested, which may change what the user is sent."""
        for spans, begins, ends in self._changes(operation):
            for name in begins:
                spans.begins(name, at, operation.began_ms)
            for name in ends:
                spans.ends(name, at)

    def note(self, operation: Operation) -> None:
        """Apply an operation that has been acknowledged."""
        self.changes += operation.is_filter
        for spans, begins, ends in self._changes(operation):
            for name in begins:
                spans.has_begun(name, operation.acknowledged)
            for name in ends:
                spans.has_ended(name, operation.acknowledged)
        if operation.action == JOIN:
            self.topics[operation.topic] = operation
        elif operation.action == LEAVE:
            self.topics.pop(operation.topic, None)
        elif operation.action == MUTE:
            self.mutes = operation.mutes
        else:
            self.operations.append(operation)

    @property
    def channels(self) -> list[str]:
        """The channels whose items belong to it."""
        return [f"user:{self.user}", "all", *(f"topic:{topic}" for topic in self.topics)]

    def has(self, publication: Publication) -> bool | None:
        """Return whether a publication is in the inbox; None: both are possible."""
        on = [self._has_on(publication, channel) for channel in self.channels if channel in publication.channels]
        return True if True in on else None if None in on else False

    def flags(self, publication: Publication, item: Item) -> Flags:
        """Return the flags of an item that is listed."""
        muted = self.mutes_item(publication, item.channel)
        flags: Flags = {"seen": muted is True, "read": muted is True, "archived": False}
        before: list[Operation] = []
        for operation in self.operations:
            reaches = operation.reaches(publication, item.cursor)
            if reaches is False:
                continue
            _apply(operation, flags, reaches is True)
            for late in before:
                if late.late_until > operation.began:
                    _apply(late, flags, is_sure=False)
            before.append(operation)
        if muted is not False:
            _blur(flags, before, muted)
        return flags

    def mutes_item(self, publication: Publication, channel: str) -> bool | None:
        """Return whether an item was muted when it was published; None: perhaps, or only one of its copies."""
        names = [name for each in publication.channels for name in muting(publication, each)]
        if not any(self.muted.may_cover(name, publication) for name in names):
            return False
        is_sure = self.muted.covering(f"type:{publication.type}", publication) or (
            publication.channels == [channel] and self.muted.covering(channel, publication)
        )
        return True if is_sure else None

    def _changes(self, operation: Operation) -> list[tuple[Spans, Iterable[str], Iterable[str]]]:
        """Return the spans that an operation changes, with the names that begin and those that end."""
        match operation.action:
            case "join":
                return [(self.members, [operation.topic], [])]
            case "leave":
                return [(self.members, [], [operation.topic])]
            case "mute":
                return [(self.muted, operation.mutes, self.mutes - operation.mutes)]
        return []

    def faults(self, items: Iterable[Item]) -> Iterable[tuple[str, str, Publication | None]]:
        """Yield the faults of a complete list: kind, description, and publication."""
        items = list(items)
        found = {item.key: item for item in items}
        if len(found) < len(items):
            yield "listed twice", f"{len(items) - len(found)} items", None
        for item in found.values():
            publication = self._ledger.publications.get(item.key)
            if publication is None or self.has(publication) is False:
                yield "not gone", f"{item.key} of {item.channel} is listed", publication
                continue
            for name, flag in self.flags(publication, item).items():
                if flag not in (None, item.flags[name]):
                    said = "" if item.flags[name] else "not "
                    yield "wrong flag", f"{item.key} of {item.channel} is {said}{name}", publication
        for publication in self._ledger.acknowledged_in(self.channels):
            if publication.key not in found and self.has(publication):
                yield "not listed", f"{publication.key} to {', '.join(publication.channels)}", publication

    def _has_on(self, publication: Publication, channel: str) -> bool | None:
        if not publication.for_inbox or publication.recalled or publication.ttl:
            return False
        if not publication.acknowledged:
            return None
        if self._ledger.is_replaced(publication, channel):
            return False
        joined = self.topics.get(channel.partition(":")[2]) if channel.startswith("topic:") else None
        if joined is None or publication.attempts[0][0] > joined.acknowledged:
            is_there: bool | None = True
        elif publication.cursors[channel][0] < joined.began_ms or publication.acknowledged < joined.began:
            is_there = False
        else:
            is_there = None
        return None if is_there and publication.recall_asked else is_there


def _apply(operation: Operation, flags: Flags, is_sure: bool) -> None:
    for name, value in EFFECTS[operation.action].items():
        flags[name] = value if is_sure or flags[name] is value else None


def _blur(flags: Flags, operations: list[Operation], muted: bool | None) -> None:
    """Forget the flags that depend on how an item was muted. If it is marked as unread, that depends on its channel."""
    is_unread = any(operation.action == "unread" for operation in operations)
    if muted is None:
        flags["seen"] = flags["seen"] or None
    if muted is None or is_unread:
        flags["read"] = None if is_unread else flags["read"] or None
    if is_unread:
        flags["archived"] = None
