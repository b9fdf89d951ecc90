"""gunicorn's worker: connections that come while it ends."""

import socket

from notifier.server.worker import Worker


def test_listener_that_has_closed() -> None:
    """A connection that was accepted just before the worker began to end is closed, without an error."""
    worker = Worker.__new__(Worker)
    client, peer = socket.socketpair()
    with socket.socket() as listener:
        pass
    with peer:
        worker.handle(listener, client, ("127.0.0.1", 1))
        assert peer.recv(1) == b""
