"""Poll connections on socket pairs: what ends a poll, and when."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from notifier.connections.poll import PollConnection
from notifier.connections.sse import Ask
from notifier.connections.states import ConnectionState, TransportState
from notifier.connections.stream import StreamConnection
from notifier.errors import Restarting
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import NOTIFICATION, Entry
from notifier.protocol.frames import Hello
from notifier.protocol.framing import POLL
from notifier.protocol.session import Action, SendPing, Session
from tests.connections.conftest import ALICE, RULES, Calls, Connect, fall_behind, pass_time
from tests.kit.clock import Clock
from tests.kit.link import Peer, turn, until

HERE = Cursor(2000, 0)
SINCE = Cursor(500, 0)
NEWS = POLL.frame(b'{"type":"notification"}')
STATE = b'{"type":"state"}'
LAST_PING = {"type": "ping", "cursor": "2000-0"}
Open = Callable[..., tuple[PollConnection, Peer]]


@pytest.fixture
def open_(connect: Connect, calls: Calls, clock: Clock) -> Open:
    """Return a function that opens a poll which is welcomed. With a cursor and a `wait` it may wait."""

    def act(connection: StreamConnection, action: Action) -> None:
        if action == SendPing():
            connection.ping(HERE)  # as the worker does

    calls.on_act = act

    def open_(since: str | None = "500-0", wait: float = 20, **options: int) -> tuple[PollConnection, Peer]:
        transport, peer = connect(**options)
        session = Session(RULES, clock.now, ALICE)
        connection = PollConnection(transport, calls.hooks, session, number=1)
        connection.begin(Ask(b"", Hello(since=since), wait=wait))
        connection.session.welcomed()
        calls.actions.clear()
        return connection, peer

    return open_


def waiting(connection: PollConnection, *, is_new: bool | None = None) -> PollConnection:
    """Send a poll everything that it missed, and return it.

    That was nothing; or if `is_new` is given, an entry that is new to the client, or one of the overlap.
    """
    catch_up = fall_behind(connection, since=SINCE)
    if is_new is not None:
        connection.deliver(NEWS)
        catch_up.sent([("all", Entry(b"600-0" if is_new else b"400-0", b"", NOTIFICATION, b"{}"))])
    connection.caught_up(HERE)
    return connection


def answered(peer: Peer) -> list[Any]:
    """Return the frames of a whole answer, without the ping that each begins with."""
    first, *others = json.loads(peer.read_all())["frames"]
    assert first == {"type": "ping"}
    return others


class TestWhatWasMissed:
    def test_news(self, open_: Open) -> None:
        """A poll ends with what was missed, and the cursor to poll from next."""
        connection, peer = open_()
        waiting(connection, is_new=True)
        assert answered(peer) == [{"type": "notification"}, LAST_PING]

    def test_nothing(self, open_: Open) -> None:
        """Where nothing was missed, a poll waits."""
        connection, peer = open_()
        waiting(connection)
        turn()
        assert connection.is_open and not peer.read().endswith(b"]}\n")

    def test_overlap(self, open_: Open, clock: Clock, calls: Calls) -> None:
        """Where a client is sent only what it most likely has, it waits for two seconds, not for its whole wait."""
        connection, peer = open_()
        waiting(connection, is_new=False)
        turn()
        assert calls.scheduled[-1] == clock.now + 2
        pass_time(connection, clock, 1.5)
        assert connection.is_open
        pass_time(connection, clock, 0.5)
        assert answered(peer) == [{"type": "notification"}, LAST_PING]

    @pytest.mark.parametrize("since, wait", [(None, 20), ("500-0", 0)], ids=["no cursor", "no wait"])
    def test_at_once(self, open_: Open, since: str | None, wait: float) -> None:
        """A poll without a cursor only asks for one; one without a wait ends at once in any case."""
        connection, peer = open_(since, wait)
        waiting(connection)
        assert answered(peer) == [LAST_PING]

    def test_while_behind(self, open_: Open, clock: Clock, calls: Calls) -> None:
        """A poll whose wait is over while it is replayed ends when all that was missed is sent."""
        connection, peer = open_()
        fall_behind(connection, since=SINCE)
        pass_time(connection, clock, 20)
        ticks = len(calls.scheduled)
        pass_time(connection, clock, 4)
        assert connection.is_open
        assert (calls.actions, len(calls.scheduled)) == ([SendPing()], ticks), "it ticks again and again"
        connection.deliver(NEWS)
        turn()
        assert connection.is_open, "what is replayed is not the last"
        connection.caught_up(HERE)
        assert answered(peer) == [{"type": "notification"}, LAST_PING]


class TestWhatComes:
    def test_entries(self, open_: Open) -> None:
        """A poll ends with the first entries, and everything that arrives with them."""
        connection, peer = open_()
        waiting(connection)
        connection.deliver(NEWS)
        connection.deliver(NEWS)
        connection.send_state(STATE)
        assert connection.is_open
        assert answered(peer) == [{"type": "notification"}] * 2 + [{"type": "state"}, {"type": "ping"}]
        assert connection.state is ConnectionState.CLOSING

    def test_state(self, open_: Open) -> None:
        connection, peer = open_()
        waiting(connection)
        connection.send_state(STATE)
        assert answered(peer) == [{"type": "state"}, {"type": "ping"}]

    def test_state_while_behind(self, open_: Open, calls: Calls) -> None:
        """A state that cannot be sent yet ends nothing; it is requested when the poll has caught up."""
        connection, _ = open_()
        fall_behind(connection, since=SINCE)
        connection.send_state(STATE)
        turn()
        assert connection.is_open
        connection.caught_up(HERE)
        assert calls.names == ["request_state"]

    def test_nothing(self, open_: Open, clock: Clock) -> None:
        """Where nothing comes, a poll ends after its wait with a new cursor."""
        connection, peer = open_()
        waiting(connection)
        pass_time(connection, clock, 19.5)
        assert connection.is_open
        pass_time(connection, clock, 0.5)
        assert answered(peer) == [LAST_PING]

    def test_slow_client(self, open_: Open) -> None:
        """A client that has read what was waiting for it is not a reason to end the poll."""
        connection, peer = open_(buffer=4096)
        waiting(connection)
        connection.transport.write(b" " * 500_000)
        peer.read_until(lambda: not connection.transport.is_blocked)
        assert connection.is_open

    def test_longer_than_a_heartbeat(self, open_: Open, clock: Clock) -> None:
        """No poll waits longer than a heartbeat."""
        connection, peer = open_(wait=1000)
        waiting(connection)
        pass_time(connection, clock, 25)
        assert answered(peer) == [LAST_PING]


class TestEnd:
    def test_slow_client(self, open_: Open) -> None:
        """Where a client does not read, the end comes behind everything else: it may not fit into the backlog."""
        connection, peer = open_(buffer=4096)
        waiting(connection)
        connection.deliver(POLL.frame(b'"%b"' % (b"x" * 500_000)))
        turn()
        assert connection.is_open and connection.transport.is_blocked
        assert answered(peer)[1:] == [LAST_PING]

    def test_slow_client_with_a_pending_state(self, open_: Open, calls: Calls) -> None:
        """A state that waits for the client to read is requested; the poll ends nevertheless."""
        connection, peer = open_(buffer=4096)
        waiting(connection)
        connection.deliver(POLL.frame(b'"%b"' % (b"x" * 500_000)))
        connection.send_state(STATE)
        assert answered(peer)[1:] == [LAST_PING]
        assert calls.names == ["request_state", "stop"]

    def test_ticks_after_the_end(self, open_: Open, clock: Clock, calls: Calls) -> None:
        """A client that does not close after the answer is cut off five seconds later."""
        connection, peer = open_()
        waiting(connection)
        pass_time(connection, clock, 20)
        answered(peer)
        calls.actions.clear()
        pass_time(connection, clock, 4.5)
        assert connection.state is ConnectionState.CLOSING
        pass_time(connection, clock, 1)
        assert (connection.state, connection.transport.state) == (ConnectionState.ENDED, TransportState.CLOSED)
        assert calls.actions == []

    def test_drain(self, open_: Open) -> None:
        """A poll that is closed is a whole answer, too."""
        connection, peer = open_()
        waiting(connection)
        connection.drain(500)
        connection.close(Restarting())
        drain, close = answered(peer)
        assert drain == {"type": "drain", "retry_after_ms": 500}
        assert (close["type"], close["code"]) == ("close", 1012)

    def test_entries_after_the_end(self, open_: Open) -> None:
        """An entry that arrives after a poll has ended is dropped: its client polls for it."""
        connection, peer = open_()
        waiting(connection)
        connection.ping(HERE)
        connection.deliver(NEWS)
        turn()
        assert answered(peer) == [LAST_PING]

    def test_client_that_leaves(self, open_: Open, calls: Calls) -> None:
        connection, peer = open_()
        waiting(connection)
        peer.close()
        until(lambda: connection.state is ConnectionState.ENDED)
        connection.deliver(NEWS)
        turn()
        assert calls.names == ["stop", "closed"]
