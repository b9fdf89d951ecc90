"""Events of a stream, and positions from which it can be resumed."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from notifier.client.inbox import Change, Counts


class Position(NamedTuple):
    """Where to resume. Everything up to `cursor` was received; `seen` has the ids that may be received again."""

    cursor: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Received:
    """A notification. `notification` has its fields, see docs/protocol.md. `replay`: it is replayed, not live."""

    id: str
    channel: str
    cursor: str
    replay: bool
    notification: dict[str, Any]


@dataclass(frozen=True)
class Removed:
    """A notification was recalled. It may be one that was never received."""

    id: str
    channel: str
    cursor: str


@dataclass(frozen=True)
class Lost:
    """Notifications of these channels are lost permanently: load your state again."""

    channels: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """The counts of the user's inbox, and what changed it. Streams with `inbox=True` receive it.

    `changes` is empty if only the counts changed, as by a new notification. `topics` are the topics that the user is
    a member of; it is None unless they changed, or the stream has just begun. With `reload`, `changes` is incomplete:
    fetch the list again. This happens at the beginning, after missed changes, and when topics or mutes changed.
    """

    counts: Counts
    changes: tuple[Change, ...] = ()
    topics: tuple[str, ...] | None = None
    reload: bool = False


Event = Received | Removed | Lost | State
