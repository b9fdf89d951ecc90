"""WebSocket connections on socket pairs: messages, pings, time, and the closing handshake in both directions."""

import contextlib
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from notifier.connections import websocket as module
from notifier.connections.states import ConnectionState, TransportState
from notifier.connections.transport import Transport, call_soon
from notifier.connections.websocket import CLOSING_TIME, Connection, Hooks
from notifier.errors import HeartbeatLost, Restarting, TooSlow
from notifier.protocol import websocket
from notifier.protocol.identity import KeysPending
from notifier.protocol.websocket import Binary, Text
from tests.connections.conftest import Connect
from tests.kit import metrics, raw
from tests.kit.clock import Clock
from tests.kit.link import Peer, turn, until

OPEN, CLOSING, ENDED = ConnectionState.OPEN, ConnectionState.CLOSING, ConnectionState.ENDED
MAX_MESSAGE = 1000


class Recorder(Connection):
    """A connection that records its events, and raises the exceptions that it is given."""

    def __init__(self, transport: Transport) -> None:
        self.calls: list[str] = []
        self.scheduled: list[float] = []
        self.messages: list[Text | Binary] = []
        self.activity = 0
        self.ticks: list[float] = []
        self.next_tick = time.time() + 20
        self.pending: list[KeysPending] = []  # raised by the next messages
        self.on_message: Callable[[], None] = lambda: None
        self.on_tick: Callable[[], None] = lambda: None
        hooks = Hooks(
            max_message=MAX_MESSAGE,
            schedule=lambda connection, due: self.scheduled.append(due),
            closed=lambda connection: self.calls.append("closed"),
        )
        super().__init__(transport, hooks)

    def _stop(self) -> None:
        self.calls.append("stop")

    def _receive(self, message: Text | Binary) -> None:
        if self.pending:
            raise self.pending.pop(0)
        self.messages.append(message)
        self.on_message()

    def _note_activity(self) -> None:
        self.activity += 1

    def _tick(self, now: float) -> None:
        self.ticks.append(now)
        self.on_tick()

    def _next_tick(self) -> float:
        return self.next_tick


Open = Callable[..., tuple[Recorder, Peer]]


@pytest.fixture
def open_(connect: Connect) -> Open:
    """Return a function that opens a connection, and returns it with its peer."""

    def open_(early: bytes = b"", **options: int) -> tuple[Recorder, Peer]:
        transport, peer = connect(**options)
        connection = Recorder(transport)
        connection.start(early)
        return connection, peer

    return open_


def message(text: str) -> bytes:
    return raw.frame(raw.TEXT, text.encode())


