"""The echo: a connection that shows whether WebSockets get through, and back."""

import time

from notifier.connections.stream import Connection, Keeper
from notifier.connections.transport import Transport
from notifier.errors import HeartbeatLost
from notifier.protocol import websocket
from notifier.protocol.websocket import Binary, Text


class EchoConnection(Connection):
    """Returns every message as it came."""

    __slots__ = ("_heard", "_heartbeat", "_ping_at")

    def __init__(self, transport: Transport, keeper: Keeper, *, max_message: int, heartbeat: float) -> None:
        super().__init__(transport, keeper, max_message)
        self._heartbeat = heartbeat
        self._ping_at = time.time() + heartbeat
        self._heard = True

    def on_drained(self) -> None:
        """Read again: the client has read what it wrote."""
        super().on_drained()
        self.transport.resume()

    def _receive(self, message: Text | Binary) -> None:
        if isinstance(message, Binary):
            self.send(websocket.encode_binary(message.data))
        else:
            self.send(websocket.encode(message.text.encode()))
        if self.transport.blocked_since:
            self.transport.pause()  # whoever does not read its echoes need not write more

    def _hear(self) -> None:
        self._heard = True

    def _tick(self, now: float) -> None:
        if now < self._ping_at:
            return
        if not self._heard:
            raise HeartbeatLost()
        self._heard = False
        self._ping_at = now + self._heartbeat
        self.transport.write(websocket.PING)

    def _next_tick(self) -> float:
        return self._ping_at
