"""Strangers: connections that count for no user, because their client has not authenticated, or has too many.

Strangers cost an attacker nothing, so they may hold only a part of a worker's places. When that part is full, the
oldest stranger makes room: a client says hello within moments, and an attacker has to keep connecting. In the same way
they share the memory for messages that have not arrived in full.

Connections that are closing count for nobody either. They keep their places for some seconds, unless a worker is full.
"""

from notifier.connections.websocket import Connection
from notifier.telemetry import metrics

SHARE = 4  # strangers hold one place of so many
_DECODER = 4096  # bytes that an unfinished message needs besides its own


class Strangers:
    """The strangers of one worker: at most `most` of them, whose unfinished messages have at most `most_bytes`."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = max(most, 1)
        self._most_bytes = most_bytes
        self._connections: dict[Connection, None] = {}  # the oldest first
        self._closing: dict[Connection, None] = {}  # connections that were no strangers
        self._unfinished: dict[Connection, int] = {}  # bytes; first the one that began first
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def unfinished(self) -> int:
        """The bytes of all unfinished messages."""
        return self._bytes

    def admit(self, connection: Connection) -> None:
        """Add a stranger; if there are too many, the oldest is closed."""
        if len(self._connections) >= self._most:
            self.evict()
        self._connections[connection] = None

    def buffer(self, connection: Connection, size: int) -> None:
        """Note how many bytes of an unfinished message a connection has sent; 0: it is finished.

        If those of all strangers are too many, the ones that began first are closed.
        """
        if connection not in self._connections:
            return
        if not size:
            self._finish(connection)
            return
        size += _DECODER
        self._bytes += size - self._unfinished.get(connection, 0)
        self._unfinished[connection] = size
        while self._bytes > self._most_bytes:
            self._close(next(iter(self._unfinished)))

    def evict(self) -> bool:
        """Close the oldest stranger at once; return whether there was one."""
        oldest = next(iter(self._connections), None)
        if oldest is None:
            return False
        self._close(oldest)
        return True

    def make_room(self) -> bool:
        """Close a connection that is closing, or else a stranger, at once; return whether there was one."""
        closing = next(iter(self._closing), None)
        if closing is None:
            return self.evict()
        self.forget(closing)
        closing.abort()
        return True

    def note_closing(self, connection: Connection) -> None:
        """Note that a connection is closing."""
        self._finish(connection)
        if connection not in self._connections:
            self._closing[connection] = None

    def forget(self, connection: Connection) -> None:
        """Remove a connection that counts for a user now, or is closed."""
        self._connections.pop(connection, None)
        self._closing.pop(connection, None)
        self._finish(connection)

    def _close(self, connection: Connection) -> None:
        self.forget(connection)
        metrics.EVICTED.inc()
        connection.abort()

    def _finish(self, connection: Connection) -> None:
        self._bytes -= self._unfinished.pop(connection, 0)
