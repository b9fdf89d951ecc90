"""Transports on socket pairs: what is sent, what is queued, and how both sides end."""

import contextlib
import os
import random
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.connections import transport as module
from notifier.connections.states import TransportState
from notifier.connections.transport import Transport, take_over
from tests.connections.conftest import Connect
from tests.kit.link import Peer, tcp_pair, turn, until

BIG = random.Random(0).randbytes(1 << 20)  # more than a small send buffer takes
OPEN, BLOCKED, FINISHING = TransportState.OPEN, TransportState.BLOCKED, TransportState.FINISHING
HALF_CLOSED, BROKEN, CLOSED = TransportState.HALF_CLOSED, TransportState.BROKEN, TransportState.CLOSED


class Owner:
    """Notes what a transport calls."""

    def __init__(self) -> None:
        self.data = b""
        self.drained = 0
        self.ends = 0

    def on_bytes(self, data: bytes) -> None:
        assert data
        self.data += data

    def on_drained(self) -> None:
        self.drained += 1

    def on_end(self) -> None:
        self.ends += 1


@pytest.fixture
def owner() -> Owner:
    return Owner()


def blocked(connect: Connect, owner: Owner, **options: Any) -> tuple[Transport, Peer, bytes]:
    """Return a transport with a backlog, its peer, and what was written to it."""
    transport, peer = connect(limit=2 * len(BIG), buffer=16384, **options)
    transport.start(owner, b"")
    assert transport.write(BIG)
    assert transport.state is BLOCKED
    return transport, peer, BIG


