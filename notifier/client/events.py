"""What comes on a stream, and where to resume it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from notifier.client.inbox import Change, Counts


class Position(NamedTuple):
    """Where to resume: everything up to `cursor` has come, and `seen` names what may come again."""

    cursor: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Received:
    """A notification. `notification` has its members, as docs/protocol.md lists them; `replay` if it was missed."""

    id: str
    channel: str
    cursor: str
    replay: bool
    notification: dict[str, Any]


@dataclass(frozen=True)
class Removed:
    """A notification was recalled; it may be one that never came."""

    id: str
    channel: str
    cursor: str


@dataclass(frozen=True)
class Lost:
    """Something of these channels is gone for good: load your state anew."""

    channels: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """How the user's inbox stands, and what has changed it; comes to a stream that was asked for with `inbox=True`.

    `changes` is empty where only the counts changed, as by a new notification. `topics` are those that the user is a
    member of, at the beginning and where that has changed. With `reload`, `changes` does not say everything: load a
    list that is shown anew. So it is at the beginning, where something was missed, and after other topics or mutes.
    """

    counts: Counts
    changes: tuple[Change, ...] = ()
    topics: tuple[str, ...] | None = None
    reload: bool = False


Event = Received | Removed | Lost | State
