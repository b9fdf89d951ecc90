"""Floods of HTTP requests: many on one connection, bodies in tiny chunks, and wrong credentials."""

import re
import select
import time
from collections import Counter
from typing import NamedTuple

from attacks.target import OTHERS, Target

_AT_ONCE = 262_144  # bytes that are read at once
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LONGEST_STATUS = 13  # bytes that _STATUS matches
_PIPELINED = 64  # requests in a chunk


class RequestFlood(NamedTuple):
    """A flood: `first` once on each connection, then `chunk` again and again. Both are filled in by the target.

    `statuses` are those that the service may answer with. A flood that does not `read` leaves its answers unread. One
    that `shares_address` comes from the address of the other clients.
    """

    name: str
    chunk: bytes
    statuses: tuple[int, ...]
    first: bytes = b""
    reads: bool = True
    shares_address: bool = False


def _request(line: str, *headers: str, credentials: str = "<token>") -> bytes:
    bearer = [f"Authorization: Bearer {credentials}"] if credentials else []
    return "\r\n".join([f"{line} HTTP/1.1", "Host: a", *bearer, *headers, "<headers>\r\n"]).encode()


_ANSWERED = (200, 400, 401, 408, 413, 429, 503)
_READ = _request("POST /v1/inbox/read", "Content-Type: application/json", "Transfer-Encoding: chunked")
_TINY = b"1\r\n \r\n" * 5000
_FORGED = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjo0MDAwMDAwMDAwfQ." + "x" * 43

REQUESTS = [
    RequestFlood("pipelined requests of a user", _request("GET /v1/inbox/counts") * _PIPELINED, _ANSWERED),
    RequestFlood("the same, answers not read", _request("GET /v1/inbox/counts") * _PIPELINED, _ANSWERED, reads=False),
    RequestFlood("pipelined requests of strangers", _request("GET /healthz", credentials="") * _PIPELINED, _ANSWERED),
    RequestFlood("a body in chunks of a byte", _TINY, _ANSWERED, first=_READ),
    RequestFlood(
        "bodies in chunks of a byte",
        (_READ + b"1\r\n{\r\n" + b"1\r\n \r\n" * 500 + b"1\r\n}\r\n0\r\n\r\n") * 8,
        (422, *_ANSWERED),
    ),
    RequestFlood(
        "wrong tokens from the others' address",
        _request("GET /v1/inbox/counts", credentials=_FORGED) * 8,
        (401, 429, 503),
        shares_address=True,
    ),
    RequestFlood(
        "wrong keys from the others' address",
        _request("GET /v1/status", credentials="nk_wrong") * 8,
        (401, 429, 503),
        shares_address=True,
    ),
]


class RequestFlooder:
    """One connection; `statuses` are those of the answers so far."""

    def __init__(self, target: Target, flood: RequestFlood, number: int) -> None:
        attacker = OTHERS if flood.shares_address else number
        self.flood = flood
        self.statuses: Counter[int] = Counter()
        self.sent = 0  # bytes
        self.has_ended = False
        self._chunk = target.filled(flood.chunk, attacker)
        self._outgoing = target.filled(flood.first, attacker)
        self._tail = b""
        self._socket = target.connect(attacker)
        self._socket.setblocking(False)

    @property
    def awaits_answer(self) -> bool:
        """Whether an answer must come: whole requests were sent, and the flood reads."""
        return self.flood.reads and not self.flood.first and not self.statuses

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def send(self) -> None:
        """Send as much as the socket takes at once."""
        self._outgoing = self._outgoing or self._chunk
        try:
            taken = self._socket.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            self._drain()
            return
        self.sent += taken
        self._outgoing = self._outgoing[taken:]

    def read(self) -> None:
        """Read once, and count the answers."""
        try:
            data = self._socket.recv(_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.has_ended = True
            return
        text = self._tail + data
        self.statuses.update(int(status) for status in _STATUS.findall(text))
        self._tail = text[-(_LONGEST_STATUS - 1) :]

    def _drain(self) -> None:
        """Read what is left after the service has closed the connection."""
        while not self.has_ended:
            before = self._tail
            self.read()
            self.has_ended = self.has_ended or before == self._tail


def flood_with_requests(
    target: Target, flood: RequestFlood, connections: int, seconds: float, most: int = 1 << 30
) -> Counter[int]:
    """Flood on some connections, opened again where the service closes them, until the time is over.

    Each connection sends at most `most` bytes. Return the statuses of all answers; 0: a connection that was refused or
    ended without an answer.
    """
    statuses: Counter[int] = Counter()
    running: list[RequestFlooder] = []
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end and (sent < most * connections or running):
        while len(running) < connections and sent < most * connections:
            try:
                running.append(RequestFlooder(target, flood, len(running)))
            except OSError:
                statuses[0] += 1
                break
        sent += _turn(running, most)
        ended = [each for each in running if each.has_ended or (each.sent >= most and not each.awaits_answer)]
        statuses += _finish(ended)
        running = [each for each in running if each not in ended]
    return statuses + _finish(running)


def _turn(running: list[RequestFlooder], most: int) -> int:
    before = sum(each.sent for each in running)
    readers = [each for each in running if each.flood.reads]
    readable, writable, _ = select.select(readers, [each for each in running if each.sent < most], [], 0.1)
    for each in writable:
        each.send()
    for each in readable:
        each.read()
    return sum(each.sent for each in running) - before


def _finish(flooders: list[RequestFlooder]) -> Counter[int]:
    statuses: Counter[int] = Counter()
    for each in flooders:
        each.read()
        each.close()
        statuses += each.statuses or Counter({0: 1})
    return statuses
