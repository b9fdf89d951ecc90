"""What the tests of connections share."""

import socket
from collections.abc import Callable, Iterator

import pytest

from notifier.connections.transport import Transport
from tests.kit.link import Peer, no_faults, tcp_pair

Connect = Callable[..., tuple[Transport, Peer]]


@pytest.fixture(autouse=True)
def loop_without_faults() -> Iterator[None]:
    with no_faults():
        yield


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that returns a transport and its peer. Both are closed after the test."""
    made: list[tuple[Transport, Peer]] = []

    def connect(limit: int = 1 << 20, tcp: bool = False, buffer: int = 0) -> tuple[Transport, Peer]:
        service, client = tcp_pair() if tcp else socket.socketpair()
        service.setblocking(False)
        if buffer:
            service.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        made.append((Transport(service.detach(), limit), Peer(client)))
        return made[-1]

    yield connect
    for transport, peer in made:
        transport.abort()
        peer.close()
