"""Stream connections on socket pairs: a session with its hooks, and what else is sent on it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from notifier.connections.states import ConnectionState, TransportState
from notifier.connections.stream import StreamConnection
from notifier.errors import Disconnected, RateExceeded, Restarting, TooSlow
from notifier.protocol import frames
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.session import SendPing, Session, State
from notifier.protocol.subscribing import Attach, Join
from tests.connections.conftest import ALICE, LAG_TIMEOUT, RULES, Calls, Connect, fall_behind, pass_time
from tests.kit import raw
from tests.kit.clock import Clock
from tests.kit.link import Peer, turn, until

HELLO = raw.text(type="hello", token="alice", topics=["news"])
OK = frames.ok("1", ("news",))
STATE = b'{"type":"state"}'
HERE = Cursor(2000, 0)
Open = Callable[..., tuple[StreamConnection, Peer]]


@pytest.fixture
def open_(connect: Connect, calls: Calls, clock: Clock) -> Open:
    """Return a function that opens a connection before its hello."""

    def open_(identity: Identity | None = None, **options: int) -> tuple[StreamConnection, Peer]:
        transport, peer = connect(**options)
        session = Session(RULES, clock.now, identity)
        connection = StreamConnection(transport, calls.hooks, session, number=1)
        connection.start(b"")
        return connection, peer

    return open_


@pytest.fixture
def live(open_: Open, calls: Calls) -> Open:
    """Return a function that opens a connection which is welcomed and has missed nothing."""

    def live(**options: int) -> tuple[StreamConnection, Peer]:
        connection, peer = open_(**options)
        connection.on_bytes(HELLO)
        connection.session.welcomed()
        calls.actions.clear()
        calls.scheduled.clear()
        return connection, peer

    return live


def received(peer: Peer) -> list[Any]:
    """Return what a client has received: JSON of text frames, and the name or close code of other ones."""
    peer.read()
    data, peer.data = peer.data, b""
    return list(described(data))


def described(data: bytes) -> Iterator[Any]:
    for frame in raw.frames_in(data):
        if frame.opcode == raw.TEXT:
            yield json.loads(frame.payload)
        else:
            yield frame.close_code if frame.opcode == raw.CLOSE else {raw.PING: "ping", raw.PONG: "pong"}[frame.opcode]


def block(connection: StreamConnection) -> None:
    """Write what the client does not read."""
    assert connection.deliver(b"x" * 500_000)
    assert connection.transport.is_blocked


class TestFrames:
    def test_hello(self, open_: Open, calls: Calls) -> None:
        connection, peer = open_()
        peer.send(HELLO)
        until(lambda: calls.actions)
        assert calls.actions == [Attach(None, ("news",), ())]
        assert connection.channels == ["user:alice", "all", "topic:news"]

    def test_nearer_deadline(self, open_: Open, calls: Calls, clock: Clock) -> None:
        """A hello with a token that expires soon brings the next tick nearer."""
        connection, _ = open_(identity=ALICE._replace(expires=clock.now + 9))
        assert calls.scheduled == [clock.now + 9]
        connection, _ = open_()
        assert calls.scheduled[1:] == [clock.now + 10]  # the deadline of the hello
        clock.now += 9
        connection.on_bytes(HELLO)
        assert calls.scheduled[2:] == []  # the deadline of the welcome is later
        connection.session.welcomed()
        connection.session.identity = ALICE._replace(expires=clock.now + 0.5)
        connection.on_bytes(raw.text(type="unsubscribe", topic="news"))
        assert calls.scheduled[2:] == [clock.now + 0.5]

    def test_binary(self, live: Open) -> None:
        """Frames are text messages."""
        connection, peer = live()
        connection.on_bytes(raw.frame(raw.BINARY, b"{}"))
        assert received(peer) == [4500]

    def test_reply_of_the_session(self, live: Open) -> None:
        """A frame that fails is answered, and the connection stays."""
        connection, peer = live()
        connection.on_bytes(raw.text(type="subscribe", ref="1", topic="secret"))
        [answer] = received(peer)
        assert (answer["type"], answer["ref"], answer["problem"]["code"]) == ("error", "1", "forbidden")

    def test_action_that_fails(self, live: Open, calls: Calls) -> None:
        """An action that must end the connection ends it, and those behind it are not begun."""
        connection, peer = live()

        def refuse(*_: object) -> None:
            raise TooSlow

        calls.on_act = refuse
        connection.on_bytes(raw.text(type="subscribe", topic="news") * 2)
        assert (len(calls.actions), received(peer)) == (1, [4002])

    def test_channels(self, open_: Open) -> None:
        """A connection has its user's channel, `all`, its own topics, and those of its user, each once."""
        connection, _ = open_()
        assert connection.channels == []
        connection.on_bytes(HELLO)
        assert connection.set_memberships({"orders": BEGINNING, "news": BEGINNING}) == {}
        assert connection.channels == ["user:alice", "all", "topic:news", "topic:orders"]


