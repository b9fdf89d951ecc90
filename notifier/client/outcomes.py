"""Outcomes of the steps of a stream: a connection is open, or has ended."""

from typing import NamedTuple

HEARTBEAT_LOST = 4000


class Opened(NamedTuple):
    """A WebSocket is open. `subprotocol` is what the service has chosen."""

    subprotocol: str | None


class Closed(NamedTuple):
    """A connection has ended. The code is 1006 if there was no close frame."""

    code: int
    reason: str = ""


SILENCE = Closed(HEARTBEAT_LOST, "no message in time")
BROKEN = Closed(1006, "the connection broke")