def fill_kernel(transport: Transport) -> int:
    """Write until the kernel's buffer is full, and return the number of bytes. The transport does not notice."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(transport._fd, b"x")
    return count


class TestReading:
    def test_bytes(self, connect: Connect, owner: Owner) -> None:
        transport, peer = connect()
        transport.start(owner, b"")
        peer.send(b"hello")
        until(lambda: owner.data)
        assert owner.data == b"hello"

    def test_early_bytes_come_first(self, connect: Connect, owner: Owner) -> None:
        """Bytes that came with the handshake come before what the socket has, and not from within `start`."""
        transport, peer = connect()
        peer.send(b"later")
        transport.start(owner, b"early ")
        assert not owner.data
        until(lambda: len(owner.data) == 11)
        assert owner.data == b"early later"

    def test_early_bytes_after_an_abort(self, connect: Connect, owner: Owner) -> None:
        transport, _ = connect()
        transport.start(owner, b"early")
        transport.abort()
        turn()
        assert not owner.data

    def test_spurious_wake_up(self, connect: Connect, owner: Owner) -> None:
        """A wake-up without anything to read does not end the transport."""
        transport, _ = connect()
        transport.start(owner, b"")
        transport._readable()
        assert (owner.data, owner.ends, transport.state) == (b"", 0, OPEN)

    def test_pause(self, connect: Connect, owner: Owner) -> None:
        """A transport that is paused leaves bytes, and the end, in the socket until it resumes."""
        transport, peer = connect()
        transport.start(owner, b"")
        transport.pause()
        peer.send(b"hello")
        peer.close()
        for _ in range(3):
            turn()
        assert (owner.data, owner.ends) == (b"", 0)
        transport.resume()
        until(lambda: owner.ends)
        assert owner.data == b"hello"

    def test_end(self, connect: Connect, owner: Owner) -> None:
        """When the peer closes, the transport is closed and its owner notified once."""
        transport, peer = connect()
        transport.start(owner, b"")
        peer.close()
        until(lambda: owner.ends)
        turn()
        assert (owner.ends, transport.state, transport.is_open) == (1, CLOSED, False)

    def test_reset(self, connect: Connect, owner: Owner) -> None:
        """A TCP reset is an end like any other."""
        transport, peer = connect(tcp=True)
        transport.start(owner, b"")
        peer.reset()
        until(lambda: owner.ends)
        assert transport.state is CLOSED

    def test_started_twice(self, connect: Connect, owner: Owner) -> None:
        """A second `start` is a fault; the first owner stays."""
        transport, peer = connect()
        transport.start(owner, b"")
        with pytest.raises(RuntimeError):
            transport.start(Owner(), b"")
        assert transport.state is OPEN
        peer.send(b"hello")
        until(lambda: owner.data)

    def test_started_after_an_abort(self, connect: Connect, owner: Owner) -> None:
        transport, _ = connect()
        transport.abort()
        with pytest.raises(RuntimeError):
            transport.start(owner, b"")
        assert transport.state is CLOSED


class TestWriting:
    def test_at_once(self, connect: Connect) -> None:
        """Data that the kernel takes have been sent when `write` returns."""
        transport, peer = connect()
        assert transport.write(b"hello")
        assert (transport.state, transport.is_blocked) == (OPEN, False)
        assert peer.read() == b"hello"

    def test_partial(self, connect: Connect, owner: Owner) -> None:
        """Data that the kernel does not take follow when the peer reads, and the owner is notified once."""
        transport, peer, data = blocked(connect, owner)
        assert transport.is_blocked
        assert peer.read_exactly(len(data)) == data
        assert (transport.state, transport.is_blocked, owner.drained) == (OPEN, False, 1)
        transport.write(b"more")
        assert peer.read() == b"more"

    def test_order(self, connect: Connect, owner: Owner) -> None:
        """Data that are written while others wait are sent after them."""
        transport, peer, data = blocked(connect, owner)
        pieces = [b"%d" % number * 1000 for number in range(100)]
        assert all(transport.write(piece) for piece in pieces)
        whole = data + b"".join(pieces)
        assert peer.read_exactly(len(whole)) == whole
        assert owner.drained == 1

    def test_full_backlog(self, connect: Connect, owner: Owner) -> None:
        """At the limit `write` takes nothing of its data; what it took before arrives whole."""
        limit = 1000
        transport, peer = connect(limit, buffer=4096)
        transport.start(owner, b"")
        sent = b""
        while transport.state is OPEN:
            assert transport.write(b"x" * 500)  # of the last one, a part may wait
            sent += b"x" * 500
        room = limit - transport._waiting
        assert not transport.write(b"y" * (room + 1))
        assert transport.write(b"z" * room), "the limit itself is allowed"
        assert not transport.write(b"y")
        assert transport.write(b"")
        sent += b"z" * room
        assert peer.read_exactly(len(sent)) == sent
        assert transport.state is OPEN

    def test_first_write_over_the_limit(self, connect: Connect, owner: Owner) -> None:
        """The limit counts for the first write that does not fit, too, unless the kernel has begun with it."""
        limit = 1000
        transport, peer = connect(limit, buffer=4096)
        transport.start(owner, b"")
        fill = fill_kernel(transport)
        assert not transport.write(BIG)
        assert (transport.state, transport._waiting, owner.drained) == (BLOCKED, 0, 0)
        assert peer.read_exactly(fill) == b"x" * fill
        until(lambda: owner.drained)
        assert transport.write(BIG), "a part of it is out: the rest must follow"
        assert transport._waiting > limit
        assert peer.read_exactly(fill + len(BIG))[fill:] == BIG

    def test_shared_bytes(self, connect: Connect, owner: Owner) -> None:
        """Connections that are sent the same, and do not read it, share its bytes."""
        waiting = [blocked(connect, owner)[0]._backlog[0] for _ in range(3)]  # type: ignore[index]
        assert all(isinstance(rest, memoryview) and rest.obj is BIG for rest in waiting)

    def test_room_returns(self, connect: Connect, owner: Owner) -> None:
        """Each read of the peer makes room in a full backlog, long before all of it is written."""
        transport, peer, _ = blocked(connect, owner)
        while transport.write(b"x" * 10_000):
            pass
        until(lambda: peer.read() and transport.write(b"x" * 10_000))
        assert transport.state is BLOCKED

    def test_progress(self, connect: Connect, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        """`blocked_since` moves on whenever the peer has read something."""
        clock = SimpleNamespace(time=lambda: 100.0)
        monkeypatch.setattr(module, "time", clock)
        transport, peer, _ = blocked(connect, owner)
        assert transport.blocked_since == 100
        clock.time = lambda: 200.0
        turn()
        assert transport.blocked_since == 100, "the peer has read nothing"
        until(lambda: peer.read() and transport.blocked_since == 200)
        assert transport.state is BLOCKED

    def test_spurious_wake_up(self, connect: Connect, owner: Owner) -> None:
        """A wake-up on a full socket changes nothing."""
        transport, peer, data = blocked(connect, owner)
        transport._writable()
        assert (transport.state, owner.drained) == (BLOCKED, 0)
        assert peer.read_exactly(len(data)) == data

    @pytest.mark.parametrize("tcp", [False, True])
    def test_peer_gone(self, connect: Connect, owner: Owner, tcp: bool) -> None:
        """The first write that fails is taken; the owner is notified soon, once, and not from within `write`."""
        transport, peer = connect(tcp=tcp)
        transport.start(owner, b"")
        peer.reset() if tcp else peer.close()
        while transport.state is OPEN:
            assert transport.write(b"hello")
        assert (transport.state, owner.ends) == (BROKEN, 0)
        assert transport.write(b"hello")
        transport.finish()
        assert (transport.state, owner.ends) == (BROKEN, 0)
        until(lambda: owner.ends)
        turn()
        assert (transport.state, owner.ends) == (CLOSED, 1)
        assert transport.write(b"hello")

    def test_peer_gone_while_blocked(self, connect: Connect, owner: Owner) -> None:
        """A reset while something waits ends the transport; nothing counts as blocked any more."""
        transport, peer, _ = blocked(connect, owner, tcp=True)
        transport.pause()  # so that the write finds it
        peer.reset()
        until(lambda: owner.ends)
        turn()
        assert (transport.state, transport.is_blocked, owner.ends, owner.drained) == (CLOSED, False, 1, 0)

    @settings(max_examples=30, deadline=None, database=None)
    @given(st.lists(st.one_of(st.integers(1, 3000), st.just("read"), st.just("turn")), max_size=40))
    def test_any_order(self, steps: list[Any]) -> None:
        """In any order of writes, reads and waits, exactly the data that were taken arrive, in order."""
        with contextlib.ExitStack() as stack:
            service, client = socket.socketpair()
            service.setblocking(False)
            service.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            transport, peer = Transport(service.detach(), 5000), Peer(client)
            stack.callback(transport.abort)
            stack.callback(peer.close)
            owner, taken = Owner(), b""
            transport.start(owner, b"")
            for number, step in enumerate(steps):
                if step == "read":
                    peer.read(1000)
                elif step == "turn":
                    turn()
                elif transport.write(bytes([number]) * step):
                    taken += bytes([number]) * step
                assert transport.is_blocked == (transport._waiting > 0)
                assert transport._waiting <= 5000
            transport.finish()
            assert peer.read_all() == taken
            assert transport.state is HALF_CLOSED


class TestEnding:
    def test_finish(self, connect: Connect, owner: Owner) -> None:
        """The peer reads everything and then the end, and may still write."""
        transport, peer = connect()
        transport.start(owner, b"")
        transport.write(b"bye")
        transport.finish()
        assert transport.state is HALF_CLOSED
        assert peer.read_all() == b"bye"
        peer.send(b"me too")
        peer.finish()
        until(lambda: owner.ends)
        assert owner.data == b"me too"

    def test_finish_while_blocked(self, connect: Connect, owner: Owner) -> None:
        """The backlog is sent before the end; data written after `finish` are not."""
        transport, peer, data = blocked(connect, owner)
        transport.finish()
        assert (transport.state, transport.is_blocked) == (FINISHING, True)
        assert transport.write(b"too late")
        assert peer.read_all() == data
        assert (transport.state, transport.is_blocked, owner.drained) == (HALF_CLOSED, False, 0)
        assert transport.write(b"too late")

    @pytest.mark.parametrize("state", [FINISHING, HALF_CLOSED, BROKEN, CLOSED])
    def test_finish_is_ignored(self, connect: Connect, owner: Owner, state: TransportState) -> None:
        """Once it has ended in any way, `finish` changes nothing."""
        transport = in_state(state, connect, owner)
        transport.finish()
        assert transport.state is state

    @pytest.mark.parametrize("state", [FINISHING, HALF_CLOSED, BROKEN, CLOSED])
    def test_write_is_dropped(self, connect: Connect, owner: Owner, state: TransportState) -> None:
        """Once it has ended in any way, what is written is dropped, however much."""
        transport = in_state(state, connect, owner)
        assert transport.write(BIG * 3)
        assert transport.state is state

    @pytest.mark.parametrize("state", list(TransportState))
    def test_abort(self, connect: Connect, owner: Owner, state: TransportState) -> None:
        """From every state `abort` closes the socket, and nothing is called back any more."""
        transport = in_state(state, connect, owner)
        transport.abort()
        transport.pause()
        transport.resume()
        turn()
        assert (transport.state, transport.is_open, transport.is_blocked) == (CLOSED, False, False)
        assert (owner.data, owner.drained, owner.ends) == (b"", 0, 0)

    def test_abort_closes(self, connect: Connect) -> None:
        transport, peer = connect()
        transport.abort()
        assert peer.read_all() == b""


def in_state(state: TransportState, connect: Connect, owner: Owner) -> Transport:
    """Return a transport in a state."""
    transport, peer = connect(limit=2 * len(BIG), buffer=16384)
    transport.start(owner, b"")
    if state in (BLOCKED, FINISHING):
        transport.write(BIG)
    if state in (FINISHING, HALF_CLOSED):
        transport.finish()
    if state is BROKEN:
        peer.close()
        transport.write(b"hello")
    if state is CLOSED:
        transport.abort()
    assert transport.state is state
    return transport


def test_take_over() -> None:
    """The transport owns the descriptor; the socket that had it closes nothing any more."""
    service, client = tcp_pair()
    with service, client:
        number = service.fileno()
        transport = take_over(service, 50_000, 1000, patience=2.5)
        assert service.fileno() == -1
        with socket.socket(fileno=number) as seen:
            assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500
            assert seen.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 50_000  # Linux doubles it
            seen.detach()
        service.close()
        transport.write(b"hello")
        assert client.recv(5) == b"hello"
        transport.abort()


def test_take_over_of_a_unix_socket() -> None:
    """A proxy may reach the service by a Unix socket, which knows no TCP options."""
    service, client = socket.socketpair()
    with client:
        transport = take_over(service, 50_000, 1000, patience=2.5)
        transport.write(b"hello")
        assert client.recv(5) == b"hello"
        transport.abort()
