"""The acceptor: its limit, what it opens, and the pace at which it closes connections when the worker ends."""

import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.connections import acceptor as module
from notifier.connections.acceptor import Acceptor
from notifier.connections.places import Counts, Places
from notifier.connections.poll import PollConnection
from notifier.connections.sse import Ask, EventConnection
from notifier.connections.states import ConnectionState, TransportState
from notifier.connections.strangers import Strangers
from notifier.connections.stream import StreamConnection, StreamHooks
from notifier.connections.websocket import Connection
from notifier.errors import BrokerUnavailable, Disconnect, Restarting, TooManyConnections
from notifier.limit_settings import LimitSettings
from notifier.limits.users import UserLimits
from notifier.protocol.frames import Hello
from notifier.protocol.identity import Identity
from notifier.protocol.session import Rules
from notifier.protocol.subscribing import Attach
from notifier.settings import ConnectionSettings
from tests.connections.conftest import Connect
from tests.kit import metrics, raw
from tests.kit.clock import Clock
from tests.kit.link import Peer, turn, until
from tests.kit.waiting import DEADLINE

ALICE = Identity("alice", 1e12)


class Worker:
    """An acceptor with hooks that note what its connections ask for."""

    def __init__(self, workers: int = 1, **options: Any) -> None:
        self.actions: list[Any] = []
        self.connections: set[Connection] = set()
        self.buffered: list[int] = []
        self.strangers = Strangers(options.pop("strangers", 5), options.pop("stranger_bytes", 1 << 20))
        self.users = UserLimits(LimitSettings(user_connections=options.pop("user_connections", 100)), 1)
        self.addresses: list[int | None] = []  # of the open connections
        counts = Counts(self.addresses.append, self.addresses.remove, self.users.open_stream, self.users.streams.closed)
        self.places = Places(self.strangers, counts)
        self.has_reached_redis = True
        settings = ConnectionSettings(**{"max_connections": 10} | options)
        hooks = StreamHooks(
            max_message=settings.max_message_bytes,
            lag_timeout=settings.lag_timeout,
            schedule=lambda *_: None,
            closed=self.closed,
            buffered=self.buffer,
            act=self.act,
            stop=self.places.closing,
            drained=lambda connection: None,
            request_state=lambda connection: None,
        )
        unused: Any = None
        self.acceptor = Acceptor(
            settings, Rules(unused), hooks, workers, self.connections, self.places, lambda: self.has_reached_redis
        )

    def act(self, connection: StreamConnection, action: Any) -> None:
        self.actions.append(action)
        if isinstance(action, Attach):
            self.places.authenticated(connection)

    def buffer(self, connection: Connection, size: int) -> None:
        self.strangers.buffer(connection, size)
        self.buffered.append(size)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.places.closed(connection)


class Closing:
    """A connection that notes when the acceptor closes it, and closes its transport at once or never."""

    def __init__(self, clock: Clock, is_stubborn: bool = False) -> None:
        self._clock = clock
        self.calls: list[tuple[str, Any]] = []
        self.closed_at = 0.0
        self.transport = SimpleNamespace(is_open=True)
        self._is_stubborn = is_stubborn

    def drain(self, retry_after_ms: int) -> None:
        self.calls.append(("drain", retry_after_ms))

    def close(self, disconnect: Disconnect) -> None:
        self.calls.append(("close", type(disconnect)))
        self.closed_at = self._clock.now
        self.transport.is_open = self._is_stubborn


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1000.0)
    monkeypatch.setattr(module, "time", clock)
    return clock


def held(worker: Worker, clock: Clock, count: int, *, is_stubborn: bool = False) -> list[Closing]:
    """Add some connections to an acceptor, and return them."""
    connections: list[Any] = [Closing(clock, is_stubborn) for _ in range(count)]
    worker.connections.update(connections)
    return connections


