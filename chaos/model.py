"""The model of an inbox: its items and their flags, after all publications and actions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.ledger import Ledger, Publication
from chaos.witness import Cursor

JOIN, LEAVE = "join", "leave"
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
    """An action on an inbox, by ids or up to a cursor, or a topic joined or left.

    An attempt with an unknown outcome may take effect later, until `late_until`. `began_ms` is in Unix ms, all other
    times are in monotonic seconds.
    """

    action: str
    ids: tuple[str, ...] = ()
    up_to: Cursor | None = None
    topic: str = ""
    attempts: list[tuple[float, str]] = field(default_factory=list)
    began_ms: int = 0
    acknowledged: float = 0.0
    late_until: float = 0.0

    @property
    def began(self) -> float:
        """When it was first requested."""
        return self.attempts[0][0]

    def __str__(self) -> str:
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
    """The inbox of one user. `topics` are those of which the user is a member, `operations` are all actions."""

    def __init__(self, user: str, ledger: Ledger) -> None:
        self.user = user
        self.topics: dict[str, Operation] = {}  # with how it was joined
        self.operations: list[Operation] = []
        self._ledger = ledger

    def note(self, operation: Operation) -> None:
        """Apply an operation that has been acknowledged."""
        if operation.action == JOIN:
            self.topics[operation.topic] = operation
        elif operation.action == LEAVE:
            self.topics.pop(operation.topic, None)
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

    def flags(self, publication: Publication, cursor: Cursor) -> Flags:
        """Return the flags of an item that is listed with this cursor."""
        flags: Flags = dict.fromkeys(("seen", "read", "archived"), False)
        before: list[Operation] = []
        for operation in self.operations:
            reaches = operation.reaches(publication, cursor)
            if reaches is False:
                continue
            _apply(operation, flags, reaches is True)
            for late in before:
                if late.late_until > operation.began:
                    _apply(late, flags, is_sure=False)
            before.append(operation)
        return flags

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
            for name, flag in self.flags(publication, item.cursor).items():
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
