"""The steps of a stream, which `Listener` yields and a client carries out, and their outcomes."""

from collections.abc import Generator
from typing import Any, NamedTuple

from notifier.client.events import Event

SUBPROTOCOL = "notifier.v1"
HEARTBEAT_LOST = 4000


class FetchToken(NamedTuple):
    """Get a token; the outcome is the token, or the exception that getting it raised."""


class Connect(NamedTuple):
    """Open a WebSocket; the outcome is `Opened`, the `Answer` that refused it, or `Unreachable`."""

    token: str
    timeout: float


class Send(NamedTuple):
    """Send a message; the outcome does not matter, since `Receive` reports a connection that has ended."""

    text: str


class Receive(NamedTuple):
    """Wait for a message; the outcome is its text, or `Closed`, which is also the outcome of a timeout (in seconds)."""

    timeout: float


class Close(NamedTuple):
    """Close the connection."""


class Wait(NamedTuple):
    """Wait this many seconds."""

    seconds: float


class Emit(NamedTuple):
    """Return an event to the caller."""

    event: Event


class Opened(NamedTuple):
    """A WebSocket is open. `subprotocol` is what the service has chosen."""

    subprotocol: str | None


class Closed(NamedTuple):
    """A connection has ended. The code is 1006 if there was no close frame."""

    code: int
    reason: str = ""


Step = FetchToken | Connect | Send | Receive | Close | Wait | Emit
Steps = Generator[Step, Any, None]
SILENCE = Closed(HEARTBEAT_LOST, "no message in time")
BROKEN = Closed(1006, "the connection broke")
