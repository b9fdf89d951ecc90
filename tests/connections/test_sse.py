"""Event connections on socket pairs: Server-Sent Events as an answer to a plain request."""

import gc
import sys
from collections.abc import Callable
from enum import Enum
from types import FunctionType

import gevent
import pytest

from notifier.connections.sse import Ask, EventConnection
from notifier.connections.states import ConnectionState, TransportState
from notifier.connections.stream import StreamHooks
from notifier.errors import Restarting
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.frames import Hello, Subscribe
from notifier.protocol.session import Rules, SendPing, Session
from notifier.protocol.subscribing import Attach, Join
from tests.connections.conftest import ALICE, RULES, Calls, Connect, fall_behind, pass_time
from tests.kit.clock import Clock
from tests.kit.link import Peer, turn, until

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
HELLO = Hello()
HERE = Cursor(2000, 0)
Loop = type(gevent.get_hub().loop)
Open = Callable[..., tuple[EventConnection, Peer]]


@pytest.fixture
def open_(connect: Connect, calls: Calls, clock: Clock) -> Open:
    """Return a function that opens a connection for a request."""

    def open_(hello: Hello = HELLO, *joins: Subscribe, **options: int) -> tuple[EventConnection, Peer]:
        transport, peer = connect(**options)
        session = Session(RULES, clock.now, ALICE)
        connection = EventConnection(transport, calls.hooks, session, number=1)
        connection.begin(Ask(HEAD, hello, joins))
        return connection, peer

    return open_


@pytest.fixture
def live(open_: Open, calls: Calls) -> Open:
    """Return a function that opens a connection which is welcomed and has missed nothing."""

    def live(**options: int) -> tuple[EventConnection, Peer]:
        connection, peer = open_(**options)
        connection.session.welcomed()
        calls.actions.clear()
        turn()
        peer.read()
        peer.data = b""
        return connection, peer

    return live


class TestBeginning:
    def test_request(self, open_: Open, calls: Calls) -> None:
        """The request is a hello and subscriptions; its answer begins before Redis is asked for anything."""
        _, peer = open_(Hello(since="5-0", topics=("news",)), Subscribe(topic="orders", since="7-0", ref="orders"))
        assert peer.read() == HEAD
        assert calls.actions == [Attach(Cursor(5, 0), ("news",), ()), Join("orders", "orders", Cursor(7, 0))]

    def test_topic_not_granted(self, open_: Open, calls: Calls) -> None:
        """A subscription that is not granted is answered by an event, after the welcome."""
        calls.on_act = lambda connection, action: fall_behind(connection) and None
        connection, peer = open_(HELLO, Subscribe(topic="secret"))
        assert peer.read() == HEAD
        assert connection.catch_up and b'"forbidden"' in connection.catch_up.take_deferred()[0]

    def test_request_that_must_not_be(self, open_: Open) -> None:
        """A violation is reported in an event with the code that a WebSocket would be closed with."""
        connection, peer = open_(Hello(topics=tuple(f"topic-{number}" for number in range(101))))
        assert peer.read_all() == HEAD + b'data: {"type":"close","code":4500,"reason":"at most 100 topics"}\n\n'
        assert connection.state is ConnectionState.CLOSING

    def test_bytes_behind_the_request(self, live: Open) -> None:
        """Bytes that follow the request are ignored."""
        connection, peer = live()
        peer.send(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 100)
        turn()
        assert connection.is_open and connection._decoder is None
        assert peer.read() == b""


class TestFrames:
    def test_welcome(self, open_: Open) -> None:
        """The welcome has the cursor as its id, unless the client resumes: then its own one counts."""
        connection, peer = open_()
        fall_behind(connection)
        connection.welcome(b"{}", HERE)
        assert peer.read() == HEAD + b"id: 2000-0\ndata: {}\n\n"

    def test_welcome_on_resuming(self, open_: Open) -> None:
        connection, peer = open_()
        fall_behind(connection, since=Cursor(5, 0))
        connection.welcome(b"{}", HERE)
        assert peer.read() == HEAD + b"data: {}\n\n"

    def test_reply(self, live: Open) -> None:
        connection, peer = live()
        connection.reply(frames.ok(None, ("news",)))
        assert peer.read() == b'data: {"type":"ok","topics":["news"]}\n\n'

    def test_ping(self, live: Open, calls: Calls, clock: Clock) -> None:
        """A ping is a comment; its id is the cursor to resume from, while the connection is live."""
        connection, peer = live()
        pass_time(connection, clock, 25)
        assert calls.actions == [SendPing()]
        connection.ping(HERE)
        assert peer.read() == b": ping\nid: 2000-0\n\n"
        fall_behind(connection)
        connection.ping(HERE)
        assert peer.read() == b": ping\n\n"

    def test_live_after_resuming(self, live: Open) -> None:
        connection, peer = live()
        fall_behind(connection, since=Cursor(5, 0))
        connection.caught_up(HERE)
        assert peer.read() == b": ping\nid: 2000-0\n\n"


class TestEnd:
    def test_no_answer_is_needed(self, live: Open, calls: Calls, clock: Clock) -> None:
        """A client that cannot answer pings is not closed for it."""
        connection, _ = live()
        pass_time(connection, clock, 200)
        assert connection.is_open
        assert len(calls.actions) == 8

    def test_slow_client(self, live: Open, clock: Clock) -> None:
        """A client that reads nothing for the lag timeout is closed nevertheless."""
        connection, _ = live(buffer=4096)
        connection.deliver(b"x" * 500_000)
        pass_time(connection, clock, 60 + 15)
        assert connection.state is ConnectionState.CLOSING

    def test_drain(self, live: Open) -> None:
        """A browser's own EventSource is sent the time to reconnect, too."""
        connection, peer = live()
        connection.drain(500)
        connection.close(Restarting())
        assert peer.read_all().split(b"\n\n") == [
            b"retry: 500",
            b'data: {"type":"drain","retry_after_ms":500}',
            b'data: {"type":"close","code":1012,"reason":"%b"}' % Restarting().text.encode(),
            b"",
        ]

    def test_client_that_leaves(self, live: Open, calls: Calls) -> None:
        connection, peer = live()
        peer.close()
        until(lambda: connection.state is ConnectionState.ENDED)
        assert calls.names == ["stop", "closed"]

    def test_client_that_does_not_close(self, live: Open, clock: Clock) -> None:
        connection, peer = live()
        connection.close(Restarting())
        peer.read_all()
        pass_time(connection, clock, 6)
        assert (connection.state, connection.transport.state) == (ConnectionState.ENDED, TransportState.CLOSED)


def test_idle_memory(live: Open) -> None:
    """An idle stream needs few bytes of its own: none for limits that all share, or for deadlines that have passed."""
    one, other = live()[0], live()[0]
    shared = objects_of(other)
    assert sum(sys.getsizeof(each) for id, each in objects_of(one).items() if id not in shared) <= 640


def objects_of(connection: EventConnection) -> dict[int, object]:
    """Return the objects that a connection holds, by id, without those of its worker."""
    found: dict[int, object] = {}
    waiting: list[object] = [connection]
    while waiting:
        each = waiting.pop()
        if id(each) not in found and not isinstance(each, type | FunctionType | Enum | StreamHooks | Rules | Loop):
            found[id(each)] = each
            waiting += gc.get_referents(each)
    return found
