"""Addresses that are in use, or that this machine does not have."""

import errno
import socket
from collections.abc import Iterator

import pytest

from notifier.server import address
from tests.kit.cases import rows
from tests.kit.ports import free_port


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is in use during the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_free(port: int) -> None:
    """A free port is left free."""
    free = free_port()
    for bind in (f"127.0.0.1:{free}", f"localhost:{free}", f":{free}"):
        address.require_free(bind, {})


def test_in_use(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some attempts a port that is in use is an error."""
    pauses: list[float] = []
    monkeypatch.setattr(address.time, "sleep", pauses.append)
    with pytest.raises(OSError) as caught:
        address.require_free(f"127.0.0.1:{port}", {})
    assert (caught.value.errno, len(pauses)) == (errno.EADDRINUSE, 4)


def test_soon_free(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that becomes free is used."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(address.time, "sleep", lambda seconds: server.close())
        address.require_free(f"127.0.0.1:{server.getsockname()[1]}", {})


@rows("bind", ["192.0.2.1:8080", "host.invalid:8080"])
def test_elsewhere(bind: str) -> None:
    """An address of another machine is an error at once."""
    with pytest.raises(OSError):
        address.require_free(bind, {})


def test_inherited(port: int) -> None:
    """Sockets that already listen are not looked at."""
    address.require_free("unix:/run/notifier.sock", {})
    address.require_free(f"127.0.0.1:{port}", {"LISTEN_FDS": "1"})


def test_answers_that_are_not_read() -> None:
    """Connections inherit from their listener how long the kernel waits for a client that does not read."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        address.bound_writes([server, local])
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
