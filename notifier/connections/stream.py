"""Connections: a session on a transport."""

import logging
import time
from typing import ClassVar, Protocol

from notifier.connections.transport import Transport
from notifier.errors import Disconnect, Disconnected, ProtocolViolation, TooSlow, UnexpectedFault
from notifier.protocol import channel, frames, websocket
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import Cursor
from notifier.protocol.framing import WEBSOCKET, Framing
from notifier.protocol.session import Action, Reply, Session
from notifier.protocol.websocket import Binary, Close, Decoder, Event, Ping, Text

logger = logging.getLogger(__name__)

CLOSING_TIME = 5.0  # seconds that a peer has for its half of the closing handshake
_MOST_OWED = 200  # answers that wait for the welcome
_LONGEST_NAP = 60.0  # seconds between two ticks, well within a turn of the node's timer wheel


class Scheduler(Protocol):
    """Who lets a connection `tick` when its time has come."""

    def schedule(self, connection: "Connection", due: float) -> None:
        """Call `tick` once, not before `due` (Unix seconds) and at most a second or two later."""


class Keeper(Scheduler, Protocol):
    """The node, as a connection sees it."""

    def act(self, connection: "StreamConnection", action: Action) -> None:
        """Carry out what the session asks for."""

    def left(self, connection: "Connection") -> None:
        """Send a connection nothing more: it ends."""

    def gone(self, connection: "Connection") -> None:
        """Forget a connection whose transport is closed."""

    def drained(self, connection: "StreamConnection") -> None:
        """Go on with a connection that reads again."""

    def owes_state(self, connection: "StreamConnection") -> None:
        """Tell a connection how its user's inbox stands."""


