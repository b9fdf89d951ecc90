"""The startup of a worker: it accepts connections once it can serve them."""

import time
from collections.abc import Callable
from typing import Protocol

_PATIENCE = 10.0  # seconds: gunicorn kills a worker that has not begun to accept after its `timeout`
_PAUSE = 0.01  # seconds between two looks


class Node(Protocol):
    """A worker's part of the service."""

    def start(self) -> None:
        """Start it."""

    @property
    def is_loading(self) -> bool:
        """Whether it has reached Redis, but does not know yet all that it needs to serve clients."""


def start_node(node: Node, is_wanted: Callable[[], bool]) -> None:
    """Start a node, and wait until it knows revocations and API keys, and receives what is published.

    Connections wait in the listen queue until then: if they were accepted, their handshakes would be rejected with 503.
    A worker that cannot reach Redis, or waits for too long, accepts them, and says so. It also ends the wait if it is
    no longer wanted.
    """
    node.start()
    deadline = time.monotonic() + _PATIENCE
    while node.is_loading and is_wanted() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
