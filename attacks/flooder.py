"""Flooders: clients that send a flood as fast as the service takes it, for a bounded time."""

import select
import socket
import time
from collections.abc import Iterable

from attacks.floods import Flood
from tests.kit import raw
from tests.kit.waiting import DEADLINE

_AT_ONCE = 262_144  # bytes that a flooder reads at once


class Flooder:
    """One connection. `token` is that of its user, `address` where it comes from: any of 127.0.0.0/8.

    `status` is that of the handshake, `code` the close code; None: the connection is open, or ended without one.
    """

    def __init__(self, port: int, flood: Flood, token: str = "", address: str = "127.0.0.1") -> None:
        self.flood = flood
        self.code: int | None = None
        self.sent = 0  # bytes
        self.has_ended = False
        self._socket = socket.socket()
        self._socket.bind((address, 0))
        self._socket.settimeout(DEADLINE)
        self._socket.connect(("127.0.0.1", port))
        headers = raw.HANDSHAKE | ({} if flood.is_stranger else {"Authorization": f"Bearer {token}"})
        self._socket.sendall(raw.handshake(f"GET {flood.path} HTTP/1.1", headers))
        self.status, self._received = self._read_head()
        self._outgoing = flood.first if flood.is_stranger else raw.text(type="hello", topics=["room"]) + flood.first
        self._socket.setblocking(False)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def send_first(self) -> None:
        """Send the hello and what comes before the flood, and nothing of that."""
        self._socket.setblocking(True)
        self._socket.sendall(self._outgoing)
        self._outgoing = b""
        self._socket.setblocking(False)

    def send(self) -> None:
        """Send as much as the socket takes."""
        try:
            while not self.has_ended:
                self._outgoing = self._outgoing or self.flood.chunk
                taken = self._socket.send(self._outgoing)
                self.sent += taken
                self._outgoing = self._outgoing[taken:]
        except BlockingIOError:
            pass
        except OSError:
            self._drain()

    def read(self) -> bool:
        """Read once, and note a close frame; return whether anything came."""
        try:
            data = self._socket.recv(_AT_ONCE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self._received += data
        self._parse()
        return True

    def _parse(self) -> None:
        while len(self._received) >= 2:
            size, start = self._received[1] & 0x7F, 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(self._received[2:start], "big")
            if len(self._received) < start + size:
                return
            if self._received[0] & 0x0F == raw.CLOSE:
                self.code = int.from_bytes(self._received[start : start + 2], "big") or None
                self._end()
            del self._received[: start + size]

    def _drain(self) -> None:
        """Read what came before the end: there may be a close frame in it."""
        while not self.has_ended and self.read():
            pass
        self._end()

    def _end(self) -> None:
        self.has_ended = True

    def _read_head(self) -> tuple[int, bytearray]:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._socket.recv(4096)
            if not piece:
                return 0, bytearray()
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), bytearray(rest)


def run(flooders: Iterable[Flooder], seconds: float, most: int = 1 << 30, patience: float = 0) -> None:
    """Flood for some seconds, or until each flooder has ended or sent `most` bytes. Then read what is left.

    `patience` is how many seconds longer to flood on connections that the service must close but has not closed yet.
    """
    running = {each for each in flooders if each.status == 101}
    end = time.monotonic() + seconds
    while running and time.monotonic() < end:
        running = _turn(running, most)
    late = {each for each in running if None not in each.flood.codes}
    while late and time.monotonic() < end + patience:
        late = _turn(late, most)
    _read_rest({each for each in running if not each.has_ended})


def _turn(running: set[Flooder], most: int) -> set[Flooder]:
    """Send and read what is possible; return the flooders that have not ended."""
    writers = [each for each in running if each.sent < most]
    readers = [each for each in running if each.flood.reads or each.sent >= most]
    readable, writable, _ = select.select(readers, writers, [], 0.1)
    for each in writable:
        each.send()
    for each in readable:
        each.read()
    return {each for each in running if not each.has_ended}


def _read_rest(running: set[Flooder]) -> None:
    """Read what the service has sent, or sends now, on connections that may stay open."""
    end = time.monotonic() + 2
    while running and time.monotonic() < end:
        for each in select.select(list(running), [], [], 0.2)[0]:
            each.read()
        running = {each for each in running if not each.has_ended}