class Connection:
    """One WebSocket: framing, pongs, the closing handshake. What messages mean is its children's business."""

    framing: ClassVar[Framing] = WEBSOCKET

    __slots__ = ("_closing_by", "_decoder", "_keeper", "_max_message", "_tick_at", "transport")

    def __init__(self, transport: Transport, keeper: Keeper, max_message: int) -> None:
        self.transport = transport
        self._keeper = keeper
        self._max_message = max_message
        self._decoder: Decoder | None = None
        self._closing_by = 0.0  # Unix seconds; 0: open
        self._tick_at = 0.0  # Unix seconds

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        return not self._closing_by

    def start(self, early: bytes) -> None:
        """Begin to read; `early` came with the handshake."""
        self.transport.start(self, early)
        self._schedule(self._next_tick())

    def send(self, frame: bytes) -> None:
        """Send bytes that answer the client.

        Raises:
            TooSlow: the client asks without reading the answers.
        """
        if not self.transport.write(frame):
            raise TooSlow()

    def close(self, disconnect: Disconnect) -> None:
        """End the connection: say why, stop writing, and give the peer a moment to close."""
        self._close(self.framing.farewell(disconnect))

    def tick(self, now: float) -> None:
        """Do what the time asks for."""
        if now < self._tick_at:
            return  # scheduled before a nearer time was, which has come since
        if self._closing_by:
            self._abort()
            return
        try:
            self._tick(now)
        except Disconnect as disconnect:
            self.close(disconnect)
        except Exception:
            # One connection's fault must not keep the others from their tick.
            logger.exception("A connection failed")
            self.close(UnexpectedFault())
        else:
            self._schedule(self._next_tick())

    def _schedule(self, due: float) -> None:
        self._tick_at = min(due, time.time() + _LONGEST_NAP)
        self._keeper.schedule(self, self._tick_at)

    def on_bytes(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self._closing_by:
            return
        try:
            decoder = self._decoder or Decoder(self._max_message)
            self._hear()
            for event in decoder.feed(data):
                self._handle(event)
                if self._closing_by:
                    return
            self._decoder = None if decoder.at_rest else decoder
        except Disconnect as disconnect:
            self.close(disconnect)
        except Exception:
            # The loop's callback must not raise, and one connection's fault must not touch the others.
            logger.exception("A connection failed")
            self.close(UnexpectedFault())

    def on_drained(self) -> None:
        """Note that the client has read all that waited."""
        self._hear()

    def on_end(self) -> None:
        """Note that the client has gone."""
        if not self._closing_by:
            self._closing_by = 1.0
            self._keeper.left(self)
        self._keeper.gone(self)

    def _abort(self) -> None:
        self.transport.abort()
        self._keeper.gone(self)

    def _handle(self, event: Event) -> None:
        match event:
            case Text() | Binary():
                self._receive(event)
            case Ping(data):
                self.send(websocket.encode_pong(data))
            case Close(code):
                self._close(websocket.encode_close(code))

    def _close(self, frame: bytes) -> None:
        if self._closing_by:
            return
        self._closing_by = time.time() + CLOSING_TIME
        self._decoder = None
        self._keeper.left(self)
        if self.transport.write(frame):
            self.transport.finish()
            self._schedule(self._closing_by)
        else:
            self._abort()  # it does not read: no goodbye would reach it

    def _receive(self, message: Text | Binary) -> None:
        raise NotImplementedError

    def _hear(self) -> None:
        raise NotImplementedError

    def _tick(self, now: float) -> None:
        raise NotImplementedError

    def _next_tick(self) -> float:
        raise NotImplementedError


class StreamConnection(Connection):
    """A connection of the stream: it has a session, and while it has missed something a `CatchUp`."""

    __slots__ = ("_lag_timeout", "_owes_state", "catch_up", "is_disconnected", "memberships", "number", "session")

    def __init__(
        self,
        transport: Transport,
        keeper: Keeper,
        session: Session,
        *,
        number: int,
        max_message: int,
        lag_timeout: float,
    ) -> None:
        super().__init__(transport, keeper, max_message)
        self.session = session
        self.number = number
        self.catch_up: CatchUp | None = None
        self.memberships: tuple[str, ...] | None = None  # topics that it hears without asking; None: not known yet
        self._lag_timeout = lag_timeout
        self._owes_state = False  # it has yet to be told how the inbox stands
        self.is_disconnected = False  # what it has asked for and was not begun is not done any more

    def close(self, disconnect: Disconnect) -> None:
        """End the connection."""
        self.is_disconnected |= isinstance(disconnect, Disconnected)
        super().close(disconnect)

    @property
    def channels(self) -> list[str]:
        """What it hears: its user, everybody, its topics and those of its user. Nothing before the hello."""
        identity = self.session.identity
        if identity is None:
            return []
        topics = self.session.topics
        if self.memberships:
            topics = tuple(dict.fromkeys(topics + self.memberships))
        return [channel.of_user(identity.user), channel.ALL, *map(channel.of_topic, topics)]

    def deliver(self, data: bytes) -> bool:
        """Send entries. False: too much waits already, and nothing of it was taken."""
        return self.transport.write(data)

    def welcome(self, frame: bytes, cursor: Cursor) -> None:
        """Send the welcome; who resumed has a cursor that counts until the replay is complete."""
        resumed = self.catch_up is not None and self.catch_up.resumed
        self.send(self.framing.frame(frame, b"" if resumed else str(cursor).encode()))
        self.session.welcomed()

    def caught_up(self, complete: Cursor | None) -> None:
        """Note that all that was missed has been sent, up to `complete`: the connection is live."""
        catch_up, self.catch_up = self.catch_up, None
        assert catch_up is not None
        for ref in catch_up.confirmations:
            self.reply(frames.ok(ref, self.session.topics))
        self._go_live(complete, catch_up)
        self._settle()

    def drain(self, retry_after_ms: int) -> None:
        """Say that the connection will be closed, and when to come back."""
        self.transport.write(self.framing.drain(retry_after_ms))

    def reply(self, frame: bytes) -> None:
        """Send a frame that answers the client, but nothing before the welcome.

        Raises:
            TooSlow: the client asks without reading or awaiting the answers.
        """
        if self.catch_up is None or self.session.is_welcome:
            self.send(self.framing.frame(frame))
        elif len(self.catch_up.owed) < _MOST_OWED:
            self.catch_up.owed.append(frame)
        else:
            raise TooSlow()

    def tell(self, frame: bytes) -> None:
        """Send how the inbox stands, or remember that it is owed: who lags or reads slowly is told afterwards."""
        is_live = self.session.is_welcome and self.catch_up is None and not self.transport.blocked_since
        self._owes_state = not (is_live and self.transport.write(self.framing.frame(frame)))

    def ping(self, complete: Cursor | None) -> None:
        """Give a sign of life, and ask for one: every WebSocket library answers a ping."""
        # Before the welcome, nobody knows where the client resumes, and what it is still owed.
        is_live = self.session.is_welcome and self.catch_up is None
        frame = self.framing.ping(complete if is_live else None)
        self.transport.write(frame + websocket.PING)

    def _go_live(self, complete: Cursor | None, catch_up: CatchUp) -> None:
        if catch_up.resumed:
            self.send(self.framing.ping(complete))  # it may come back from here

    def on_drained(self) -> None:
        """Go on with what the connection has missed."""
        super().on_drained()
        if self.catch_up:
            self._keeper.drained(self)
        else:
            self._settle()

    def _settle(self) -> None:
        """Ask for what is owed, if there is room for it: else this comes again."""
        if self._owes_state and self.is_open and not self.transport.blocked_since:
            self._keeper.owes_state(self)

    def _receive(self, message: Text | Binary) -> None:
        if isinstance(message, Binary):
            raise ProtocolViolation("frames are text")
        self._carry_out(self.session.receive(message.text, time.time()))

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            self._act(action)
        # A hello or a fresh token may have brought the next deadline nearer.
        if self.is_open and self._next_tick() < self._tick_at:
            self._schedule(self._next_tick())

    def _hear(self) -> None:
        self.session.hear()

    def _tick(self, now: float) -> None:
        blocked = self.transport.blocked_since
        if blocked and now - blocked > self._lag_timeout:
            raise TooSlow()
        if blocked:
            self.session.hear()  # a ping would wait behind what it has yet to read
        for action in self.session.tick(now):
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case Reply(frame):
                self.reply(frame)
            case _:
                self._keeper.act(self, action)

    def _next_tick(self) -> float:
        return self.session.next_tick()
