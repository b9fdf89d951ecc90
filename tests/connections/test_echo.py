"""Echo connections: they return what they receive, and make a client wait that does not read."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.connections import echo as module
from notifier.connections import websocket
from notifier.connections.echo import EchoConnection
from notifier.connections.websocket import Hooks
from tests.connections.conftest import Connect
from tests.kit import raw
from tests.kit.clock import Clock
from tests.kit.link import Peer, turn, until

HEARTBEAT = 25
Open = Callable[..., tuple[EchoConnection, Peer]]


@pytest.fixture
def open_(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return a function that opens an echo at the time 1000."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 1000.0))

    def open_(**options: int) -> tuple[EchoConnection, Peer]:
        transport, peer = connect(**options)
        hooks = Hooks(max_message=100_000, schedule=lambda *_: None, closed=lambda _: None)
        connection = EchoConnection(transport, hooks, heartbeat=HEARTBEAT)
        connection.start(b"")
        return connection, peer

    return open_


def tick(connection: Any, now: float) -> None:
    """Advance to a time for which a tick is scheduled."""
    connection._tick_at = 0
    connection.tick(now)


def test_messages(open_: Open) -> None:
    """Text returns as text, bytes as bytes."""
    _, peer = open_()
    messages = [raw.Frame(raw.TEXT, "é".encode()), raw.Frame(raw.BINARY, b"\x00\xff"), raw.Frame(raw.TEXT, b"")]
    for message in messages:
        peer.send(raw.frame(message.opcode, message.payload))
    peer.read_exactly(sum(2 + len(message.payload) for message in messages))
    assert raw.frames_in(peer.data) == messages


@pytest.mark.parametrize("turn_time", [-1, 10])
def test_client_that_does_not_read(open_: Open, monkeypatch: pytest.MonkeyPatch, turn_time: float) -> None:
    """A client that does not read its echoes is not read either, until it does, however short a turn is."""
    monkeypatch.setattr(websocket, "_TURN_TIME", turn_time)
    connection, peer = open_(buffer=4096, limit=1 << 20)
    peer.send(raw.frame(raw.BINARY, b"x" * 100_000))
    until(lambda: connection.transport.is_blocked)
    peer.send(raw.frame(raw.TEXT, b"next"))
    waiting = connection.transport._waiting
    for _ in range(3):
        turn()
    assert connection.transport._waiting == waiting
    until(lambda: peer.read() is not None and peer.data.endswith(b"next"))
    assert [len(frame.payload) for frame in raw.frames_in(peer.data)] == [100_000, 4]


@pytest.mark.parametrize("turn_time", [-1, 10])
def test_heartbeat(open_: Open, monkeypatch: pytest.MonkeyPatch, turn_time: float) -> None:
    """A client is sent a ping after each heartbeat, and stays as long as anything comes from it in between.

    That it came counts, even if its frames wait for a turn.
    """
    monkeypatch.setattr(websocket, "_TURN_TIME", turn_time)
    connection, peer = open_()
    now = 1000.0
    tick(connection, now + HEARTBEAT - 0.1)
    assert peer.read() == b""
    for _ in range(3):
        now += HEARTBEAT
        tick(connection, now)
        assert raw.frames_in(peer.read()) == [raw.Frame(raw.PING)]
        connection.on_bytes(raw.frame(raw.PONG))
    assert connection.is_open


def test_silence(open_: Open) -> None:
    """A client that shows no sign of life between two pings is closed with 4000."""
    connection, peer = open_()
    tick(connection, 1000 + HEARTBEAT)
    tick(connection, 1000 + 2 * HEARTBEAT)
    ping, close = peer.frames()
    assert (ping.opcode, close.close_code) == (raw.PING, 4000)


def test_reading_is_a_sign_of_life(open_: Open) -> None:
    """A client that reads what waited is alive."""
    connection, peer = open_(buffer=4096, limit=1 << 20)
    tick(connection, 1000 + HEARTBEAT)
    connection.send(b"x" * 100_000)
    peer.read_until(lambda: not connection.transport.is_blocked)
    tick(connection, 1000 + 2 * HEARTBEAT)
    assert connection.is_open


def test_drain(open_: Open) -> None:
    """An echo announces nothing: it returns only what was sent."""
    connection, peer = open_()
    connection.drain(500)
    turn()
    assert peer.read() == b""


def test_time_passes(connect: Connect, clock: Clock) -> None:
    """The first ping is due one heartbeat after the beginning."""
    scheduled: list[float] = []
    transport, _ = connect()
    hooks = Hooks(max_message=1000, schedule=lambda _, due: scheduled.append(due), closed=lambda _: None)
    EchoConnection(transport, hooks, heartbeat=HEARTBEAT).start(b"")
    assert scheduled == [clock.now + HEARTBEAT]