class TestWelcome:
    def test_answers_wait(self, open_: Open) -> None:
        """No answer is sent before the welcome."""
        connection, peer = open_()
        connection.on_bytes(HELLO)
        catch_up = fall_behind(connection)
        connection.reply(OK)
        turn()
        assert (received(peer), catch_up.take_deferred()) == ([], [OK])

    def test_too_many_answers(self, open_: Open) -> None:
        """A client with too many pending replies before its welcome is closed."""
        connection, _ = open_()
        connection.on_bytes(HELLO)
        fall_behind(connection)
        for _ in range(200):
            connection.reply(OK)
        with pytest.raises(TooSlow):
            connection.reply(OK)

    def test_welcome(self, open_: Open) -> None:
        connection, peer = open_()
        connection.on_bytes(HELLO)
        fall_behind(connection)
        connection.welcome(b'{"type":"welcome"}', HERE)
        assert connection.session.state is State.READY
        connection.reply(OK)
        assert received(peer) == [{"type": "welcome"}, json.loads(OK)]

    def test_live(self, live: Open) -> None:
        """When all that was missed has been sent, topics are confirmed and the connection is live."""
        connection, peer = live()
        catch_up = fall_behind(connection)
        for ref in ("1", None):
            catch_up.confirm_later(ref)
        connection.caught_up(HERE)
        assert connection.catch_up is None
        assert received(peer) == [{"type": "ok", "ref": "1", "topics": ["news"]}, {"type": "ok", "topics": ["news"]}]

    def test_live_after_resuming(self, live: Open) -> None:
        """A client that resumed is sent a new cursor at once."""
        connection, peer = live()
        fall_behind(connection, since=Cursor(500, 0))
        connection.caught_up(HERE)
        assert received(peer) == [{"type": "ping", "cursor": "2000-0"}]


class TestState:
    def test_sent(self, live: Open, calls: Calls) -> None:
        connection, peer = live()
        connection.send_state(STATE)
        assert (received(peer), calls.names) == ([{"type": "state"}], [])

    def test_before_the_welcome(self, open_: Open, calls: Calls) -> None:
        """Before the welcome a state frame stays pending, and is requested after it."""
        connection, peer = open_()
        connection.on_bytes(HELLO)
        fall_behind(connection)
        connection.send_state(STATE)
        connection.session.welcomed()
        assert (received(peer), calls.names) == ([], [])
        connection.caught_up(HERE)
        assert (received(peer), calls.names) == ([], ["request_state"])

    def test_while_behind(self, live: Open, calls: Calls) -> None:
        connection, peer = live()
        fall_behind(connection)
        connection.send_state(STATE)
        assert received(peer) == []
        connection.caught_up(HERE)
        assert calls.names == ["request_state"]

    def test_while_blocked(self, live: Open, calls: Calls) -> None:
        """A client that does not read is sent the state once it has read everything else."""
        connection, peer = live(buffer=4096)
        block(connection)
        connection.send_state(STATE)
        peer.read_until(lambda: calls.names)
        assert calls.names == ["request_state"]
        assert len(peer.data) == 500_000

    def test_live_while_blocked(self, live: Open, calls: Calls) -> None:
        """A connection that goes live while its client does not read requests the state later."""
        connection, peer = live(buffer=4096)
        fall_behind(connection)
        connection.send_state(STATE)
        block(connection)
        connection.caught_up(HERE)
        assert calls.names == []
        peer.read_until(lambda: calls.names)
        assert calls.names == ["request_state"]

    def test_newer_state(self, live: Open, calls: Calls) -> None:
        """A state that was sent replaces one that was pending."""
        connection, peer = live()
        catch_up = fall_behind(connection)
        connection.send_state(STATE)
        connection.catch_up = None
        connection.send_state(STATE)
        connection.begin_catch_up(catch_up)
        connection.caught_up(HERE)
        assert (received(peer), calls.names) == ([{"type": "state"}], [])

    def test_closed(self, live: Open, calls: Calls) -> None:
        """A connection that is closing requests nothing."""
        connection, _ = live()
        fall_behind(connection)
        connection.send_state(STATE)
        connection.close(Restarting())
        connection.caught_up(HERE)
        assert calls.names == ["stop"]


