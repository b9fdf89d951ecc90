"""Both ends of a socket in the process of a test, which also runs gevent's event loop."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import gevent

from tests.kit.raw import Frame, frames_in, reset
from tests.kit.service import DEADLINE


def turn() -> None:
    """Have the event loop handle all that is due: sockets, timers and callbacks.

    On a busy machine the first timer may be due in the same round of the loop as the sockets. The loop calls it first;
    the sockets of that round have their turn before the second timer.
    """
    for _ in range(2):
        gevent.sleep(0.0001)


def until(condition: Callable[[], object]) -> None:
    """Run the event loop until a condition is met."""
    with gevent.Timeout(DEADLINE):
        while not condition():
            turn()


@contextmanager
def no_faults() -> Iterator[None]:
    """Fail if a callback of the event loop raises, which gevent would only print."""
    faults: list[BaseException] = []
    hub: Any = gevent.get_hub()

    def note(context: object, kind: type[BaseException], fault: BaseException, trace: TracebackType) -> None:
        faults.append(fault)

    hub.handle_error = note
    try:
        yield
    finally:
        del hub.handle_error
    assert not faults, faults


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the ends of a TCP connection: the service's, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        service, _ = listener.accept()
    return service, client


class Peer:
    """The client's end of a connection. Waiting for it runs the event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.data = b""  # the bytes that were received
        self.has_ended = False  # the service has closed, or ended its writing side

    def send(self, data: bytes) -> None:
        """Send bytes."""
        while data:
            data = data[self._socket.send(data) :]

    def read(self, most: int = 1 << 20) -> bytes:
        """Return what has arrived, at most so many bytes."""
        try:
            data = self._socket.recv(most)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            data = b""
        self.has_ended |= not data
        self.data += data
        return data

    def read_until(self, condition: Callable[[], object]) -> bytes:
        """Read until a condition is met; return everything received so far."""
        until(lambda: (self.read(), condition())[1])
        return self.data

    def read_exactly(self, size: int) -> bytes:
        """Read until so many bytes have been received, and check that no others follow soon."""
        self.read_until(lambda: len(self.data) >= size)
        turn()
        self.read()
        assert len(self.data) == size
        return self.data

    def read_all(self) -> bytes:
        """Read until the service ends its writing side."""
        return self.read_until(lambda: self.has_ended)

    def frames(self) -> list[Frame]:
        """Read until the service ends its writing side, as WebSocket frames."""
        return frames_in(self.read_all())

    def finish(self) -> None:
        """End the writing side."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def reset(self) -> None:
        """Close a TCP connection with a reset."""
        reset(self._socket)
