"""Answers that are read slowly, on socket pairs: who is fast enough, and how the others end."""

import errno
from collections.abc import Iterator
from typing import Any

import gevent
import gevent.socket
import pytest

from notifier.http.body import Pace
from notifier.server import paced_socket
from notifier.server.idle import IdleConnections
from notifier.server.paced_socket import PacedSocket
from tests.kit.clock import Clock
from tests.kit.waiting import DEADLINE

DATA = bytes(range(256)) * 8192  # more than the kernel takes
SLOW = Pace(0.05, 1e9)


def paced_of(sock: Any, pace: Pace, idle: IdleConnections | None = None) -> PacedSocket:
    """Return a socket that is written at a pace."""
    return PacedSocket(sock, pace, idle or IdleConnections(10))


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """The service's end of a connection, and its client's."""
    service, client = gevent.socket.socketpair()
    with service, client:
        yield service, client


def read(client: Any, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        data += client.recv(size - len(data))
    return data


def settle() -> None:
    """Let all greenlets go on that can.

    On a busy machine a timer and a socket may be due in the same round of the event loop, which calls the timer first:
    only after a second timer all that was due with the first one has had its turn.
    """
    for _ in range(2):
        gevent.sleep(0.01)


def test_whole(pair: tuple[Any, Any]) -> None:
    """A client that reads gets everything, short or long, and the socket waits without a timeout afterwards."""
    service, client = pair
    paced = paced_of(service, Pace(20, 1000))
    for data in (b"", b"x", DATA):
        sending = gevent.spawn(paced.sendall, data)
        assert read(client, len(data)) == data
        sending.get(timeout=DEADLINE)
    assert paced.send(b"abc") == 3 and read(client, 3) == b"abc"
    assert service.gettimeout() is None and paced.fileno() == service.fileno()


def test_slow(pair: tuple[Any, Any]) -> None:
    """A client that does not read is disconnected; nothing more is sent to it."""
    service, client = pair
    with pytest.raises(ConnectionResetError) as caught:
        paced_of(service, SLOW).sendall(DATA)
    assert caught.value.errno == errno.ECONNRESET and service.gettimeout() is None
    with pytest.raises(BrokenPipeError):
        service.send(b"x")


def test_gone(pair: tuple[Any, Any]) -> None:
    """A client that has gone is an error as without a pace."""
    service, client = pair
    client.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        paced_of(service, SLOW).sendall(DATA)


def test_cut(pair: tuple[Any, Any]) -> None:
    """Whoever waits for a client is woken when the connection is cut; to cut it again does nothing."""
    service, client = pair
    paced = paced_of(service, Pace(600, 1))
    sending = gevent.spawn(paced.sendall, DATA)
    gevent.sleep(0.01)
    assert not sending.ready()
    paced.cut()
    with pytest.raises(ConnectionResetError):
        sending.get(timeout=DEADLINE)
    client.close()
    paced.cut()


def test_stalled(pair: tuple[Any, Any]) -> None:
    """A client that reads nothing for two seconds loses its place if it is needed; one that reads does not."""
    service, client = pair
    clock = Clock(1000.0)
    idle = IdleConnections(1, clock.monotonic)
    idle.enter()
    sending = gevent.spawn(paced_of(service, Pace(600, 1), idle).sendall, DATA)
    for seconds, is_cut in ((1.9, False), (0.1, True)):
        settle()
        client.recv(500_000 if seconds == 1.9 else 0)
        settle()
        clock.now += seconds
        idle.make_room()
        settle()
        assert sending.ready() is is_cut
    with pytest.raises(ConnectionResetError):
        sending.get(timeout=DEADLINE)
    idle.make_room()


def test_cut_within_a_request(pair: tuple[Any, Any]) -> None:
    """A request whose body still arrives ends when its connection is cut."""
    service, _ = pair
    reading = gevent.spawn(service.recv, 1)
    gevent.sleep(0.01)
    assert not reading.ready()
    paced_of(service, SLOW).cut()
    with pytest.raises(OSError, match="closed in another greenlet"):
        reading.get(timeout=DEADLINE)


class Kernel:
    """A socket that takes some bytes after each wait, which takes some seconds."""

    def __init__(self, clock: Clock, seconds: float, size: int) -> None:
        self._clock, self._seconds, self._size = clock, seconds, size
        self._timeout: float | None = None
        self.taken = 0

    def send(self, data: bytes, flags: int = 0, timeout: float | None = None) -> int:
        if timeout == 0:
            raise BlockingIOError
        assert self._timeout is not None
        self._clock.now += min(self._seconds, self._timeout)
        if self._seconds > self._timeout:
            raise TimeoutError
        self.taken += min(self._size, len(data))
        return min(self._size, len(data))

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def setsockopt(self, *_: Any) -> None:
        pass

    def shutdown(self, how: int) -> None:
        pass


@pytest.mark.parametrize(
    ("seconds", "size", "taken"),
    [(1, 100, 5000), (1, 10, 220), (2, 100, 1900), (19, 1900, 5000), (21, 5000, 0), (20, 100, 100), (1, 0, 0)],
)
def test_pace(seconds: float, size: int, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has some seconds, and more for what it has read."""
    clock = Clock(1000.0)
    monkeypatch.setattr(paced_socket, "time", clock)
    kernel = Kernel(clock, seconds, size)
    paced = paced_of(kernel, Pace(20, 100))
    if taken == 5000:
        paced.sendall(5000 * b"x")
    else:
        with pytest.raises(ConnectionResetError):
            paced.sendall(5000 * b"x")
    assert kernel.taken == taken


def test_time_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in which the service makes the next part of an answer does not count."""
    clock = Clock(1000.0)
    monkeypatch.setattr(paced_socket, "time", clock)
    kernel = Kernel(clock, 1, 100)
    paced = paced_of(kernel, Pace(20, 100))
    for _ in range(30):
        paced.sendall(100 * b"x")
        clock.now += 60
    assert kernel.taken == 3000