class TestSlowClients:
    def test_delivery(self, live: Open) -> None:
        """A frame that the backlog has no room for is not taken, and the connection stays open."""
        connection, _ = live(limit=1000, buffer=4096)
        while connection.transport.state is TransportState.OPEN:
            assert connection.deliver(b"x" * 500)
        assert not connection.deliver(b"x" * 1001)
        assert connection.is_open

    def test_replay_continues(self, live: Open, calls: Calls) -> None:
        """A connection that is behind is replayed again as soon as its client has read what waited."""
        connection, peer = live(buffer=4096)
        block(connection)
        fall_behind(connection)
        peer.read_until(lambda: calls.names)
        assert calls.names == ["drained"]

    def test_lag_timeout(self, live: Open, clock: Clock) -> None:
        """A client that reads nothing for the lag timeout is closed with 4002; its heartbeat does not count."""
        connection, peer = live(buffer=4096)
        block(connection)
        pass_time(connection, clock, LAG_TIMEOUT)
        assert connection.is_open
        pass_time(connection, clock, 15)  # until the third heartbeat: it is noticed by a tick
        assert (connection.state, connection.transport.state) == (ConnectionState.CLOSING, TransportState.FINISHING)
        assert raw.frames_in(peer.read_all()[500_000:])[-1].close_code == 4002

    def test_progress(self, live: Open, clock: Clock) -> None:
        """A client that reads slowly stays."""
        connection, peer = live(buffer=4096)
        block(connection)
        for _ in range(4):
            pass_time(connection, clock, LAG_TIMEOUT - 10)
            before = connection.transport.blocked_since
            until(lambda before=before: peer.read(5000) and connection.transport.blocked_since > before)
        assert connection.is_open and connection.transport.is_blocked

    def test_dead_client(self, live: Open, clock: Clock, calls: Calls) -> None:
        """A client that does not even read its close frame is cut off five seconds later."""
        connection, _ = live(buffer=4096)
        block(connection)
        pass_time(connection, clock, LAG_TIMEOUT + 15 + 6)
        assert (connection.state, connection.transport.state) == (ConnectionState.ENDED, TransportState.CLOSED)
        assert calls.names == ["stop", "closed"]


class TestTime:
    def test_hello_timeout(self, open_: Open, clock: Clock) -> None:
        connection, peer = open_()
        pass_time(connection, clock, 9.5)
        assert connection.is_open
        pass_time(connection, clock, 0.5)
        assert received(peer) == [4003]

    def test_welcome_timeout(self, open_: Open, clock: Clock) -> None:
        """While Redis cannot be reached, no connection is welcomed: 4004 after ten seconds."""
        connection, peer = open_()
        connection.on_bytes(HELLO)
        pass_time(connection, clock, 10)
        assert received(peer) == [4004]

    def test_ping(self, live: Open, calls: Calls, clock: Clock) -> None:
        """The session asks for a ping after each heartbeat, which the worker sends with its cursor."""
        connection, peer = live()
        for _ in range(3):
            pass_time(connection, clock, 25)
            assert calls.actions == [SendPing()]
            calls.actions.clear()
            connection.ping(HERE)
            assert received(peer) == [{"type": "ping", "cursor": "2000-0"}, "ping"]
            connection.on_bytes(raw.frame(raw.PONG))
        assert connection.is_open

    def test_ping_while_behind(self, live: Open) -> None:
        """A ping has no cursor while something that was missed is not sent."""
        connection, peer = live()
        fall_behind(connection)
        connection.ping(HERE)
        assert received(peer) == [{"type": "ping"}, "ping"]

    def test_ping_before_the_welcome(self, open_: Open) -> None:
        connection, peer = open_()
        connection.ping(HERE)
        assert received(peer) == [{"type": "ping"}, "ping"]

    def test_ping_timeout(self, live: Open, clock: Clock) -> None:
        """A client that shows no sign of life between two pings is closed with 4000."""
        connection, peer = live()
        pass_time(connection, clock, 49.5)
        assert connection.is_open
        pass_time(connection, clock, 0.5)
        assert received(peer) == [4000]

    def test_reading_is_a_sign_of_life(self, live: Open, clock: Clock) -> None:
        """A client that reads what waited needs no pong."""
        connection, peer = live(buffer=4096)
        pass_time(connection, clock, 25)
        block(connection)
        peer.read_until(lambda: not connection.transport.is_blocked)
        pass_time(connection, clock, 25)
        assert connection.is_open

    def test_expiring_token(self, live: Open, clock: Clock) -> None:
        """A client is warned before its token expires, and closed when it does."""
        connection, peer = live()
        connection.session._adopt(ALICE._replace(expires=clock.now + 20), clock.now)
        connection._schedule(connection._next_tick())
        pass_time(connection, clock, 10)
        assert received(peer) == [{"type": "expiring", "in": 10}]
        pass_time(connection, clock, 10)
        assert received(peer) == [4001]


