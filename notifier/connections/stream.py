"""Stream connections: a protocol session, and the frames that other parts of the worker send on it.

A stream connection is a WebSocket; the subclasses in sse.py and poll.py replace what differs for plain requests.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from notifier.connections.transport import Transport
from notifier.connections.websocket import Connection, Hooks
from notifier.errors import (
    Disconnect,
    Disconnected,
    InvalidToken,
    ProtocolViolation,
    TokenRefused,
    TokenRevoked,
    TooSlow,
)
from notifier.protocol import channel, frames, websocket
from notifier.protocol import tenant as tenants
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import Cursor
from notifier.protocol.session import Action, RefuseToken, Reply, Session
from notifier.protocol.websocket import Binary, Event, Text

_NO_TOPICS: Mapping[str, Cursor] = {}  # one for all connections


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHooks(Hooks):
    """The additional callbacks and limits of a stream connection."""

    lag_timeout: float  # seconds
    received: Callable[["StreamConnection"], object] = lambda _: None  # counts a frame of a client with a valid token
    refused: Callable[["StreamConnection"], object] = lambda _: None  # counts an invalid token; may raise RateExceeded
    act: Callable[["StreamConnection", Action], None]  # carries out what the session asks for
    stop: Callable[["StreamConnection"], None]  # unsubscribes a connection from everything: it is closing
    drained: Callable[["StreamConnection"], None]  # continues the replay: the client reads again
    request_state: Callable[["StreamConnection"], None]  # sends the pending state frame


class StreamConnection(Connection):
    """A connection of the stream. While it has not been sent everything that it missed, it has a `CatchUp`."""

    _hooks: StreamHooks

    __slots__ = (
        "_has_pending_state",
        "catch_up",
        "is_counted",
        "is_disconnected",
        "memberships",
        "number",
        "session",
    )

    def __init__(
        self,
        transport: Transport,
        hooks: StreamHooks,
        session: Session,
        *,
        number: int,
        address: int | None = None,
    ) -> None:
        super().__init__(transport, hooks, address)
        self.session = session
        self.number = number
        self.catch_up: CatchUp | None = None
        # Topics of its user, each with the entry after which the membership begins; None: not known yet.
        self.memberships: Mapping[str, Cursor] | None = None
        self._has_pending_state = False  # a state frame could not be sent
        self.is_counted = False  # for its user
        self.is_disconnected = False  # or its token was revoked: its actions that have not begun are dropped

    def close(self, disconnect: Disconnect) -> None:
        """Close the connection."""
        self.is_disconnected |= isinstance(disconnect, Disconnected | TokenRevoked)
        super().close(disconnect)

    @property
    def channels(self) -> list[str]:
        """The channels that it is subscribed to, its user's first; none before the hello."""
        identity = self.session.identity
        if identity is None:
            return []
        topics = self.session.topics
        if self.memberships:
            topics = tuple(dict.fromkeys([*topics, *self.memberships]))
        everyone = tenants.everyone_of(tenants.of(identity.user))
        return [channel.of_user(identity.user), everyone, *map(channel.of_topic, topics)]

    def set_memberships(self, topics: Mapping[str, Cursor]) -> Mapping[str, Cursor]:
        """Note the topics that its user is a member of, and return those from before."""
        before, self.memberships = self.memberships or _NO_TOPICS, topics or _NO_TOPICS
        return before

    def deliver(self, data: bytes) -> bool:
        """Send entries. False: the backlog is full, and nothing of `data` was taken."""
        return self.transport.write(data)

    def welcome(self, frame: bytes, cursor: Cursor) -> None:
        """Send the welcome. A client that resumes keeps its own cursor until the replay is complete."""
        resumed = self.catch_up is not None and self.catch_up.is_resumed
        self.send(self.framing.frame(frame, b"" if resumed else str(cursor).encode()))
        self.session.welcomed()

    def begin_catch_up(self, catch_up: CatchUp) -> None:
        """Note that it has missed entries, or may have: it is not live until `caught_up`."""
        self.catch_up = catch_up

    def caught_up(self, complete: Cursor | None) -> None:
        """Go live: everything that was missed has been sent, up to `complete`."""
        catch_up, self.catch_up = self.catch_up, None
        assert catch_up is not None
        for ref in catch_up.take_confirmations():
            self.reply(frames.ok(ref, self.session.topics))
        self._go_live(complete, catch_up)
        self._send_pending_state()

    def drain(self, retry_after_ms: int) -> None:
        """Announce that the worker is about to close the connection, and when to reconnect."""
        if self.session.is_welcome:
            self.transport.write(self.framing.drain(retry_after_ms))

    def reply(self, frame: bytes) -> None:
        """Send a frame that answers the client, after the welcome.

        Raises:
            TooSlow: the client asks without reading or awaiting the answers.
        """
        if self.catch_up is None or self.session.is_welcome:
            self.send(self.framing.frame(frame))
        else:
            self.catch_up.defer(frame)

    def send_state(self, frame: bytes) -> None:
        """Send a state frame; while the connection is not live or does not read, note that one is pending."""
        is_current = self.catch_up is None or self.catch_up.is_held
        is_live = self.session.is_welcome and is_current and not self.transport.is_blocked
        self._has_pending_state = not (is_live and self.transport.write(self.framing.frame(frame)))

    def ping(self, complete: Cursor | None) -> None:
        """Send a ping frame for pages, and a WebSocket ping, which every library answers."""
        # Before the welcome it is not known where the client resumes, and what it has missed.
        is_live = self.session.is_welcome and self.catch_up is None
        frame = self.framing.ping(complete if is_live else None)
        self.transport.write(frame + websocket.PING)

    def _go_live(self, complete: Cursor | None, catch_up: CatchUp) -> None:
        if catch_up.is_resumed:
            self.send(self.framing.ping(complete))  # the client may resume from here

    def on_drained(self) -> None:
        """Continue the replay, or send the pending state frame."""
        super().on_drained()
        if self.catch_up:
            self._hooks.drained(self)
        else:
            self._send_pending_state()

    def _send_pending_state(self) -> None:
        """Request the pending state frame if the socket is writable; otherwise `on_drained` comes back."""
        if self._has_pending_state and self.is_open and not self.transport.is_blocked:
            self._hooks.request_state(self)

    def _handle(self, event: Event) -> None:
        if self.session.identity is None:
            self.session.count_stranger()
        else:
            self._hooks.received(self)
        super()._handle(event)

    def _receive(self, message: Text | Binary) -> None:
        if isinstance(message, Binary):
            raise ProtocolViolation("frames are text")
        try:
            actions = self.session.receive(message.text, time.time())
        except TokenRefused as refused:
            if isinstance(refused.__cause__, InvalidToken):
                self._hooks.refused(self)
            raise
        self._carry_out(actions)

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            self._act(action)
        # A hello or a fresh token may have brought the next deadline nearer.
        if self.is_open and self._next_tick() < self._tick_at:
            self._schedule(self._next_tick())

    def _stop(self) -> None:
        self._hooks.stop(self)

    def _note_activity(self) -> None:
        self.session.note_activity()

    def _tick(self, now: float) -> None:
        if self.transport.is_blocked:
            if now - self.transport.blocked_since > self._hooks.lag_timeout:
                raise TooSlow()
            self.session.note_activity()  # a ping would wait behind the backlog
        for action in self.session.tick(now):
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case Reply(frame):
                self.reply(frame)
            case RefuseToken(frame):
                self._hooks.refused(self)
                self.reply(frame)
            case _:
                self._hooks.act(self, action)

    def _next_tick(self) -> float:
        return self.session.next_tick()
