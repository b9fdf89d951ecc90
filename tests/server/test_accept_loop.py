"""The accept loop: connections that the doorman takes, connections that it leaves, and faults."""

import socket
import struct
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.pool import Pool

from notifier.server.accept_loop import AcceptLoop, BegunSocket
from tests.kit.link import no_faults, until


class Worker:
    """An accept loop with a doorman that takes what begins with `take`, and a handler that reads until a line ends."""

    def __init__(self, places: int = 10) -> None:
        listener = gevent.socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.port = listener.getsockname()[1]
        self.taken: list[tuple[bytes, Any]] = []
        self.handled: list[tuple[bytes, Any]] = []
        self.is_held = False
        self._kept: list[Any] = []
        self.loop = AcceptLoop(listener, self._handle, Pool(places), self._admit)
        self.loop.start()

    def _admit(self, sock: Any, peer: Any, data: bytes) -> bool:
        if data.startswith(b"fail"):
            raise RuntimeError("a fault")
        if data.startswith(b"closed"):
            sock.close()
            raise RuntimeError("a fault after the socket was closed")
        if data.startswith(b"take"):
            self.taken.append((data, peer))
            self._kept.append(sock)
            return True
        return False

    def _handle(self, sock: Any, peer: Any) -> None:
        data = b""
        while not data.endswith(b"\n") and (received := sock.recv(4)):
            data += received
        self.handled.append((data, peer))
        while self.is_held:
            gevent.sleep(0.001)

    def connect(self, data: bytes = b"") -> socket.socket:
        """Connect and send bytes before the loop can accept the connection."""
        client = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(data)
        client.setblocking(False)
        return client


@pytest.fixture(autouse=True)
def loop_without_faults() -> Iterator[None]:
    with no_faults():
        yield


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.loop.stop()
    for sock in worker._kept:
        sock.close()


def has_ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_taken(worker: Worker) -> None:
    """What has arrived with the connection is shown to the doorman, who may take the connection."""
    with worker.connect(b"take this") as client:
        until(lambda: worker.taken)
        assert worker.taken == [(b"take this", client.getsockname())]
        assert not has_ended(client)
    assert worker.handled == []


def test_left(worker: Worker) -> None:
    """A connection that the doorman leaves is served by a greenlet, with all bytes in order, and closed then."""
    with worker.connect(b"leave this, ") as client:
        until(lambda: worker.loop.pool.free_count() < 10)
        client.sendall(b"and this\n")
        until(lambda: worker.handled)
        assert worker.handled == [(b"leave this, and this\n", client.getsockname())]
        until(lambda: has_ended(client))


def test_nothing_has_arrived(worker: Worker) -> None:
    """A connection whose client has sent nothing yet is not waited for, and the doorman is not asked later."""
    with worker.connect() as client:
        until(lambda: worker.loop.pool.free_count() < 10)
        client.sendall(b"take\n")
        until(lambda: worker.handled)
        assert worker.handled[0][0] == b"take\n"
    assert worker.taken == []


@pytest.mark.parametrize("with_reset", [False, True])
def test_client_that_has_gone(worker: Worker, with_reset: bool) -> None:
    """A client that has gone again is left to the greenlet, which sees the end."""
    client = worker.connect()
    if with_reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with worker.connect(b"take"):
        until(lambda: worker.taken)
        until(lambda: worker.loop.pool.free_count() == 10)


@pytest.mark.parametrize("data", [b"fail", b"closed"])
def test_faults(worker: Worker, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A fault closes its connection, is logged, and does not keep others waiting."""
    with worker.connect(data) as failed, worker.connect(b"take"), worker.connect(b"leave\n"):
        until(lambda: worker.taken and worker.handled)
        until(lambda: has_ended(failed))
        assert worker.loop._timer is None, "accepting must not pause"
    assert "A connection could not be opened" in caplog.text


def test_no_place() -> None:
    """While no place is free, no connection is accepted. When one is, all are."""
    worker = Worker(places=1)
    worker.is_held = True
    with worker.connect(b"leave\n"):
        until(lambda: worker.handled)
        with worker.connect(b"take"), worker.connect(b"leave\n"):
            gevent.sleep(0)
            assert worker.taken == []
            worker.is_held = False
            until(lambda: worker.taken and len(worker.handled) == 2)
    worker.loop.stop()
    for sock in worker._kept:
        sock.close()


def test_begun_socket() -> None:
    """What was read early comes first, in pieces of the size that is asked for."""
    ours, theirs = socket.socketpair()
    with theirs:
        begun = BegunSocket(ours.family, ours.type, ours.proto, ours.detach(), early=b"early")
        theirs.sendall(b"late")
        assert [begun.recv(3), begun.recv(8192), begun.recv(8192)] == [b"ear", b"ly", b"late"]
        theirs.shutdown(socket.SHUT_WR)
        assert begun.recv(10) == b""
        begun.close()
