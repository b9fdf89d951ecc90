"""What comes on a stream, and where to resume it."""

from dataclasses import dataclass
from typing import Any, NamedTuple


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


Event = Received | Removed | Lost
