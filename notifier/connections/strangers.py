"""Strangers: connections whose client has not authenticated yet.

Strangers cost an attacker nothing, so they may hold only a part of a worker's places. When that part is full, the
oldest stranger makes room: a client says hello within moments, and an attacker has to keep connecting.
"""

from notifier.connections.websocket import Connection
from notifier.telemetry import metrics

SHARE = 4  # strangers hold one place of so many


class Strangers:
    """The strangers of one worker, the oldest first; at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = max(most, 1)
        self._connections: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, connection: Connection) -> None:
        """Add a stranger; if there are too many, the oldest is closed."""
        if len(self._connections) >= self._most:
            self.evict()
        self._connections[connection] = None

    def evict(self) -> bool:
        """Close the oldest stranger at once; return whether there was one."""
        oldest = next(iter(self._connections), None)
        if oldest is None:
            return False
        self.forget(oldest)
        metrics.EVICTED.inc()
        oldest.abort()
        return True

    def forget(self, connection: Connection) -> None:
        """Remove a connection that has authenticated, or is closed."""
        self._connections.pop(connection, None)
