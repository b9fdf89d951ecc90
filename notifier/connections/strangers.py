"""Strangers: connections that count for no user, because their client has not authenticated, or has too many.

Strangers cost an attacker nothing, so they may hold only a part of a worker's places. When that part is full, the
oldest stranger makes room, first those of an address that has more than its share: a client says hello within moments,
and an attacker has to keep connecting, from many addresses. In the same way they share the memory for messages that
have not arrived in full.

Connections that are closing count for nobody either. They keep their places for some seconds, unless a worker is full.
"""

from notifier.connections.address_shares import AddressShares
from notifier.connections.websocket import Connection
from notifier.telemetry import metrics

SHARE = 4  # strangers hold one place of so many
_DECODER = 4096  # bytes that an unfinished message needs besides its own


class Strangers:
    """The strangers of one worker: at most `most` of them, whose unfinished messages have at most `most_bytes`."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most = max(most, 1)
        self._most_bytes = most_bytes
        self._places = AddressShares[Connection](self.most)
        self._unfinished = AddressShares[Connection](most_bytes)  # the bytes of unfinished messages
        self._closing: dict[Connection, None] = {}  # connections that were no strangers

    def __len__(self) -> int:
        return len(self._places)

    @property
    def unfinished(self) -> int:
        """The bytes of all unfinished messages."""
        return self._unfinished.total

    def admit(self, connection: Connection) -> None:
        """Add a stranger; if there are too many, another one is closed."""
        self._places.use(connection, 1)
        if len(self._places) > self.most:
            self.evict()

    def buffer(self, connection: Connection, size: int) -> None:
        """Note how many bytes of an unfinished message a connection has sent; 0: it is finished.

        If those of all strangers are too many, the ones that began first are closed, or those of an address that has
        more than its share.
        """
        if connection not in self._places:
            return
        if not size:
            self._unfinished.release(connection)
            return
        self._unfinished.use(connection, size + _DECODER)
        while self._unfinished.total > self._most_bytes:
            self._close_first(self._unfinished)

    def evict(self) -> bool:
        """Close a stranger at once; return whether there was one."""
        return self._close_first(self._places)

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
        self._unfinished.release(connection)
        if connection not in self._places:
            self._closing[connection] = None

    def forget(self, connection: Connection) -> None:
        """Remove a connection that counts for a user now, or is closed."""
        self._places.release(connection)
        self._unfinished.release(connection)
        self._closing.pop(connection, None)

    def _close_first(self, shares: AddressShares[Connection]) -> bool:
        connection = shares.first()
        if connection is None:
            return False
        if shares.is_unfair:
            metrics.LIMITED.labels("address_strangers").inc()
        metrics.EVICTED.inc()
        self.forget(connection)
        connection.abort()
        return True
