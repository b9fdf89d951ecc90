"""The echo: a WebSocket that returns what it receives, so that operators can test the path to the service."""

import time

from notifier.connections.transport import Transport
from notifier.connections.websocket import Connection, Hooks
from notifier.errors import HeartbeatLost
from notifier.protocol import websocket
from notifier.protocol.websocket import Binary, Text


class EchoConnection(Connection):
    """Returns every message unchanged."""

    __slots__ = ("_heartbeat", "_is_active", "_ping_at")

    def __init__(self, transport: Transport, hooks: Hooks, *, heartbeat: float, address: int | None = None) -> None:
        super().__init__(transport, hooks, address)
        self._heartbeat = heartbeat
        self._ping_at = time.time() + heartbeat
        self._is_active = True

    def on_drained(self) -> None:
        """Read again: the client has read its echoes."""
        super().on_drained()
        self._regulate()

    def _receive(self, message: Text | Binary) -> None:
        if isinstance(message, Binary):
            self.send(websocket.encode_binary(message.data))
        else:
            self.send(websocket.encode(message.text.encode()))
        self._regulate()

    def _must_wait(self) -> bool:
        return self.transport.is_blocked  # a client that does not read its echoes

    def _note_activity(self) -> None:
        self._is_active = True

    def _tick(self, now: float) -> None:
        if now < self._ping_at:
            return
        if not self._is_active:
            raise HeartbeatLost()
        self._is_active = False
        self._ping_at = now + self._heartbeat
        self.transport.write(websocket.PING)

    def _next_tick(self) -> float:
        return self._ping_at
