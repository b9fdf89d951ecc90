"""Holds: connections that are opened and kept, with a request that never ends, so that others find no place."""

import contextlib
import errno
import socket
from types import TracebackType
from typing import NamedTuple, Self

from attacks.target import Target
from tests.kit import raw
from tests.kit.service import JSON, NDJSON
from tests.kit.waiting import DEADLINE

_LONG_FIELD = b"A: " + b"x" * 15_000 + b"\r\n"
_POST = b"POST /v1/notifications HTTP/1.1\r\nHost: a\r\n<headers>Authorization: Bearer <key>\r\nContent-Type: %s\r\n"
_ACT = b"POST /v1/inbox/read HTTP/1.1\r\nHost: a\r\n<headers>Authorization: Bearer <token>\r\n"


class Hold(NamedTuple):
    """Bytes with which a client holds a connection: `first` once, then `more` from time to time."""

    name: str
    first: bytes = b""
    more: bytes = b""


SILENT = Hold("silent connections")
HALF_A_HEAD = Hold("half a head", b"GET / HTTP/1.1\r\nHost: a\r\n")
LONG_HEAD = Hold("the longest head, without its end", b"GET / HTTP/1.1\r\nHost: a\r\n" + 4 * _LONG_FIELD)
SLOW_HEAD = Hold("a head, a byte at a time", b"GET / HTTP/1.1\r\nHost: a\r\nA: ", b"x")
HALF_A_BODY = Hold("half a body", _POST % JSON.encode() + b"Content-Length: 1000\r\n\r\n{")
USER_BODY = Hold("half a body of a user", _ACT + b"Content-Length: 1000\r\n\r\n{")
HALF_A_LINE = Hold("half a line", _POST % NDJSON.encode() + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
SLOW_LINES = Hold(
    "NDJSON, a byte at a time", _POST % NDJSON.encode() + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"
)
NO_HELLO = Hold("handshakes without a hello", raw.handshake("GET /v1/stream HTTP/1.1")[:-2] + b"<headers>\r\n")
EVENTS = Hold(
    "Server-Sent Events",
    b"GET /v1/stream?topic=room HTTP/1.1\r\nHost: a\r\n<headers>Accept: text/event-stream\r\n"
    b"Authorization: Bearer <token>\r\n\r\n",
)
POLLS = Hold(
    "long polls",
    b"GET /v1/stream?topic=room&wait=30 HTTP/1.1\r\nHost: a\r\n<headers>Accept: application/json\r\n"
    b"Authorization: Bearer <token>\r\n\r\n",
)

HOLDS = [
    SILENT,
    HALF_A_HEAD,
    LONG_HEAD,
    SLOW_HEAD,
    HALF_A_BODY,
    USER_BODY,
    HALF_A_LINE,
    SLOW_LINES,
    NO_HELLO,
    EVENTS,
    POLLS,
]


class Holder:
    """Holds so many connections. `lost` counts those that the service has closed; they are opened again."""

    def __init__(self, target: Target, hold: Hold, connections: int, addresses: int = 250) -> None:
        self._target = target
        self._hold = hold
        self._addresses = addresses
        self.sockets = [self._open(number) for number in range(connections)]
        self.lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for sock in self.sockets:
            sock.close()

    def step(self) -> None:
        """Send more on each connection, and open again those that the service has closed."""
        for number, sock in enumerate(self.sockets):
            try:
                sock.setblocking(False)
                while sock.recv(65536):
                    pass
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            except BlockingIOError:
                sock.settimeout(DEADLINE)
                with contextlib.suppress(OSError):
                    sock.sendall(self._hold.more)
            except OSError:
                sock.close()
                self.lost += 1
                with contextlib.suppress(OSError):
                    self.sockets[number] = self._open(number)

    def _open(self, number: int) -> socket.socket:
        attacker = number % self._addresses
        sock = self._target.connect(attacker)
        with contextlib.suppress(OSError):  # the service may refuse it
            sock.sendall(self._target.filled(self._hold.first, attacker))
        return sock
