"""WebSocket connections: framing, pongs, ticks and the closing handshake on top of a transport."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from notifier.connections.states import CONNECTION, ConnectionState, ConnectionTrigger, next_state
from notifier.connections.transport import Transport, call_soon
from notifier.errors import Disconnect, TooSlow, UnexpectedFault
from notifier.protocol import websocket
from notifier.protocol.framing import WEBSOCKET, Framing
from notifier.protocol.identity import KeysPending
from notifier.protocol.websocket import Binary, Close, Decoder, Event, Ping, Text
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

CLOSING_TIME = 5.0  # seconds that a peer has for its half of the closing handshake
_LONGEST_NAP = 60.0  # seconds between two ticks, well within a turn of the timer wheel
_TURN_EVENTS, _TURN_TIME = 32, 0.001  # frames, and seconds, that one client may take before others have their turn
_OPEN, _CLOSING = ConnectionState.OPEN, ConnectionState.CLOSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The callbacks and limits of a connection. All connections of a worker share one instance, to save memory."""

    max_message: int  # bytes
    schedule: Callable[["Connection", float], None]  # calls `tick` once, up to two seconds after that Unix time
    closed: Callable[["Connection"], object]  # forgets a connection whose transport is closed
    buffered: Callable[["Connection", int], object] = lambda connection, size: None  # counts an unfinished message
    take_turn: Callable[..., None] = call_soon  # calls a function when the other clients have had their turn


