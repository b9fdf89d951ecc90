"""gunicorn's worker: connections that come while it ends, and turns between connections."""

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.socket
import pytest
from gunicorn.config import Config

from notifier.server.idle import IdleConnections
from notifier.server.worker import Worker, keep_values


class Application:
    """An application that counts its requests."""

    def __init__(self) -> None:
        self.requests = 0
        requests = SimpleNamespace(enter_peer=lambda peer: lambda: None)
        self.extensions = {"notifier": SimpleNamespace(usage=SimpleNamespace(requests=requests))}

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        self.requests += 1
        start_response("204 No Content", [])
        return []


def ended(listener: Any, application: Application) -> Worker:
    """Return a worker that has closed its listener, and still serves what it has accepted."""
    worker = Worker.__new__(Worker)
    worker.cfg, worker.wsgi, worker.idle = Config(), application, IdleConnections(10)
    worker.cfg.set("keepalive", 20)
    worker.alive, worker.nr, worker.max_requests, worker.worker_connections = False, 0, 1000, 10
    worker.log = SimpleNamespace(access=lambda *_: None, debug=lambda *_: None)
    worker.sockets = [listener]
    worker.run()
    return worker


def test_listener_that_has_closed() -> None:
    """A connection that was accepted just before the worker began to end is served, and closed after its answer."""
    application, listener = Application(), gevent.socket.create_server(("127.0.0.1", 0))
    with contextlib.closing(listener):
        worker = ended(listener, application)
        assert listener.fileno() < 0
        client, peer = gevent.socket.socketpair()
        with peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            worker.handle(listener, client, ("127.0.0.1", 1))
            head = peer.recv(4096)
            assert head.startswith(b"HTTP/1.1 204 ")
            assert b"\r\nConnection: close\r\n" in head
            assert peer.recv(1) == b""


def test_many_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends many requests without waiting for answers takes turns with others, which go first."""
    monkeypatch.setattr(time, "sleep", gevent.sleep)
    application, listener = Application(), gevent.socket.create_server(("127.0.0.1", 0))
    worker = ended(listener, application)
    worker.alive = True
    client, peer = gevent.socket.socketpair()
    answered = []  # how many requests had been answered before each answer to others
    with peer, answering() as other:
        peer.sendall(50 * b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        serving = gevent.spawn(worker.handle, listener, client, ("127.0.0.1", 1))
        while not serving.ready():
            other.sendall(b"x")
            other.recv(1)
            answered.append(application.requests)
    assert application.requests == 50
    assert max(after - before for before, after in itertools.pairwise([0, *answered])) == 1


@contextlib.contextmanager
def answering() -> Iterator[Any]:
    """Yield a socket to a greenlet that answers each byte."""
    other, socket = gevent.socket.socketpair()

    def answer() -> None:
        while data := socket.recv(1):
            socket.sendall(data)

    with socket, other:
        greenlet = gevent.spawn(answer)
        yield other
        greenlet.kill()


def test_values_that_are_kept() -> None:
    """A kept value is the one that gunicorn would compute."""
    config, computed = Config(), Config()
    config.set("keepalive", 20)
    computed.set("keepalive", 20)
    keep_values(config)
    assert vars(config)["keepalive"] == 20
    assert all(getattr(config, name) == getattr(computed, name) for name in computed.settings)
