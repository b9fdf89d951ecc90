"""Event connections: the stream as Server-Sent Events, for clients that cannot use a WebSocket.

The request carries what a WebSocket client sends in its hello and its subscribe frames. Nothing else is read from the
socket.
"""

import time
from typing import ClassVar, NamedTuple

from notifier.connections.stream import StreamConnection
from notifier.errors import Disconnect
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Hello, Subscribe
from notifier.protocol.framing import EVENTS, Framing


class Ask(NamedTuple):
    """The parameters of a plain request.

    `head` is the head of its answer, `joins` are topics with a `since` of their own, and `wait` is how many seconds a
    poll waits.
    """

    head: bytes
    hello: Hello
    joins: tuple[Subscribe, ...] = ()
    wait: float = 0


class EventConnection(StreamConnection):
    """A stream of Server-Sent Events. The kernel detects that its client is gone, see `take_over`."""

    framing: ClassVar[Framing] = EVENTS

    __slots__ = ()

    def begin(self, ask: Ask) -> None:
        """Send the head of the answer, and carry out the request."""
        self.start(b"")
        self.transport.write(ask.head)
        try:
            self._carry_out(self.session.take(ask.hello, time.time()))
            for join in ask.joins:
                self._carry_out(self.session.take(join, time.time()))
        except Disconnect as disconnect:
            self.close(disconnect)

    def ping(self, complete: Cursor | None) -> None:
        """Send a comment, with the cursor if the connection is live."""
        self.transport.write(self.framing.ping(complete if self.catch_up is None else None))

    def on_bytes(self, data: bytes) -> None:
        """Ignore what follows the request."""

    def _tick(self, now: float) -> None:
        self.session.note_activity()
        super()._tick(now)
