"""Flooders: clients that send a flood as fast as the service takes it, for a bounded time."""

import select
import time
from collections import Counter
from collections.abc import Callable, Iterable

from attacks.floods import Flood
from attacks.target import Target, bearer
from tests.kit import raw

_AT_ONCE = 262_144  # bytes that a flooder reads at once


class Flooder:
    """One connection of an attacker.

    `status` is that of the handshake, `code` the close code; None: the connection is open, or ended without one.
    """

    def __init__(self, target: Target, flood: Flood, number: int) -> None:
        self.flood = flood
        self.code: int | None = None
        self.sent = 0  # bytes
        self.has_ended = False
        self._socket = target.connect(number)
        headers = target.headers(number) | ({} if flood.is_stranger else bearer(target.token))
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


def after(seconds: float) -> Callable[[], bool]:
    """Return a function that returns whether so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def run(flooders: Iterable[Flooder], is_over: Callable[[], bool], most: int, patience: float) -> None:
    """Flood until it is over, or each flooder has ended or sent `most` bytes. Then read what is left.

    `patience` is how many seconds longer to flood on connections that the service must close but has not closed yet.
    """
    running = {each for each in flooders if each.status == 101}
    while running and not is_over():
        running = _turn(running, most)
    late, is_too_late = {each for each in running if None not in each.flood.codes}, after(patience)
    while late and not is_too_late():
        late = _turn(late, most)
    _read_rest({each for each in running if not each.has_ended})


def flood_with_frames(
    target: Target, flood: Flood, connections: int, is_over: Callable[[], bool], addresses: int = 250
) -> Counter[int | None]:
    """Flood on some connections, opened again where the service closes them. Return the close codes and statuses.

    0: a connection that was refused without an answer.
    """
    codes: Counter[int | None] = Counter()
    running: dict[int, Flooder] = {}
    while not is_over():
        missing = [number for number in range(connections) if number not in running]
        for number in missing[: 1 if running else None]:  # the others flood while one connects
            try:
                running[number] = Flooder(target, flood, number % addresses)
            except OSError:
                codes[0] += 1
        _turn({each for each in running.values() if each.status == 101})
        for number, each in list(running.items()):
            if each.has_ended or each.status != 101:
                codes[each.code if each.status == 101 else each.status] += 1
                running.pop(number).close()
    _read_rest(set(running.values()))
    for each in running.values():
        codes[each.code] += 1
        each.close()
    return codes


def _turn(running: set[Flooder], most: int = 1 << 30) -> set[Flooder]:
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
    is_over = after(2)
    while running and not is_over():
        for each in select.select(list(running), [], [], 0.2)[0]:
            each.read()
        running = {each for each in running if not each.has_ended}