class TestRoom:
    def test_room(self) -> None:
        Worker().acceptor.require_room()

    def test_without_redis(self) -> None:
        """Before Redis was reached nothing is accepted."""
        worker = Worker()
        worker.has_reached_redis = False
        with pytest.raises(BrokerUnavailable) as refused:
            worker.acceptor.require_room()
        assert refused.value.retry_after == 1

    def test_full(self, connect: Connect) -> None:
        """A worker that is full accepts again when a connection has gone."""
        worker = Worker(max_connections=2)
        peers = []
        for _ in range(2):
            worker.acceptor.require_room()
            transport, peer = connect()
            worker.acceptor.open_stream(transport, ALICE, b"")
            peers.append(peer)
        refusals = metrics.value("notifier_limited_total", limit="max_connections")
        with pytest.raises(TooManyConnections) as refused:
            worker.acceptor.require_room()
        assert refused.value.retry_after == 5
        assert metrics.value("notifier_limited_total", limit="max_connections") == refusals + 1
        peers[0].close()
        until(lambda: len(worker.connections) == 1)
        worker.acceptor.require_room()

    def test_strangers_make_room(self, connect: Connect) -> None:
        """When a worker is full, the oldest connection without a hello makes room."""
        worker = Worker(max_connections=3)
        worker.acceptor.open_stream(connect()[0], ALICE, b"")
        strangers = [connect() for _ in range(2)]
        for transport, _ in strangers:
            worker.acceptor.open_stream(transport, None, b"")
        worker.acceptor.require_room()
        assert [transport.is_open for transport, _ in strangers] == [False, True]
        assert len(worker.connections) == 2

    def test_few_strangers(self, connect: Connect) -> None:
        """Connections without a hello, echoes among them, hold a part of the places only."""
        worker = Worker(max_connections=100, strangers=3)
        transports = [connect()[0] for _ in range(6)]
        for number, transport in enumerate(transports):
            if number % 2:
                worker.acceptor.open_echo(transport, b"")
            else:
                worker.acceptor.open_stream(transport, None, b"")
        assert [transport.is_open for transport in transports] == [False] * 3 + [True] * 3
        assert len(worker.connections) == len(worker.strangers) == 3

    def test_address_with_many_strangers(self, connect: Connect) -> None:
        """An address displaces its own strangers, not those of others; the operator can see that in a metric."""
        worker = Worker(max_connections=100, strangers=32)
        before = metrics.value("notifier_limited_total", limit="address_strangers")
        others = [connect()[0] for _ in range(6)]
        for number, transport in enumerate(others):
            worker.acceptor.open_stream(transport, None, b"", None if number % 2 else number)
        floods = [connect()[0] for _ in range(60)]
        for transport in floods:
            worker.acceptor.open_stream(transport, None, b"", 99)
        assert all(transport.is_open for transport in others)
        assert [transport.is_open for transport in floods] == [False] * 34 + [True] * 26
        late = [connect()[0] for _ in range(24)]
        for number, transport in enumerate(late):
            worker.acceptor.open_stream(transport, None, b"", 100 + number)
        assert all(transport.is_open for transport in others + late)
        assert sum(transport.is_open for transport in floods) == 2  # its share
        assert metrics.value("notifier_limited_total", limit="address_strangers") - before == 58
        worker.acceptor.open_stream(connect()[0], None, b"", 200)
        assert [transport.is_open for transport in others] == [False] + [True] * 5

    @pytest.mark.parametrize("kind", ["strangers", "users"])
    def test_hello_timeout(self, connect: Connect, clock: Clock, kind: str) -> None:
        """The hello timeout shortens while strangers hold most of their places, or users most of all."""
        worker = Worker(max_connections=20, strangers=5)
        identity = None if kind == "strangers" else ALICE
        timeouts = []
        for _ in range(22 if identity else 7):
            transport, _ = connect()
            worker.acceptor.open_stream(transport, identity, b"")
            [opened] = [each for each in worker.connections if each.transport is transport]
            assert isinstance(opened, StreamConnection)
            timeouts.append(opened.session.next_tick() - clock.now)
        shorter = [*[pytest.approx(timeout) for timeout in (10, 10, 10, 8.5, 5.5)], 2.5, 2.5]
        assert timeouts == (16 * [10] + shorter[1:] if identity else shorter)

    def test_no_stranger(self, connect: Connect) -> None:
        """A connection whose client has authenticated keeps its place, and one that is closed has none."""
        worker = Worker(max_connections=100, strangers=1)
        transport, peer = connect()
        worker.acceptor.open_stream(transport, ALICE, raw.text(type="hello"))
        assert len(worker.strangers) == 0
        stranger, other = connect()
        worker.acceptor.open_stream(stranger, None, b"")
        assert len(worker.strangers) == 1
        other.close()
        until(lambda: not worker.strangers)
        assert transport.is_open

    @pytest.mark.parametrize("kind", [StreamConnection, EventConnection, PollConnection])
    def test_users(self, connect: Connect, kind: Any) -> None:
        """A connection whose request has a token counts for the user, and those that are too many are strangers."""
        worker = Worker(max_connections=100, strangers=2, user_connections=3)
        opened = [connect() for _ in range(6)]
        for transport, _ in opened:
            if kind is StreamConnection:
                worker.acceptor.open_stream(transport, ALICE, b"")
            else:
                worker.acceptor.open_plain(kind, transport, ALICE, Ask(b"", Hello(), wait=10))
        assert [transport.is_open for transport, _ in opened] == [True] * 3 + [False] + [True] * 2
        assert len(worker.connections) == len(worker.addresses) == 5 and len(worker.strangers) == 2
        worker.acceptor.open_stream(connect()[0], ALICE._replace(user="bob"), b"")
        assert len(worker.strangers) == 2
        for _, peer in opened:
            peer.close()
        until(lambda: len(worker.connections) == 1)
        assert len(worker.users.streams) == 1 and not worker.strangers

    def test_hellos_of_a_user(self, connect: Connect) -> None:
        """A hello counts once for its user. One that is too many is closed with 4005, and stays a stranger."""
        worker = Worker(max_connections=100, strangers=2, user_connections=2)
        peers = []
        for _ in range(5):
            transport, peer = connect()
            peers.append(peer)
            worker.acceptor.open_stream(transport, ALICE, raw.text(type="hello"))
            turn()
        worker.acceptor.open_stream(connect()[0], None, b"")
        until(lambda: peers[4].frames())
        assert [frame.close_code for peer in peers[3:] for frame in peer.frames()] == [4005, 4005]
        assert len(worker.strangers) == 2 and len(worker.connections) == 4
        for peer in peers[:2]:
            peer.close()
        until(lambda: not worker.users.streams)

    def test_closing(self, connect: Connect) -> None:
        """Connections that are closing count for no user. When a worker is full, they make room before strangers."""
        worker = Worker(max_connections=3, user_connections=1)
        transports = [connect()[0] for _ in range(5)]
        worker.acceptor.open_stream(transports[0], None, b"")
        for transport in transports[1:3]:
            worker.acceptor.open_stream(transport, ALICE, b"")
            [connection] = [each for each in worker.connections if each.transport is transport]
            connection.close(Restarting())
        assert len(worker.strangers) == 1 and not worker.users.streams
        for transport, evicted in zip((*transports[3:], connect()[0]), (1, 2, 0), strict=True):
            worker.acceptor.require_room()
            assert not transports[evicted].is_open and len(worker.connections) == 2
            worker.acceptor.open_stream(transport, None, b"")

    @pytest.mark.parametrize("kind", ["frame", "fragments", "echo"])
    def test_unfinished_messages(self, connect: Connect, kind: str) -> None:
        """Strangers share the memory for messages that have not arrived in full: those that began first are closed."""
        worker = Worker(max_connections=100, strangers=9, stranger_bytes=100_000)
        part = raw.frame(raw.TEXT, 30_000 * b"x", fin=False) if kind == "fragments" else raw.frame(1, 60_000 * b"x")
        transports = []
        for number in range(6):
            transport, peer = connect()
            transports.append(transport)
            (worker.acceptor.open_echo if kind == "echo" else partial(worker.acceptor.open_stream, identity=None))(
                transport, early=b""
            )
            peer.send(part[:30_000])
            until(lambda number=number: sum(size > 29_900 for size in worker.buffered) > number)  # type: ignore[misc]
            assert sum(transport.is_open for transport in transports) == min(number + 1, 2)
        assert transports[-1].is_open and worker.strangers.unfinished < 100_000

    def test_finished_messages(self, connect: Connect) -> None:
        """A message that arrives in full, and a stranger who authenticates or leaves, free what they needed."""
        worker = Worker(max_connections=100)
        peers: list[Peer] = []
        connections: dict[Connection, None] = {}
        for _ in range(3):
            transport, peer = connect()
            worker.acceptor.open_stream(transport, None, b"")
            ping = raw.frame(raw.PING, 100 * b"x")
            peer.send(ping[:50])
            peers.append(peer)
            connections |= dict.fromkeys(worker.connections)
        until(lambda: worker.strangers.unfinished > 3 * 4096)
        worker.strangers.forget(next(iter(connections)))
        for peer in peers[:2]:
            peer.send(ping[50:])
        peers[2].close()
        until(lambda: not worker.strangers.unfinished)
        peers[0].send(ping[:50])
        turn()
        assert not worker.strangers.unfinished and len(worker.connections) == 2

    def test_full_while_draining(self, connect: Connect, clock: Clock) -> None:
        """A draining worker rejects no connection for lack of room: it closes all connections anyway."""
        worker = Worker(max_connections=2)
        held(worker, clock, 2)
        worker.acceptor.drain()
        worker.acceptor.require_room()


