"""Fallbacks: connections of the stream for where no WebSocket gets through.

They are answers to a plain request that has all that a WebSocket's hello and subscriptions have. Nothing is read from
their sockets any more.
"""

import time
from typing import ClassVar, NamedTuple

from notifier.connections.stream import StreamConnection
from notifier.connections.transport import call_soon
from notifier.errors import Disconnect
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Hello, Subscribe
from notifier.protocol.framing import EVENTS, POLL, Framing
from notifier.protocol.session import SendPing

# Seconds that a poll waits at most when it was sent what its client should have, and may not: entries of the overlap.
# To answer at once would make it ask again, and again, as long as they are there.
_SOON = 2.0


class Ask(NamedTuple):
    """What a plain request asks for.

    `head` is that of its answer, `joins` are topics with a `since` of their own, `wait` is for how long a poll waits,
    in seconds.
    """

    head: bytes
    hello: Hello
    joins: tuple[Subscribe, ...] = ()
    wait: float = 0


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

    __slots__ = ("_ends_at", "_is_due")

    def begin(self, ask: Ask) -> None:
        """Send the head of the answer, and do what the request asks for."""
        self._is_due = ask.hello.since is None or not ask.wait
        self._ends_at = time.time() + ask.wait
        super().begin(ask._replace(head=ask.head + POLL.BEGINNING))

    def deliver(self, data: bytes) -> bool:
        """Send entries; live ones are the last, but for those that come with them."""
        taken = super().deliver(data)
        if taken and self.catch_up is None:
            call_soon(self._end)
        return taken

    def tell(self, frame: bytes) -> None:
        """Send how the inbox stands; that is the last."""
        super().tell(frame)
        if not self._owes_state:
            call_soon(self._end)

    def ping(self, complete: Cursor | None) -> None:
        """End, as soon as nothing is missing."""
        self._is_due = True
        if self.catch_up is None:
            self._end(complete)

    def on_drained(self) -> None:
        """Go on with what was missed, or end."""
        super().on_drained()
        if self._is_due and self.catch_up is None:
            self._keeper.act(self, SendPing())

    def _go_live(self, complete: Cursor | None, catch_up: CatchUp) -> None:
        if self._is_due or catch_up.has_news:
            self._end(complete)
        elif catch_up.has_sent:
            self._ends_at = min(self._ends_at, time.time() + _SOON)
            self._schedule(self._next_tick())

    def _end(self, complete: Cursor | None = None) -> None:
        if self.transport.blocked_since:
            self._is_due = True  # what waits comes first, lest there is no room for the end
        else:
            self._close(self.framing.ping(complete))

    def _tick(self, now: float) -> None:
        super()._tick(now)
        if now >= self._ends_at and not self._is_due:
            self._keeper.act(self, SendPing())

    def _next_tick(self) -> float:
        due = super()._next_tick()
        return due if self._is_due else min(due, self._ends_at)
