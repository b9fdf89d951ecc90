"""The action queue: order, results, limits and failures of what arrives on connections."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from notifier.connections.work_queue import Bounds
from notifier.errors import BrokerUnavailable, TooSlow
from notifier.inbox.action_queue import ActionQueue
from notifier.inbox.inbox import Change
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_frames import Acknowledge, Marking
from notifier.protocol.inbox_state import NOTHING
from notifier.protocol.inbox_target import Target
from tests.kit.recorded_connection import RecordedConnection
from tests.kit.waiting import DEADLINE, eventually

FIRST, SECOND, THIRD = (Cursor(ms, 0) for ms in (1, 2, 3))


class Inbox:
    """An inbox that records what it is asked for; `fails` is raised instead."""

    def __init__(self) -> None:
        self.acted: list[tuple[str, str, Target]] = []
        self.acks: list[dict[str, Acknowledge]] = []
        self.fails: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def act(self, user: str, action: str, target: Target) -> Change:
        self.meanwhile()
        self._fail()
        self.acted.append((user, action, target))
        return Change(InboxView(NOTHING._replace(unread=3), {}), True, ["x"])

    def acknowledge(self, acks: dict[str, Acknowledge]) -> None:
        self._fail()
        self.acks.append(acks)

    def _fail(self) -> None:
        if self.fails:
            raise self.fails


class Queue:
    """An action queue without its threads."""

    def __init__(self, inbox: Inbox) -> None:
        self._queue: Any = ActionQueue(inbox, Bounds())  # type: ignore[arg-type]

    def put(self, connection: RecordedConnection, ref: str, id: str = "x", action: str = "read") -> None:
        self._queue.put(connection, Marking(ref, action, Target((id,))))

    def put_many(self, connection: RecordedConnection, count: int) -> None:
        self._queue.put(connection, Marking(None, "read", Target(tuple(map(str, range(count))))))

    def acknowledge(self, connection: RecordedConnection, cursor: Cursor, since: Cursor = BEGINNING) -> None:
        self._queue.acknowledge(connection, Acknowledge(cursor, since))

    def run(self) -> None:
        """Carry out everything in the queue."""
        while self._queue._queue._filled.is_set():
            self._queue._act()
        while self._queue._has_acks.is_set():
            self._queue._record_acks()

    def start(self) -> None:
        self._queue.start()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def queue(inbox: Inbox) -> Queue:
    return Queue(inbox)


class TestActions:
    def test_order(self, queue: Queue, inbox: Inbox) -> None:
        """The actions of a user are carried out in order, whatever the connection, and each gets its result."""
        phone, page = RecordedConnection(), RecordedConnection()
        for number, connection in enumerate([phone, page, page, phone]):
            queue.put(connection, str(number), f"id-{number}")
        queue.run()
        assert inbox.acted == [("ada", "read", Target((f"id-{number}",))) for number in range(4)]
        assert [frame["ref"] for frame in phone.frames] == ["0", "3"]
        assert page.frames[0] == {
            "type": "ok",
            "ref": "1",
            "counts": {"unread": 3, "unseen": 0},
            "revision": 0,
            "expires_at": None,
            "changed": True,
            "unknown": ["x"],
        }

    def test_failures(self, queue: Queue, inbox: Inbox) -> None:
        """An action that fails is answered with its problem, an unexpected failure with an internal error."""
        connection = RecordedConnection()
        for failure in (BrokerUnavailable(), ZeroDivisionError()):
            inbox.fails = failure
            queue.put(connection, "a")
            queue.run()
        inbox.fails = None
        queue.put(connection, "b")
        queue.run()
        problems = [frame.get("problem", {}).get("code") for frame in connection.frames]
        assert problems == ["broker_unavailable", "internal_error", None]
        assert [frame["ref"] for frame in connection.frames] == ["a", "a", "b"]

    def test_a_client_that_does_not_read(self, queue: Queue) -> None:
        """A connection that cannot take its result is closed; others get theirs."""
        slow, other = RecordedConnection(failure=TooSlow()), RecordedConnection()
        queue.put(slow, "a")
        queue.put(other, "b")
        queue.run()
        assert isinstance(slow.closed, TooSlow)
        assert len(other.frames) == 1

    def test_a_connection_that_has_gone(self, queue: Queue, inbox: Inbox) -> None:
        """The actions of a closed connection are still carried out, without a result."""
        connection = RecordedConnection()
        queue.put(connection, "a")
        inbox.meanwhile = lambda: setattr(connection, "is_open", False)
        queue.run()
        assert len(inbox.acted) == 1
        assert connection.frames == []

    def test_a_user_who_was_disconnected(self, queue: Queue, inbox: Inbox) -> None:
        """Actions that were not begun before the user was disconnected are not carried out."""
        connection = RecordedConnection()
        queue.put(connection, "a")
        connection.is_disconnected = True
        queue.run()
        assert inbox.acted == []
        assert connection.frames == []

    def test_turns(self, queue: Queue, inbox: Inbox) -> None:
        """A user with many actions waits behind a user with one."""
        for number in range(30):
            queue.put(RecordedConnection(), str(number))
        queue.put(RecordedConnection("bob"), "b")
        queue.run()
        assert [user for user, *_ in inbox.acted[:3]] == ["ada", "bob", "ada"]
        assert len(inbox.acted) == 31

    def test_a_client_that_asks_too_fast(self, queue: Queue) -> None:
        """A connection with many ids waiting is not read until some are done."""
        connection = RecordedConnection()
        for _ in range(3):
            assert not connection.is_held
            queue.put_many(connection, 1000)
        assert connection.is_held
        queue.run()
        assert not connection.is_held


class TestAcknowledgements:
    def test_joined(self, queue: Queue, inbox: Inbox) -> None:
        """Waiting acks of a user that touch are recorded as one; empty ones are not recorded."""
        ada, bob = RecordedConnection(), RecordedConnection("bob")
        queue.acknowledge(ada, SECOND, SECOND)
        queue.acknowledge(ada, FIRST, THIRD)
        queue.acknowledge(ada, THIRD, SECOND)
        queue.acknowledge(ada, SECOND, FIRST)
        queue.acknowledge(bob, SECOND, FIRST)
        queue.acknowledge(bob, THIRD)
        queue.run()
        assert inbox.acks == [{"ada": Acknowledge(THIRD, FIRST), "bob": Acknowledge(THIRD, BEGINNING)}]

    def test_apart(self, queue: Queue, inbox: Inbox) -> None:
        """Entries between the acks of two clients of a user are not recorded; few such acks wait."""
        for number in range(20):
            queue.acknowledge(RecordedConnection(), Cursor(2 * number + 1, 0), Cursor(2 * number, 0))
        queue.run()
        recorded = [ack for acks in inbox.acks for ack in acks.values()]
        assert recorded == [Acknowledge(Cursor(2 * number + 1, 0), Cursor(2 * number, 0)) for number in range(8)]
        assert all(len(acks) == 1 for acks in inbox.acks)

    def test_many_users(self, queue: Queue, inbox: Inbox) -> None:
        """The acks of many users are recorded in requests of limited size."""
        for number in range(2000):
            queue.acknowledge(RecordedConnection(f"user-{number}"), FIRST)
        queue.run()
        assert sum(map(len, inbox.acks)) == 2000
        assert max(map(len, inbox.acks)) == 200

    def test_outage(self, queue: Queue, inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
        """Acks that cannot be recorded are dropped with a warning; the next one of the client is recorded."""
        ada = RecordedConnection()
        inbox.fails = BrokerUnavailable("Redis is away.")
        queue.acknowledge(ada, FIRST)
        queue.run()
        inbox.fails = None
        queue.acknowledge(ada, SECOND)
        queue.run()
        assert inbox.acks == [{"ada": Acknowledge(SECOND, BEGINNING)}]
        assert "Redis is away." in caplog.text


def test_threads(queue: Queue, inbox: Inbox) -> None:
    """A slow action delays only its user."""
    ada = RecordedConnection()
    slow = threading.Event()
    others = [RecordedConnection(f"user-{number}") for number in range(20)]
    held: list[threading.Thread] = []

    def hold() -> None:
        """Keep the first thread that acts."""
        held.append(threading.current_thread())
        if held[0] is threading.current_thread():
            slow.wait(DEADLINE)

    inbox.meanwhile = hold
    queue.start()
    queue.put(ada, "a")
    eventually(lambda: held)
    for connection in others:
        queue.put(connection, "b")
    eventually(lambda: all(connection.frames for connection in others))
    assert ada.frames == []
    slow.set()
    eventually(lambda: ada.frames)