class Connection:
    """One WebSocket. Subclasses decide what messages mean, and what happens as time passes."""

    framing: ClassVar[Framing] = WEBSOCKET

    __slots__ = ("_decoder", "_hooks", "_tick_at", "address", "state", "transport")

    def __init__(self, transport: Transport, hooks: Hooks, address: int | None = None) -> None:
        self.state = _OPEN
        self.transport = transport
        self.address = address  # of the client, if it is counted
        self._hooks = hooks
        self._decoder: Decoder | None = None
        self._tick_at = 0.0  # Unix seconds: when `tick` is due

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        return self.state is _OPEN

    def start(self, early: bytes) -> None:
        """Begin to read; `early` are bytes that came with the handshake."""
        self.transport.start(self, early)
        self._schedule(self._next_tick())

    def send(self, frame: bytes) -> None:
        """Send bytes that answer the client.

        Raises:
            TooSlow: the client asks without reading the answers.
        """
        if not self.transport.write(frame):
            raise TooSlow()

    def drain(self, retry_after_ms: int) -> None:
        """Announce that the worker is about to close the connection, and when to reconnect; an echo cannot."""

    def close(self, disconnect: Disconnect) -> None:
        """Close the connection: send the reason, stop writing, and give the peer a moment to close."""
        if self.is_open:
            metrics.CLOSES.labels(disconnect.close_code).inc()
        self._close(self.framing.farewell(disconnect))

    def tick(self, now: float) -> None:
        """Do what is due at `now`, in Unix seconds."""
        if now < self._tick_at:
            return  # this tick was scheduled before an earlier one was
        if self.state is _CLOSING:
            self.abort()
        if not self.is_open:
            return
        if self._decoder is not None and self._decoder.is_waiting:
            self._note_activity()  # nothing of the client is read now, and so no pong
        try:
            self._tick(now)
        except Disconnect as disconnect:
            self.close(disconnect)
        except Exception:
            # One connection's fault must not keep the others from their tick.
            logger.exception("A connection failed")
            self.close(UnexpectedFault())
        if self.is_open:
            self._schedule(self._next_tick())

    def on_bytes(self, data: bytes) -> None:
        """Take bytes of the client."""
        if not self.is_open:
            return
        decoder = self._decoder = self._decoder or Decoder(self._hooks.max_message)
        decoder.receive(data)
        if decoder.is_waiting:
            self._note_activity()
            self.transport.pause()
            self._count_buffered(decoder)
        else:
            self._take_turn(decoder)

    def hold(self) -> None:
        """Handle no frame after the present one, and read nothing, until `release` is called."""
        if self._decoder is not None:
            self._decoder.is_held = True

    def release(self) -> None:
        """Handle frames again."""
        decoder = self._decoder
        if decoder is not None and decoder.is_held:
            decoder.is_held = False
            call_soon(self._take_turn, decoder)

    def _take_turn(self, decoder: Decoder) -> None:
        """Handle some frames. The rest waits for a later turn, and the client until then."""
        if not self.is_open or decoder.is_held:
            return
        try:
            self._note_activity()
            is_done = self._handle_some(decoder)
            if not self.is_open:
                return
            if is_done:
                self._decoder = None if decoder.at_rest else decoder
            elif not decoder.is_held:
                self._hooks.take_turn(self._take_turn, decoder)
            if decoder.is_waiting is is_done:
                decoder.is_waiting = not is_done
                self._regulate()
            if decoder.is_counted or self._decoder is not None:
                self._count_buffered(decoder)
        except KeysPending as pending:
            decoder.is_waiting = True
            self.transport.pause()
            pending.then(lambda: call_soon(self._take_turn, decoder))
            self._count_buffered(decoder)
        except Disconnect as disconnect:
            self.close(disconnect)
        except Exception:
            # The loop's callback must not raise, and one connection's fault must not touch the others.
            logger.exception("A connection failed")
            self.close(UnexpectedFault())

    def on_drained(self) -> None:
        """Note that the client has read everything that waited."""
        self._note_activity()

    def on_end(self) -> None:
        """Note that the client has gone; the transport is closed."""
        was_open = self.is_open
        if not self._move(ConnectionTrigger.END):
            return
        if was_open:
            self._stop()
        self._hooks.closed(self)

    def abort(self) -> None:
        """Close the transport without another word."""
        self.transport.abort()
        self.on_end()

    def _move(self, trigger: ConnectionTrigger) -> bool:
        """Change the state; return whether the trigger counts in the present one."""
        before, self.state = self.state, next_state(CONNECTION, self.state, trigger)
        return self.state is not before

    def _regulate(self) -> None:
        """Read, unless frames wait for their turn, or for the client to read."""
        if (self._decoder is not None and self._decoder.is_waiting) or self._must_wait():
            self.transport.pause()
        else:
            self.transport.resume()

    def _count_buffered(self, decoder: Decoder) -> None:
        """Count what waits in memory for the rest of a message, or to be handled."""
        decoder.is_counted = self._decoder is not None
        self._hooks.buffered(self, decoder.size if decoder.is_counted else 0)

    def _must_wait(self) -> bool:
        """Return whether the client must read before more is read from it."""
        return False

    def _schedule(self, due: float) -> None:
        self._tick_at = min(due, time.time() + _LONGEST_NAP)
        self._hooks.schedule(self, self._tick_at)

    def _handle_some(self, decoder: Decoder) -> bool:
        """Handle the frames of one turn; return whether that was all of them."""
        deadline = time.monotonic() + _TURN_TIME
        pinged: bytes | None = None
        number = 0
        for number, event in enumerate(decoder.events(), 1):
            if isinstance(event, Ping):
                pinged = event.data  # only the last ping of a turn is answered (RFC 6455 section 5.5.3)
            elif isinstance(event, Close) and pinged is not None:
                self.send(websocket.encode_pong(pinged))
            try:
                self._handle(event)
            except KeysPending:
                decoder.put_back(event)
                if pinged is not None:
                    self.send(websocket.encode_pong(pinged))
                raise
            if not self.is_open:
                return True
            if decoder.is_held or number >= _TURN_EVENTS or time.monotonic() > deadline:
                break
        else:
            number = 0
        if pinged is not None:
            self.send(websocket.encode_pong(pinged))
        return not number

    def _handle(self, event: Event) -> None:
        match event:
            case Text() | Binary():
                self._receive(event)
            case Close(code):
                self._close(websocket.encode_close(code))

    def _close(self, frame: bytes) -> None:
        if not self._move(ConnectionTrigger.CLOSE):
            return
        self._decoder = None
        self.transport.resume()  # it may have been paused: the client's half of the handshake must be read
        self._stop()
        if self.transport.write(frame):
            self.transport.finish()
            self._schedule(time.time() + CLOSING_TIME)
        else:
            self.abort()  # the client does not read: a close frame would not reach it

    def _stop(self) -> None:
        """Note that nothing is sent any more but the close frame."""

    def _receive(self, message: Text | Binary) -> None:
        """Take a message of the client."""
        raise NotImplementedError

    def _note_activity(self) -> None:
        """Note a sign of life of the client."""
        raise NotImplementedError

    def _tick(self, now: float) -> None:
        """Do what is due."""
        raise NotImplementedError

    def _next_tick(self) -> float:
        """Return when `_tick` is due again, in Unix seconds."""
        raise NotImplementedError