class TestOpening:
    def test_stream(self, connect: Connect) -> None:
        """A stream begins with the bytes that came with the handshake, and knows who asked."""
        worker = Worker()
        transport, _ = connect()
        worker.acceptor.open_stream(transport, ALICE, raw.text(type="hello"))
        until(lambda: worker.actions)
        assert worker.actions == [Attach(None, (), ())]
        [connection] = worker.connections
        assert connection.session.identity is ALICE  # type: ignore[attr-defined]

    def test_numbers(self, connect: Connect) -> None:
        """Each connection of a worker has a number of its own."""
        worker = Worker()
        for _ in range(3):
            worker.acceptor.open_stream(connect()[0], ALICE, b"")
        assert {connection.number for connection in worker.connections} == {1, 2, 3}  # type: ignore[attr-defined]

    def test_echo(self, connect: Connect) -> None:
        worker = Worker()
        transport, peer = connect()
        worker.acceptor.open_echo(transport, raw.frame(raw.TEXT, b"hello"))
        peer.read_exactly(7)
        assert raw.frames_in(peer.data) == [raw.Frame(raw.TEXT, b"hello")]

    @pytest.mark.parametrize("kind", [EventConnection, PollConnection])
    def test_plain(self, connect: Connect, kind: type[EventConnection]) -> None:
        """A plain request is answered with its head, and its hello is processed immediately."""
        worker = Worker()
        transport, peer = connect()
        worker.acceptor.open_plain(kind, transport, ALICE, Ask(b"HEAD", Hello(), wait=10))
        assert peer.read().startswith(b"HEAD")
        assert worker.actions == [Attach(None, (), ())]

    def test_failure(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that cannot begin is closed, not held."""
        worker = Worker()
        transport, peer = connect()

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Connection, "start", fail)
        with pytest.raises(ZeroDivisionError):
            worker.acceptor.open_stream(transport, ALICE, b"")
        assert (worker.connections, transport.state) == (set(), TransportState.CLOSED)
        assert peer.read_all() == b""

    def test_while_draining(self, connect: Connect, clock: Clock) -> None:
        """A connection that comes too late is closed like all others."""
        worker = Worker()
        worker.acceptor.drain()
        transport, peer = connect()
        worker.acceptor.open_echo(transport, b"")
        [connection] = worker.connections
        assert connection.state is ConnectionState.CLOSING
        assert [frame.close_code for frame in peer.frames()] == [1012]


class TestDraining:
    def test_each(self, clock: Clock) -> None:
        """Each connection is sent the time to reconnect, then closed with 1012."""
        worker = Worker()
        for connection in held(worker, clock, 20):
            worker.acceptor.drain()
            (drain, retry_after), close = connection.calls
            assert (drain, close) == ("drain", ("close", Restarting))
            assert 0 <= retry_after <= 1000

    def test_pace(self, clock: Clock) -> None:
        """Connections are closed evenly, 400 a second by all workers together."""
        worker = Worker(workers=4)
        connections = held(worker, clock, 200)
        worker.acceptor.drain()
        times = sorted(connection.closed_at - 1000 for connection in connections)
        assert times == pytest.approx([number / 100 for number in range(200)])

    def test_drain_timeout(self, clock: Clock) -> None:
        """Where the pace would take longer than the drain timeout, the pace is higher."""
        worker = Worker(drain_timeout=1)
        connections = held(worker, clock, 800)
        worker.acceptor.drain()
        times = sorted(connection.closed_at - 1000 for connection in connections)
        assert times == pytest.approx([number / 800 for number in range(800)])

    def test_late(self, clock: Clock) -> None:
        """Time that was lost is made up for: the pace counts from the beginning."""
        clock.late = 0.001
        worker = Worker()
        connections = held(worker, clock, 400)
        worker.acceptor.drain()
        assert max(connection.closed_at for connection in connections) < 1001.01

    def test_clients_that_close(self, clock: Clock) -> None:
        """When the last client has closed, nothing is waited for any more."""
        worker = Worker()
        held(worker, clock, 4)
        worker.acceptor.drain()
        assert clock.now == pytest.approx(1000.0075)

    def test_clients_that_do_not_close(self, clock: Clock) -> None:
        """Clients that do not close have two seconds."""
        worker = Worker()
        held(worker, clock, 4, is_stubborn=True)
        worker.acceptor.drain()
        assert clock.now == pytest.approx(1002, abs=0.1)

    def test_nothing_to_close(self, clock: Clock) -> None:
        worker = Worker()
        worker.acceptor.drain()
        assert (worker.acceptor.is_draining, clock.now) == (True, 1000)

    def test_once(self, clock: Clock) -> None:
        """A second caller closes nothing again, and waits until the first is done."""
        worker = Worker()
        [connection] = held(worker, clock, 1)
        ends: list[str] = []

        def drain_again() -> None:
            worker.acceptor.drain()
            ends.append("second")

        second = threading.Thread(target=drain_again)

        def close(disconnect: Disconnect) -> None:
            second.start()
            second.join(0.01)
            assert worker.acceptor.is_draining and second.is_alive()
            connection.transport.is_open = False
            ends.append("first")

        connection.close = close  # type: ignore[method-assign]
        worker.acceptor.drain()
        second.join(DEADLINE)
        assert (ends, len(connection.calls)) == (["first", "second"], 1)

    def test_connections(self, connect: Connect, clock: Clock) -> None:
        """On sockets: echoes get nothing but 1012; a stream that was not welcomed gets nothing else either."""
        worker = Worker()
        peers = []
        for _ in range(2):
            transport, peer = connect()
            worker.acceptor.open_echo(transport, b"")
            peers.append(peer)
        transport, peer = connect()
        worker.acceptor.open_stream(transport, ALICE, b"")
        peers.append(peer)
        worker.acceptor.drain()
        for peer in peers:
            assert [frame.close_code for frame in peer.frames()] == [1012]
            peer.close()
        until(lambda: not worker.connections)
