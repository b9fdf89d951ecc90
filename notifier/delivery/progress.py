"""Progress: which connections are live, which have to catch up, and which of those can be served now."""

import itertools
import threading
from collections.abc import Iterable

from notifier.connections.hub import Hub
from notifier.connections.stream import StreamConnection
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor


class Progress:
    """Gives connections a `CatchUp`, queues them for the replayer, and makes them live again.

    While a connection catches up, at most `max_aside` bytes of live entries are put aside for it.
    """

    def __init__(self, hub: Hub[StreamConnection], max_aside: int) -> None:
        self._hub = hub
        self._max_aside = max_aside
        self._complete = Clock()  # everything up to here has been fanned out
        self._queue: dict[StreamConnection, None] = {}
        self._filled = threading.Event()

    @property
    def reached(self) -> Cursor | None:
        """Up to where everything has been fanned out; None: not known yet."""
        return self._complete.cursor if self._complete.ms else None

    def advance(self, ms: int) -> None:
        """Note that everything up to a time (Unix ms) has been fanned out. Nobody is served before the first one."""
        is_first = not self._complete.ms
        self._complete.observe(ms)
        if is_first:
            self.serve_all(self._hub.everyone())

    @property
    def lagging(self) -> int:
        """How many connections are not live."""
        return sum(1 for connection in self._hub.everyone() if connection.catch_up)

    def attach(self, connection: StreamConnection, replies: Iterable[bytes]) -> CatchUp:
        """Begin to serve a new connection; `replies` follow its welcome."""
        catch_up = CatchUp(dict.fromkeys(connection.channels), self._max_aside, replies)
        connection.begin_catch_up(catch_up)
        return catch_up

    def catch_up_of(self, connection: StreamConnection) -> CatchUp:
        """Return the `CatchUp` of a connection. A live connection gets one that begins after what it was sent."""
        if connection.catch_up is None:
            positions: dict[str, Cursor | None] = {}
            for name in connection.channels:
                channel = self._hub.get(name)
                if channel and connection in channel.connections:
                    positions[name] = channel.sent_to(connection)
            connection.begin_catch_up(CatchUp(positions, self._max_aside))
        assert connection.catch_up is not None
        return connection.catch_up

    def fall_behind(self, connection: StreamConnection) -> CatchUp:
        """Serve a connection from the log, from what it was sent last, as soon as it is queued for that."""
        catch_up = self.catch_up_of(connection)
        catch_up.fall_behind()
        return catch_up

    def hold(self, connection: StreamConnection) -> None:
        """Send a connection nothing until its memberships and mutes are known again; entries are put aside."""
        if connection.session.is_welcome and connection.catch_up is None:
            self.catch_up_of(connection).hold()
        self.serve(connection)

    def go_live(self, connection: StreamConnection) -> None:
        """Make a connection live that has been sent everything."""
        assert connection.catch_up is not None
        for name, position in connection.catch_up.go_live().items():
            self._hub[name].run_ahead(connection, position, self._complete.cursor)
        connection.caught_up(self.reached)

    def last(self, name: str) -> Cursor:
        """Return the last entry that is known of a channel."""
        return self._hub[name].last

    # The queue of the replayer.

    def serve(self, connection: StreamConnection) -> None:
        """Queue a connection, if all of its channels are subscribed to and it is known up to where; else it waits."""
        if connection.is_open and self.is_subscribed(connection):
            self._queue[connection] = None
            self._filled.set()

    def serve_all(self, connections: Iterable[StreamConnection]) -> None:
        """Queue those of some connections that are not live."""
        for connection in list(connections):
            if connection.catch_up:
                self.serve(connection)

    def next_batch(self, most: int) -> list[StreamConnection]:
        """Wait until connections are queued, and return some of them."""
        self._filled.wait()
        batch = list(itertools.islice(self._queue, most))
        for connection in batch:
            del self._queue[connection]
        if not self._queue:
            self._filled.clear()
        return batch

    def can_serve(self, connection: StreamConnection) -> bool:
        """Return whether a connection is not live, reads, and has all of its channels subscribed to."""
        return (
            connection.is_open
            and connection.catch_up is not None
            and not connection.transport.is_blocked
            and self.is_subscribed(connection)
        )

    def is_subscribed(self, connection: StreamConnection) -> bool:
        """Return whether this worker receives everything that a connection must be sent."""
        if not self._complete.ms:
            return False
        for name in connection.channels:  # a loop, because this is asked six times for each handshake
            channel = self._hub.get(name)
            if channel is None or not channel.confirmed:
                return False
        return True
