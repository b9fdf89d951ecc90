"""Mutes: the types and topics that users have muted, and what connections are therefore not sent."""

from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from notifier.protocol import cursor, notification
from notifier.protocol import tenant as tenants
from notifier.protocol.entry import MUTED, NOTIFICATION, Entry
from notifier.protocol.inbox_state import InboxState

Member = TypeVar("Member")


class Mutes(Generic[Member]):
    """The connections whose user has muted something, with the state of their inbox.

    A muted entry stays in its place as an entry of the kind MUTED: it is not sent, but counts as delivered.
    """

    def __init__(self) -> None:
        self._states: dict[Member, InboxState] = {}

    def update(self, connection: Member, state: InboxState) -> None:
        """Apply the mutes of a state to a connection from now on."""
        if state.mutes:
            self._states[connection] = state
        else:
            self._states.pop(connection, None)

    def of(self, connection: Member) -> Mapping[str, int]:
        """Return the mutes of a connection."""
        state = self._states.get(connection)
        return {} if state is None else state.mutes

    def forget(self, connection: Member) -> None:
        """Forget a connection that is closing."""
        self._states.pop(connection, None)

    def apply(self, connection: Member, entries: list[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
        """Return entries, with their channels, as one connection must be sent them."""
        state = self._states.get(connection)
        if state is None:
            return entries
        return [(name, _as_sent(state, name, _Typed(entry, *_facts(entry)))) for name, entry in entries]

    def apply_to_all(
        self, connections: Mapping[Member, None], name: str, entries: list[Entry]
    ) -> dict[Member, list[Entry]]:
        """Return the connections that have muted some of a channel's entries, and what each must be sent instead."""
        states = self._states
        if not states:
            return {}
        fewer: Iterable[Member] = connections if len(connections) < len(states) else states
        muting = [each for each in fewer if each in states and each in connections]
        if not muting:
            return {}
        typed = [_Typed(entry, *_facts(entry)) for entry in entries]  # parsed once, however many have muted something
        choice = _Choice(name, typed)
        found = {}
        for connection in muting:
            sent = choice.of(states[connection])
            if sent is not None:  # else it shares the frames of others
                found[connection] = sent
        return found


def mutes_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return mutes as they go out, from the names by which Redis has them."""
    parts = sorted(name.split(":", 1) for name in names)
    return {
        "types": [name for kind, name in parts if kind == "type"],
        "topics": [tenants.outward(name) for kind, name in parts if kind == "topic"],
    }


def names_of(types: Iterable[str], topics: Iterable[str]) -> list[str]:
    """Return the names by which Redis has the mutes of these types and topics."""
    return [f"type:{type}" for type in types] + [f"topic:{topic}" for topic in topics]


class _Typed(NamedTuple):
    """An entry with its type and its time in Unix ms; only notifications can be muted."""

    entry: Entry
    type: str
    ms: int


class _Choice:
    """Which of a channel's entries are sent under some mutes.

    Most mutes concern none of them, and most others began before all of them. Users with the same ones of those are
    sent the same list, so the time that a batch takes does not grow with the entries for each connection.
    """

    def __init__(self, channel: str, typed: list[_Typed]) -> None:
        self._channel = channel
        self._typed = typed
        muted = [each for each in typed if each.entry.kind == NOTIFICATION]
        self._first = min((each.ms for each in muted), default=0)
        self._names = {f"type:{each.type}" for each in muted} | ({channel} if muted else set())
        self._found: dict[frozenset[str], list[Entry] | None] = {}

    def of(self, state: InboxState) -> list[Entry] | None:
        """Return what is sent; None: everything."""
        mutes = state.mutes
        if self._names.isdisjoint(mutes):
            return None
        names = frozenset(self._names.intersection(mutes))
        if any(mutes[name] > self._first for name in names):
            return self._choose(state)  # a mute began meanwhile
        if names not in self._found:
            self._found[names] = self._choose(state)
        return self._found[names]

    def _choose(self, state: InboxState) -> list[Entry] | None:
        sent = [_as_sent(state, self._channel, each) for each in self._typed]
        is_less = any(one is not each.entry for one, each in zip(sent, self._typed, strict=True))
        return sent if is_less else None


def _facts(entry: Entry) -> tuple[str, int]:
    if entry.kind != NOTIFICATION:
        return "", 0
    return notification.type_of(entry.body), cursor.parse(entry.id).ms


def _as_sent(state: InboxState, channel: str, typed: _Typed) -> Entry:
    entry, type, ms = typed
    if entry.kind == NOTIFICATION and state.mutes_entry(channel, type, ms):
        return entry._replace(kind=MUTED)
    return entry
