"""Fallbacks: connections of the stream for where no WebSocket gets through.

They are answers to a plain request that has all that a WebSocket's hello and subscriptions have. Nothing is read from
their sockets any more.
"""

import time
from typing import ClassVar, NamedTuple

from notifier.connection import StreamConnection
from notifier.errors import Disconnect
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Hello, Subscribe
from notifier.protocol.framing import EVENTS, POLL, Framing
from notifier.transport import call_soon


class Ask(NamedTuple):
    """What a plain request asks for. `head` is that of its answer, `joins` are topics with a `since` of their own."""

    head: bytes
    hello: Hello
    joins: tuple[Subscribe, ...] = ()


class EventConnection(StreamConnection):
    """A stream of Server-Sent Events. That its client is gone, the kernel notices."""

    framing: ClassVar[Framing] = EVENTS

    __slots__ = ()

    def begin(self, ask: Ask) -> None:
        """Send the head of the answer, and do what the request asks for."""
        self.start(b"")
        self.transport.write(ask.head)
        try:
            self._carry_out(self.session.take(ask.hello, time.time()))
            for join in ask.joins:
                self._carry_out(self.session.take(join, time.time()))
        except Disconnect as disconnect:
            self.close(disconnect)

    def ping(self, complete: Cursor | None) -> None:
        """Give a sign of life."""
        self.transport.write(self.framing.ping(complete if self.catch_up is None else None))

    def on_bytes(self, data: bytes) -> None:
        """Read past what follows the request."""

    def _tick(self, now: float) -> None:
        self.session.hear()
        super()._tick(now)


class PollConnection(EventConnection):
    """One long poll. It ends with what was missed, else with what comes next, else with the ping that ends its wait."""

    framing: ClassVar[Framing] = POLL

    __slots__ = ("_is_due",)

    def begin(self, ask: Ask) -> None:
        """Send the head of the answer, and do what the request asks for."""
        self._is_due = ask.hello.since is None
        super().begin(ask._replace(head=ask.head + POLL.BEGINNING))

    def deliver(self, data: bytes) -> bool:
        """Send entries; they are the last, but for those that came with them."""
        self._is_due = True
        if self.catch_up is None:
            call_soon(self._end)
        return super().deliver(data)

    def ping(self, complete: Cursor | None) -> None:
        """End: nothing came."""
        self._is_due = True
        if self.catch_up is None:
            self._end(complete)

    def _go_live(self, complete: Cursor | None, resumed: bool) -> None:
        if self._is_due:
            self._end(complete)

    def _end(self, complete: Cursor | None = None) -> None:
        self._close(self.framing.ping(complete))