class TestEnd:
    def test_drain(self, live: Open) -> None:
        """Clients are sent the time to reconnect, then closed."""
        connection, peer = live()
        connection.drain(500)
        connection.close(Restarting())
        assert received(peer) == [{"type": "drain", "retry_after_ms": 500}, 1012]

    def test_drain_before_the_welcome(self, open_: Open) -> None:
        """Nothing but the close frame is sent before the welcome."""
        connection, peer = open_()
        connection.drain(500)
        connection.close(Restarting())
        assert received(peer) == [1012]

    @pytest.mark.parametrize("disconnect, expected", [(Disconnected(), True), (Restarting(), False)])
    def test_disconnected(self, live: Open, disconnect: Any, expected: bool) -> None:
        """A connection that the API disconnects is marked, so that its pending actions are not run."""
        connection, _ = live()
        assert not connection.is_disconnected
        connection.close(disconnect)
        assert connection.is_disconnected is expected

    def test_disconnected_while_closing(self, live: Open, calls: Calls) -> None:
        """A connection that is closing for another reason is marked, too."""
        connection, peer = live()
        connection.close(Restarting())
        connection.close(Disconnected())
        connection.close(Restarting())
        assert connection.is_disconnected
        assert (received(peer), calls.names) == ([1012], ["stop"])

    def test_unsubscribed_before_the_last_frame(self, live: Open, calls: Calls) -> None:
        """Nothing is sent after the close frame, whatever the hook `stop` does, and the hook is called once."""
        connection, peer = live()
        connection.on_bytes(raw.close(1000))
        assert calls.names == ["stop"]
        peer.close()
        until(lambda: connection.state is ConnectionState.ENDED)
        assert calls.names == ["stop", "closed"]

    def test_frames_after_the_end(self, live: Open, calls: Calls) -> None:
        """Data that is sent to a client that has disconnected is dropped."""
        connection, peer = live()
        peer.close()
        until(lambda: connection.state is ConnectionState.ENDED)
        assert connection.deliver(b"x")
        connection.reply(OK)
        connection.send_state(STATE)
        connection.ping(HERE)
        connection.drain(1)
        assert calls.names == ["stop", "closed"]


def test_subscribe(live: Open, calls: Calls) -> None:
    connection, _ = live()
    connection.on_bytes(raw.text(type="subscribe", ref="1", topic="orders", since="5-0"))
    assert calls.actions == [Join("1", "orders", Cursor(5, 0))]


def test_counted(open_: Open, calls: Calls) -> None:
    """Each frame of a client that has authenticated counts, pings too; a hook may close the connection."""
    received: list[StreamConnection] = []

    def count(connection: StreamConnection) -> None:
        received.append(connection)
        if len(received) > 2:
            raise RateExceeded

    calls.hooks = replace(calls.hooks, received=count)
    connection, peer = open_()
    connection.on_bytes(HELLO)
    connection.session.welcomed()
    assert received == []
    connection.on_bytes(raw.frame(raw.PING) + raw.frame(raw.PONG) + raw.frame(raw.PING))
    assert received == [connection] * 3
    assert connection.state is not ConnectionState.OPEN


@pytest.mark.parametrize(("token", "count"), [("wrong", 1), ("expired", 0)])
def test_refused(open_: Open, calls: Calls, token: str, count: int) -> None:
    """A token in a hello that is not valid is noted; one that has expired is not."""
    refused: list[StreamConnection] = []
    calls.hooks = replace(calls.hooks, refused=refused.append)
    connection, _ = open_()
    connection.on_bytes(raw.text(type="hello", token=token))
    assert len(refused) == count and not connection.is_open


def test_refused_again(open_: Open, calls: Calls) -> None:
    """A fresh token that is not valid is noted, too; a hook may close the connection."""
    refused: list[StreamConnection] = []

    def refuse(connection: StreamConnection) -> None:
        refused.append(connection)
        if len(refused) > 1:
            raise RateExceeded

    calls.hooks = replace(calls.hooks, refused=refuse)
    connection, _ = open_()
    connection.on_bytes(HELLO)
    connection.session.welcomed()
    connection.on_bytes(raw.text(type="auth", token="wrong"))
    assert connection.is_open
    connection.on_bytes(raw.text(type="auth", token="wrong"))
    assert len(refused) == 2 and connection.state is not ConnectionState.OPEN
