"""Poll connections: the stream as long polls, for clients that get neither a WebSocket nor Server-Sent Events."""

import time
from typing import ClassVar

from notifier.connections.sse import Ask, EventConnection
from notifier.connections.transport import call_soon
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import Cursor
from notifier.protocol.framing import POLL, Framing
from notifier.protocol.session import SendPing

# Seconds that a poll waits at most after it was sent nothing but entries of the replay overlap, which its client most
# likely has. To answer at once would make the client poll again and again while they are in the overlap.
_SOON = 2.0


class PollConnection(EventConnection):
    """One long poll.

    It ends with what the client missed; if that is nothing, with the next entries or state frame; if none come in
    time, with a ping.
    """

    framing: ClassVar[Framing] = POLL

    __slots__ = ("_ends_at", "_is_due")

    def begin(self, ask: Ask) -> None:
        """Send the head of the answer, and carry out the request."""
        self._is_due = ask.hello.since is None or not ask.wait
        self._ends_at = time.time() + ask.wait
        super().begin(ask._replace(head=ask.head + POLL.BEGINNING))

    def deliver(self, data: bytes) -> bool:
        """Send entries. If they are live, end after everything else that arrives with them."""
        taken = super().deliver(data)
        if taken and self.catch_up is None:
            call_soon(self._end)
        return taken

    def send_state(self, frame: bytes) -> None:
        """Send a state frame, and end."""
        super().send_state(frame)
        if not self._has_pending_state:
            call_soon(self._end)

    def ping(self, complete: Cursor | None) -> None:
        """End, as soon as the client has been sent what it missed."""
        self._is_due = True
        if self.catch_up is None:
            self._end(complete)

    def on_drained(self) -> None:
        """Continue the replay, or end."""
        super().on_drained()
        if self._is_due and self.catch_up is None:
            self._hooks.act(self, SendPing())

    def _go_live(self, complete: Cursor | None, catch_up: CatchUp) -> None:
        if self._is_due or catch_up.has_news:
            self._end(complete)
        elif catch_up.has_sent:
            self._ends_at = min(self._ends_at, time.time() + _SOON)
            self._schedule(self._next_tick())

    def _end(self, complete: Cursor | None = None) -> None:
        if self.transport.is_blocked:
            self._is_due = True  # `on_drained` comes back: the end may not fit into the backlog
        else:
            self._close(self.framing.ping(complete))

    def _tick(self, now: float) -> None:
        super()._tick(now)
        if now >= self._ends_at and not self._is_due:
            self._hooks.act(self, SendPing())

    def _next_tick(self) -> float:
        due = super()._next_tick()
        return due if self._is_due else min(due, self._ends_at)
