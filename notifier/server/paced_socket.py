"""The socket of a request, whose answer its client must read at a least rate.

gunicorn waits for a client without an end, with the rest of the answer in memory, and the kernel gives up only if the
client reads nothing at all.
"""

import contextlib
import errno
import struct
import time
from typing import Any

from gevent import socket

from notifier.http.body import Pace
from notifier.server.idle import IdleConnections
from notifier.telemetry import metrics

_RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: what the client has not read is dropped when the socket is closed


class PacedSocket:
    """Writes to a gevent socket. For all else it is that socket."""

    __slots__ = ("_idle", "_is_cut", "_pace", "_sent", "_sock", "_waited")

    def __init__(self, sock: Any, pace: Pace, idle: IdleConnections) -> None:
        self._sock = sock
        self._pace = pace
        self._idle = idle
        self._sent = 0  # bytes
        self._waited = 0.0  # seconds: the time that the service needs for the answer does not count
        self._is_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send all of `data`.

        Raises:
            ConnectionResetError: the client reads too slowly, or `cut` was called.
        """
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send `data`.

        Raises:
            ConnectionResetError: the client reads too slowly, or `cut` was called.
        """
        try:
            taken = self._sock.send(data, flags, 0.0)  # gevent's: the 0.0 says not to wait
        except BlockingIOError:
            taken = 0
        self._sent += taken
        rest = memoryview(data)[taken:] if taken < len(data) else None
        while rest:
            taken = self._send_some(rest, flags)
            self._sent += taken
            rest = rest[taken:]

    def cut(self) -> None:
        """End the connection. A write that waits fails."""
        self._is_cut = True
        with contextlib.suppress(OSError):  # the client may have gone
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._sock.shutdown(socket.SHUT_RDWR)

    def expire(self) -> None:
        """End the connection, because the client reads nothing, and others need its place."""
        self.cut()

    def _send_some(self, data: memoryview, flags: int) -> int:
        """Wait until the client has read something, and send what fits."""
        left = self._pace.seconds + self._sent / self._pace.rate - self._waited
        began = time.monotonic()
        self._sock.settimeout(max(left, 0.001))
        self._idle.stall(self)
        try:
            taken: int = self._sock.send(data, flags)
        except OSError as error:
            if self._is_cut:
                raise _reset("others need the memory of the response, or its place") from error
            if isinstance(error, TimeoutError):
                metrics.LIMITED.labels("response_rate").inc()
                self.cut()
                raise _reset("the client reads too slowly") from error
            raise
        finally:
            self._idle.resume(self)
            self._sock.settimeout(None)
            self._waited += time.monotonic() - began
        return taken


def _reset(text: str) -> ConnectionResetError:
    """Return an error that gunicorn takes for a client that has gone: it logs nothing."""
    return ConnectionResetError(errno.ECONNRESET, text)