def fail(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class TestTurns:
    """A client that sends many frames at once must not keep others waiting."""

    @pytest.fixture(autouse=True)
    def patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count frames only: on a busy machine a turn's time may be over after any of them."""
        monkeypatch.setattr(module, "_TURN_TIME", 3600)

    def test_some_at_a_time(self, open_: Open) -> None:
        """Of many frames some are handled in each turn of the loop; others have their turn in between."""
        connection, peer = open_()
        most: list[int] = []
        since = 0

        def note() -> None:
            nonlocal since
            most.append(len(connection.messages) - since)
            since = len(connection.messages)
            if len(connection.messages) < 500:
                call_soon(note)

        call_soon(note)
        peer.send(b"".join(message(str(number)) for number in range(500)))
        until(lambda: len(connection.messages) == 500)
        assert [each.text for each in connection.messages] == [str(number) for number in range(500)]
        assert max(most) <= 32
        assert connection._decoder is None

    def test_reading_is_paused(self, open_: Open) -> None:
        """While frames wait for their turn, reading is paused; then it resumes."""
        connection, peer = open_()
        paused: list[bool] = []
        connection.on_message = lambda: paused.append(connection._decoder.is_waiting)  # type: ignore[union-attr]
        peer.send(b"".join(message(str(number)) for number in range(100)))
        until(lambda: len(connection.messages) == 100)
        assert paused == [False] * 32 + [True] * 68
        peer.send(message("next"))
        until(lambda: len(connection.messages) == 101)

    def test_slow_messages(self, open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        """A message that takes longer than a turn's time ends the turn."""
        monkeypatch.setattr(module, "_TURN_TIME", -1)
        connection, peer = open_()
        paused: list[bool] = []
        connection.on_message = lambda: paused.append(connection._decoder.is_waiting)  # type: ignore[union-attr]
        peer.send(b"".join(message(str(number)) for number in range(4)))
        until(lambda: len(connection.messages) == 4)
        assert paused == [False, True, True, True]

    def test_one_pong_for_many_pings(self, open_: Open) -> None:
        """Of the pings of a turn the last one is answered."""
        connection, peer = open_()
        peer.send(b"".join(raw.frame(raw.PING, b"%d" % number) for number in range(64)) + message("last"))
        until(lambda: connection.messages)
        assert peer.read() == websocket.encode_pong(b"31") + websocket.encode_pong(b"63")

    def test_closed_in_between(self, open_: Open) -> None:
        """A connection that is closed while frames wait handles none of them, and reads the client's close frame."""
        connection, peer = open_()
        connection.on_message = lambda: connection.close(Restarting()) if len(connection.messages) == 40 else None
        peer.send(b"".join(message(str(number)) for number in range(100)))
        until(lambda: connection.state is CLOSING)
        peer.close()
        until(lambda: connection.state is ENDED)
        assert len(connection.messages) == 40


class TestHeld:
    """A client whose work is not done yet."""

    def test_waits(self, open_: Open) -> None:
        """Frames behind the present one wait, and nothing is read, until the work is done. Then all are handled."""
        connection, peer = open_()
        connection.on_message = connection.hold
        peer.send(message("one") + raw.frame(raw.PING, b"1") + message("two"))
        until(lambda: connection.messages)
        peer.send(message("three"))
        turn()
        assert (connection.messages, peer.data) == ([Text("one")], b"")
        for text in ("two", "three"):
            connection.release()
            until(lambda text=text: connection.messages[-1] == Text(text))  # type: ignore[misc]
        assert peer.read() == websocket.encode_pong(b"1")
        connection.release()
        until(lambda: connection._decoder is None)

    def test_is_alive(self, open_: Open) -> None:
        """A client that is not read cannot show that it is alive, so it counts as alive."""
        connection, peer = open_()
        connection.on_message = connection.hold
        peer.send(message("one"))
        until(lambda: connection.messages)
        before = connection.activity
        connection.tick(time.time() + 100)
        assert connection.activity == before + 1
        connection.release()
        until(lambda: connection._decoder is None)
        before = connection.activity
        connection.tick(time.time() + 100)
        assert connection.activity == before

    def test_closed_meanwhile(self, open_: Open) -> None:
        """A held connection that is closed handles nothing more, and reads the client's close frame."""
        connection, peer = open_()
        connection.on_message = connection.hold
        peer.send(message("one") + message("two"))
        until(lambda: connection.messages)
        connection.close(Restarting())
        connection.release()
        peer.close()
        until(lambda: connection.state is ENDED)
        assert connection.messages == [Text("one")]


class TestPending:
    """A message that needs keys which are being fetched."""

    def test_repeated(self, open_: Open) -> None:
        """The message is handled again once the keys are fetched, before later ones; until then nothing is read."""
        connection, peer = open_()
        calls: list[Callable[[], object]] = []
        connection.pending = [KeysPending(calls.append), KeysPending(calls.append)]
        peer.send(raw.frame(raw.PING, b"1") + message("one") + message("two"))
        until(lambda: calls)
        peer.send(message("three"))
        turn()
        assert connection.messages == []
        peer.read()
        assert [frame.opcode for frame in raw.frames_in(peer.data)] == [raw.PONG]
        calls.pop()()
        until(lambda: calls)
        assert connection.messages == []
        calls.pop()()
        until(lambda: len(connection.messages) == 3)
        assert connection.messages == [Text("one"), Text("two"), Text("three")]
        peer.send(message("four"))
        until(lambda: len(connection.messages) == 4)

    def test_closed_meanwhile(self, open_: Open) -> None:
        """A connection that was closed in between handles nothing more."""
        connection, peer = open_()
        calls: list[Callable[[], object]] = []
        connection.pending = [KeysPending(calls.append)]
        peer.send(message("one"))
        until(lambda: calls)
        connection.close(Restarting())
        calls.pop()()
        turn()
        assert connection.messages == []


class TestMessages:
    def test_text_and_binary(self, open_: Open) -> None:
        connection, peer = open_()
        peer.send(message("one") + raw.frame(raw.BINARY, b"two"))
        until(lambda: len(connection.messages) == 2)
        assert connection.messages == [Text("one"), Binary(b"two")]

    def test_early(self, open_: Open) -> None:
        """A message that came with the handshake is received like any other."""
        connection, _ = open_(early=message("early"))
        until(lambda: connection.messages)
        assert connection.messages == [Text("early")]

    def test_in_pieces(self, open_: Open) -> None:
        """A message may come byte by byte; a decoder is held only in the meantime."""
        connection, peer = open_()
        for byte in message("hello"):
            assert not connection.messages
            before = connection.activity
            peer.send(bytes([byte]))
            until(lambda before=before: connection.activity > before)
            assert bool(connection._decoder) != bool(connection.messages)
        assert connection.messages == [Text("hello")]

    def test_fragments(self, open_: Open) -> None:
        """Control frames may come between the fragments of a message."""
        connection, peer = open_()
        first, last = raw.fragments(raw.TEXT, b"hel", b"lo")
        peer.send(first + raw.frame(raw.PING, b"?") + last)
        until(lambda: connection.messages)
        assert connection.messages == [Text("hello")]
        assert raw.frames_in(peer.read()) == [raw.Frame(raw.PONG, b"?")]

    def test_ping_and_pong(self, open_: Open) -> None:
        """A ping is answered with its own bytes; a pong is a sign of life and nothing else."""
        connection, peer = open_()
        peer.send(raw.frame(raw.PING, b"abc") + raw.frame(raw.PONG, b"def"))
        until(lambda: connection.activity)
        assert raw.frames_in(peer.read()) == [raw.Frame(raw.PONG, b"abc")]
        assert not connection.messages

    def test_send(self, open_: Open) -> None:
        connection, peer = open_()
        connection.send(websocket.encode(b"hello"))
        assert raw.frames_in(peer.read()) == [raw.Frame(raw.TEXT, b"hello")]

    def test_drained(self, open_: Open) -> None:
        """A client that reads what waited shows a sign of life."""
        connection, peer = open_(buffer=4096, limit=1 << 20)
        connection.send(websocket.encode(b"x" * 500_000))
        assert connection.transport.is_blocked
        peer.read_until(lambda: connection.activity)
        assert not connection.transport.is_blocked


class TestTime:
    def test_first_tick(self, open_: Open) -> None:
        connection, _ = open_()
        assert connection.scheduled == [connection.next_tick]

    def test_longest_nap(self, open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        """A tick that is due later than the timers can hold comes early, and is scheduled again."""
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 1000.0))
        connection, _ = open_()
        connection.next_tick = 9999
        connection.tick(connection.scheduled[-1] + 1e9)
        assert connection.scheduled[-1] == 1060

    def test_tick(self, open_: Open) -> None:
        """A tick is carried out when it is due, and the next one scheduled."""
        connection, _ = open_()
        due = connection.next_tick
        connection.tick(due - 0.1)
        assert (connection.ticks, len(connection.scheduled)) == ([], 1)
        connection.next_tick += 10
        connection.tick(due)
        assert (connection.ticks, connection.scheduled) == ([due], [due, due + 10])

    def test_fault(self, open_: Open, caplog: pytest.LogCaptureFixture) -> None:
        """A fault ends this connection only: 1011."""
        connection, peer = open_()
        connection.on_tick = fail(ZeroDivisionError())
        connection.tick(connection.next_tick)
        assert [frame.close_code for frame in peer.frames()] == [1011]
        assert "ZeroDivisionError" in caplog.text

    def test_disconnect(self, open_: Open) -> None:
        connection, peer = open_()
        connection.on_tick = fail(HeartbeatLost())
        connection.tick(connection.next_tick)
        assert [frame.close_code for frame in peer.frames()] == [4000]

    def test_closed_by_its_own_tick(self, open_: Open, clock: Clock) -> None:
        """A connection that closes in its tick is aborted in time: no later tick takes the place of that."""
        connection, _ = open_()
        connection.on_tick = lambda: connection.close(Restarting())
        connection.tick(connection.next_tick)
        assert connection.scheduled[-1] == clock.now + CLOSING_TIME

    def test_ended(self, open_: Open) -> None:
        """A tick that is still scheduled when the connection has ended does nothing."""
        connection, _ = open_()
        connection.abort()
        connection.tick(connection.next_tick)
        assert (connection.ticks, connection.state, len(connection.scheduled)) == ([], ENDED, 1)


class TestClosing:
    def test_by_the_client(self, open_: Open) -> None:
        """A close frame is answered with its code, then the service ends its side, then the client closes."""
        connection, peer = open_()
        peer.send(raw.close(1000, b"bye"))
        until(lambda: connection.state is CLOSING)
        assert peer.frames() == [raw.Frame(raw.CLOSE, b"\x03\xe8")]
        assert (connection.calls, connection.is_open) == (["stop"], False)
        peer.close()
        until(lambda: connection.state is ENDED)
        assert connection.calls == ["stop", "closed"]

    def test_by_the_client_without_a_code(self, open_: Open) -> None:
        connection, peer = open_()
        peer.send(raw.frame(raw.CLOSE))
        assert peer.frames() == [raw.Frame(raw.CLOSE)]

    def test_by_the_service(self, open_: Open) -> None:
        """The client is sent the code; when it has closed, the connection has ended."""
        connection, peer = open_()
        connection.close(Restarting())
        assert (connection.state, connection.calls) == (CLOSING, ["stop"])
        assert [frame.close_code for frame in peer.frames()] == [1012]
        peer.send(raw.close(1012))
        peer.close()
        until(lambda: connection.state is ENDED)
        assert connection.calls == ["stop", "closed"]

    def test_client_that_does_not_close(self, open_: Open, clock: Clock) -> None:
        """A client that does not close in time is cut off, not earlier."""
        connection, peer = open_()
        connection.close(Restarting())
        deadline = connection.scheduled[-1]
        assert deadline == clock.now + CLOSING_TIME
        connection.tick(deadline - 0.1)
        assert connection.state is CLOSING
        connection.tick(deadline)
        assert (connection.state, connection.transport.state) == (ENDED, TransportState.CLOSED)
        assert (connection.calls, connection.ticks) == (["stop", "closed"], [])
        connection.tick(deadline + 1)
        assert connection.calls == ["stop", "closed"]

    def test_twice(self, open_: Open) -> None:
        """Only the first reason is sent; a close while closing, or after the end, changes nothing."""
        connection, peer = open_()
        before = [metrics.value("notifier_closes_total", code=code) for code in (1012, 4000)]
        connection.close(Restarting())
        connection.close(HeartbeatLost())
        peer.send(raw.close(1000))
        turn()
        assert [frame.close_code for frame in peer.frames()] == [1012]
        assert (connection.state, connection.calls) == (CLOSING, ["stop"])
        connection.abort()
        connection.close(HeartbeatLost())
        assert (connection.state, connection.calls) == (ENDED, ["stop", "closed"])
        after = [metrics.value("notifier_closes_total", code=code) for code in (1012, 4000)]
        assert after == [before[0] + 1, before[1]]

    def test_bytes_after_close(self, open_: Open) -> None:
        """Bytes after a close frame, in the same segment or later, are ignored."""
        connection, peer = open_()
        peer.send(raw.close(1000) + message("behind"))
        until(lambda: connection.state is CLOSING)
        activity = connection.activity
        peer.send(message("later") + b"\xff" * 100)
        turn()
        assert (connection.messages, connection.activity, connection.state) == ([], activity, CLOSING)

    def test_close_on_a_message(self, open_: Open) -> None:
        """Where a message makes the service close, what comes behind it is ignored."""
        connection, peer = open_()
        connection.on_message = lambda: connection.close(Restarting())
        peer.send(message("hello") + message("behind"))
        assert [frame.close_code for frame in peer.frames()] == [1012]
        assert connection.messages == [Text("hello")]

    def test_half_a_message(self, open_: Open) -> None:
        """A connection that is closing has no decoder."""
        connection, peer = open_()
        peer.send(message("hello")[:4])
        until(lambda: connection._decoder)
        connection.close(Restarting())
        assert connection._decoder is None

    def test_message_before_close(self, open_: Open) -> None:
        connection, peer = open_()
        peer.send(message("before") + raw.close(1000))
        until(lambda: connection.state is CLOSING)
        assert connection.messages == [Text("before")]

    def test_sent_after_close(self, open_: Open) -> None:
        """The close frame is the last that a client receives."""
        connection, peer = open_()
        connection.close(Restarting())
        connection.send(websocket.encode(b"late"))
        assert [frame.opcode for frame in peer.frames()] == [raw.CLOSE]

    def test_while_blocked(self, open_: Open) -> None:
        """The close frame comes behind what waits, as long as there is room for it."""
        connection, peer = open_(buffer=4096, limit=1 << 20)
        connection.send(websocket.encode(b"x" * 500_000))
        connection.close(TooSlow())
        assert connection.transport.state is TransportState.FINISHING
        first, last = peer.frames()
        assert (len(first.payload), last.close_code) == (500_000, 4002)

    def test_full_backlog(self, open_: Open) -> None:
        """Where there is no room for a close frame, the transport is closed at once."""
        connection, _ = fill(*open_(buffer=4096, limit=2000))
        connection.close(Restarting())
        assert (connection.state, connection.transport.state) == (ENDED, TransportState.CLOSED)
        assert connection.calls == ["stop", "closed"]

    @pytest.mark.parametrize("end", [Peer.close, Peer.reset, Peer.finish])
    def test_client_that_vanishes(self, open_: Open, end: Callable[[Peer], None]) -> None:
        """A client may go without a close frame; the connection ends at once, with one call of each hook."""
        connection, peer = open_(tcp=True)
        end(peer)
        until(lambda: connection.state is ENDED)
        turn()
        assert connection.calls == ["stop", "closed"]
        connection.abort()
        connection.on_end()
        assert connection.calls == ["stop", "closed"]

    def test_client_that_vanishes_half_way(self, open_: Open) -> None:
        connection, peer = open_()
        peer.send(message("hello")[:4])
        until(lambda: connection._decoder)
        peer.close()
        until(lambda: connection.state is ENDED)
        assert not connection.messages

    def test_reset_during_a_write(self, open_: Open) -> None:
        connection, peer = open_(tcp=True)
        peer.reset()
        while connection.transport.state is TransportState.OPEN:
            connection.send(websocket.encode(b"hello"))
        assert connection.state is OPEN
        until(lambda: connection.state is ENDED)
        assert connection.calls == ["stop", "closed"]


class TestViolations:
    @pytest.mark.parametrize(
        "data, code",
        [
            (raw.frame(raw.TEXT, b"x", masked=False), 1002),
            (raw.frame(raw.TEXT, b"x", rsv=4), 1002),
            (raw.frame(3), 1002),
            (raw.frame(raw.CONTINUATION, b"x"), 1002),
            (raw.frame(raw.PING, b"x" * 126), 1002),
            (raw.frame(raw.TEXT, b"\xff"), 1007),
            (raw.frame(raw.TEXT, b"x" * (MAX_MESSAGE + 1)), 1009),
        ],
        ids=["not masked", "reserved bit", "reserved opcode", "no first fragment", "long ping", "not UTF-8", "too big"],
    )
    def test_code(self, open_: Open, data: bytes, code: int) -> None:
        """Messages that were complete before a violation are received, and none after it. The code is counted."""
        before = metrics.value("notifier_closes_total", code=code)
        connection, peer = open_()
        peer.send(message("before") + data + message("behind"))
        assert [frame.close_code for frame in peer.frames()] == [code]
        assert (connection.messages, connection._decoder) == ([Text("before")], None)
        assert metrics.value("notifier_closes_total", code=code) == before + 1

    def test_largest_message(self, open_: Open) -> None:
        connection, peer = open_()
        peer.send(message("x" * MAX_MESSAGE))
        until(lambda: connection.messages)
        assert connection.is_open

    def test_fault(self, open_: Open, caplog: pytest.LogCaptureFixture) -> None:
        """A fault in what a message causes ends this connection only: 1011."""
        connection, peer = open_()
        connection.on_message = fail(ZeroDivisionError())
        peer.send(message("hello") + message("behind"))
        assert [frame.close_code for frame in peer.frames()] == [1011]
        assert (len(connection.messages), "ZeroDivisionError" in caplog.text) == (1, True)

    def test_pings_without_end(self, open_: Open) -> None:
        """A client that pings and does not read the pongs is closed when its backlog is full."""
        connection, peer = open_(buffer=4096, limit=2000)

        def ping() -> bool:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # it does not read, or has closed
                peer.send(raw.frame(raw.PING, b"pong"))
            return not connection.is_open

        until(ping)
        assert connection.state is ENDED, "there is no room for a close frame either"

    def test_full_backlog(self, open_: Open) -> None:
        connection, _ = fill(*open_(buffer=4096, limit=2000))
        with pytest.raises(TooSlow):
            connection.send(b"x")
        assert connection.is_open


def fill(connection: Recorder, peer: Peer) -> tuple[Recorder, Peer]:
    """Fill the backlog of a connection to the last byte."""
    while connection.transport.write(b"x" * 500):
        pass
    while connection.transport.write(b"x"):
        pass
    return connection, peer
