"""The steps of a stream: what its rules ask to be done, and what may come of it."""

from collections.abc import Generator
from typing import Any, NamedTuple

from notifier.client.events import Event

HEARTBEAT_LOST = 4000


class FetchToken(NamedTuple):
    """Get a token; the outcome is the token, or the exception that getting it raised."""


class Connect(NamedTuple):
    """Open a WebSocket; the outcome is `Opened`, the `Answer` that refused it, or `Unreachable`."""

    token: str
    timeout: float


class Send(NamedTuple):
    """Send a message; the outcome does not matter, since `Receive` tells of a connection that has ended."""

    text: str


class Receive(NamedTuple):
    """Wait for a message; the outcome is its text, or `Closed`. Silence for so long is `Closed`, too."""

    timeout: float


class Close(NamedTuple):
    """Leave the connection."""


class Wait(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Emit(NamedTuple):
    """Give the caller an event."""

    event: Event


class Opened(NamedTuple):
    """A WebSocket is open, and this is the subprotocol that the service has chosen."""

    subprotocol: str | None


class Closed(NamedTuple):
    """A connection has ended; 1006 where nobody said why."""

    code: int
    reason: str = ""


Step = FetchToken | Connect | Send | Receive | Close | Wait | Emit
Steps = Generator[Step, Any, None]
SILENCE = Closed(HEARTBEAT_LOST, "nothing was heard")
BROKEN = Closed(1006, "the connection broke")
