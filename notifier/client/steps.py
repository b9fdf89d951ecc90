"""The steps of a stream, which `Listener` yields and a client carries out. Their outcomes are in `outcomes`."""

from collections.abc import Generator
from typing import Any, NamedTuple

from notifier.client.events import Event

SUBPROTOCOL = "notifier.v1"


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


Step = FetchToken | Connect | Send | Receive | Close | Wait | Emit
Steps = Generator[Step, Any, None]
