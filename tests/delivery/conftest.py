"""The delivery room without threads, Redis and sockets: a test decides who goes on when."""

import json
import re
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.connections.hub import Channel, Hub
from notifier.connections.stream import StreamConnection, StreamHooks
from notifier.delivery.fanout import FanOut
from notifier.delivery.history import History
from notifier.delivery.progress import Progress
from notifier.delivery.redis_listener import Listener
from notifier.delivery.replayer import Replayer
from notifier.delivery.subscriptions import Subscriptions
from notifier.errors import BrokerUnavailable, Problem, RateExceeded
from notifier.inbox.mutes import Mutes
from notifier.protocol import cursor
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, Ends, Entry, Page
from notifier.protocol.identity import Identity
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import NOTHING
from notifier.protocol.recent import Recent
from notifier.protocol.session import Action, Rules, Session
from notifier.protocol.subscribing import Attach, Join, Leave
from notifier.settings import Settings

NOW = int(time.time() * 1000)


def at(ms: int) -> Cursor:
    """Return the cursor of an entry some ms after the beginning of the tests."""
    return Cursor(NOW + ms, 0)


def body(title: str) -> bytes:
    return b'{"id":"00000000-0000-7000-8000-%012d","title":"%b"}' % (ord(title), title.encode())


class Line:
    """A transport that records what is written, and blocks when it has no room for another write."""

    is_open = True
    blocked_since = 0.0

    def __init__(self) -> None:
        self.data = b""
        self.room: int | None = None  # writes
        self.on_write: Callable[[], None] = lambda: None

    @property
    def is_blocked(self) -> bool:
        return self.room == 0

    def write(self, data: bytes) -> bool:
        if self.room == 0:
            return False
        self.room = self.room and self.room - 1
        self.data += data
        self.on_write()
        return True

    def finish(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False

    def resume(self) -> None:
        pass

    @property
    def titles(self) -> str:
        """The titles of all notifications that were written, one letter each."""
        return b"".join(re.findall(rb'"title":"(.)"', self.data)).decode()

    def frames(self, type: str) -> list[Any]:
        """Return all frames of a type that were written."""
        found = re.findall(rb'\{"type":"%b".*?\}(?=[^,\]}"]|$)' % type.encode(), self.data)
        return [json.loads(frame) for frame in found]


class FakeLogs:
    """The logs in Redis. `reads` are those that were asked for."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.floors: dict[str, Cursor] = {}
        self.found: dict[str, Cursor] = {}
        self.faulty: dict[str, Problem] = {}
        self.is_down = False
        self.reads: list[tuple[str, Cursor]] = []
        self.regressions: list[tuple[str, Cursor]] = []
        self.on_read: Callable[[], None] = lambda: None
        self.on_loss: Callable[[str, bytes], None] = lambda name, message: None  # called with what is published
        self.page = 100

    def append(self, name: str, ms: int, title: str, kind: bytes = NOTIFICATION) -> bytes:
        """Append an entry, and return what is published of it."""
        entries = self.entries.setdefault(name, [])
        previous = entries[-1].id if entries else b"0-0"
        entry = Entry(str(at(ms)).encode(), previous, kind, body(title))
        if kind != EPHEMERAL:
            entries.append(entry)
        return b" ".join(entry)

    def read(self, reads: Iterable[tuple[str, Cursor]], now: int) -> list[Page | Problem]:
        self._require()
        asked = list(reads)
        self.reads += asked
        pages = [self.faulty.get(name) or self._page(name, position) for name, position in asked]
        self.on_read()
        return pages

    def _page(self, name: str, position: Cursor) -> Page:
        found = [each._replace(previous=b"") for each in self.entries.get(name, ()) if cursor.parse(each.id) > position]
        floor, lost = self.floors.get(name, BEGINNING), self.found.get(name, BEGINNING)
        return Page(found[: self.page], len(found) <= self.page, floor, lost)

    def log_ends(self, names: list[str]) -> list[Ends | Problem]:
        self._require()
        return [self.faulty.get(name) or self._ends(name) for name in names]

    def _ends(self, name: str) -> Ends:
        entries = self.entries.get(name)
        last = cursor.parse(entries[-1].id) if entries else BEGINNING
        return Ends(last, self.floors.get(name, BEGINNING), self.found.get(name, BEGINNING))

    def note_regression(self, seen: list[tuple[str, Cursor]]) -> int:
        new = [(name, last) for name, last in seen if self._is_lost(name, last)]
        self.regressions += new
        for name, last in new:
            end = max(last, self._ends(name).last)
            self.floors[name] = last
            self.found[name] = end._replace(ms=end.ms + 1)
            self.on_loss(name, b"lost %b" % str(self.found[name]).encode())
        return len(new)

    def _is_lost(self, name: str, last: Cursor) -> bool:
        entries = {cursor.parse(entry.id) for entry in self.entries.get(name, ())}
        return last > self.floors.get(name, BEGINNING) and last not in entries

    may_have_lost_ends = False

    def note_lost_ends(self) -> int:
        return 0

    def remembers(self, name: str) -> int:
        return 30 * 86_400_000

    def _require(self) -> None:
        if self.is_down:
            raise BrokerUnavailable("down")


class FakeDatabase:
    born = BEGINNING

    def __init__(self) -> None:
        self.beats = 0

    def birth(self) -> Cursor:
        return self.born

    def beat(self, channel: str, name: str) -> None:
        self.beats += 1


class FakeFeed:
    """Knows no inbox. `calls` are the names of what it was called for; `topics` are memberships by user.

    `version` is that of everybody's memberships and mutes, None while they are unknown. `on_read` is called when Redis
    is asked which connections are outdated; it returns them.
    """

    def __init__(self, enroll: Callable[[StreamConnection, dict[str, Cursor]], None]) -> None:
        self.calls: list[str] = []
        self.topics: dict[str, dict[str, Cursor]] = {}
        self.version: int | None = 1
        self.on_read: Callable[[], set[StreamConnection]] = set
        self._enroll = enroll

    def prepare(self, connections: Iterable[StreamConnection]) -> None:
        for connection in connections:
            assert connection.session.identity
            if connection.memberships is not None:
                continue
            self._enroll(connection, self.topics.get(connection.session.identity.user, {}))

    def filters(self, connections: Iterable[StreamConnection]) -> dict[StreamConnection, int]:
        return {} if self.version is None else dict.fromkeys(connections, self.version)

    def outdated(self, connections: Iterable[StreamConnection]) -> set[StreamConnection]:
        return self.on_read()

    def views(self, connections: Iterable[StreamConnection]) -> dict[StreamConnection, InboxView]:
        return {connection: InboxView(NOTHING, {}) for connection in connections}

    def changed(self, channel: Channel[StreamConnection], change: bytes) -> bool:
        self.calls.append(f"changed {channel.name} {change.decode()}")
        return b"mutes" in change

    def received(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        self.calls.append(f"received {channel.name} {len(entries)}")

    def subscribed(self, channel: Channel[StreamConnection], *, has_missed: bool) -> None:
        self.calls.append(f"subscribed {channel.name}" + has_missed * " has missed")

    def subscription_lost(self, lost: Iterable[Channel[StreamConnection]]) -> None:
        self.calls.append(f"lost {len(list(lost))}")

    def left(self, name: str) -> None:
        self.calls.append(f"left {name}")


class Delivery:
    """The parts of the room, as the node puts them together."""

    def __init__(self, logs: FakeLogs | None = None) -> None:
        settings = Settings.of(redis_url="redis://127.0.0.1")
        self.clock = Clock()
        self.clock.observe(NOW)
        self.hub: Hub[StreamConnection] = Hub()
        self.mutes: Mutes[StreamConnection] = Mutes()
        self.recent = Recent(1 << 20)
        self.logs: Any = logs or FakeLogs()
        self.database: Any = FakeDatabase()
        self.asked: list[str] = []  # channels that the worker was to subscribe to
        self.progress = Progress(self.hub, 1000)
        self.subscriptions = Subscriptions(
            self.hub,
            self.progress,
            self.clock,
            0,
            remembers=self.logs.remembers,
            birth=lambda: self.listener.birth,
            subscribe=self.asked.append,
        )
        self.feed: Any = FakeFeed(self.subscriptions.enroll)
        history = History(self.logs, self.hub, self.recent)
        self.counted: list[int] = []  # bytes
        self.most_counted = 1 << 20
        self.replayer: Any = Replayer(
            self.progress, history, self.feed, self.mutes, self.clock, "worker", 25, self._count
        )
        self.fan_out = FanOut(self.hub, self.progress, self.recent, self.mutes, self.feed.received)
        self.listener = Listener(
            settings.broker,
            self.logs,
            self.database,
            self.hub,
            self.progress,
            self.recent,
            self.fan_out.send_all,
            self.feed,
            self.clock,
            "worker",
        )
        self._number = 0

    def connect(self, topics: tuple[str, ...] = (), since: int | None = None) -> tuple[StreamConnection, Line]:
        """Return a connection of a new user that has sent its hello, and its line."""
        self._number += 1
        user = f"user-{self._number}"
        unused: Any = None
        session = Session(Rules(unused), time.time(), Identity(user, time.time() + 100, ("*",)))
        line: Any = Line()
        connection = StreamConnection(line, self._hooks(), session, number=self._number)
        session.topics = topics
        self.subscriptions.attach(connection, Attach(None if since is None else at(since), topics, ()))
        return connection, line

    def live(self, topics: tuple[str, ...] = ()) -> tuple[StreamConnection, Line]:
        """Return a connection that is live, and its line without the welcome."""
        connection, line = self.connect(topics)
        self.confirm()
        self.replay(2)
        assert connection.catch_up is None and connection.session.is_welcome
        line.data = b""
        return connection, line

    def confirm(self) -> None:
        """Confirm all subscriptions that the worker has requested, and deliver a heartbeat."""
        names, self.asked[:] = list(self.asked), []
        self.listener.subscribed(names)
        self.listener.received([("nodes", b"worker %d" % NOW)])

    def reconnect(self) -> None:
        """Lose the subscription, and get it back."""
        self.listener.subscription_lost()
        self.listener.subscribed(self.listener.wanted_channels())

    def publish(self, name: str, ms: int, title: str, kind: bytes = NOTIFICATION) -> None:
        """Append an entry that this worker receives."""
        self.listener.received([(name, self.logs.append(name, ms, title, kind))])

    def replay(self, rounds: int = 1) -> None:
        """Serve the connections that are queued, for some rounds at most."""
        for _ in range(rounds):
            if self.progress._queue:
                self.replayer._step()

    def act(self, connection: StreamConnection, action: Action) -> None:
        match action:
            case Attach():
                self.subscriptions.attach(connection, action)
            case Join():
                self.subscriptions.join(connection, action)
            case Leave():
                self.subscriptions.leave(connection, action)

    def _count(self, user: str, size: int) -> None:
        self.counted.append(size)
        if sum(self.counted) > self.most_counted:
            raise RateExceeded("too much")

    def _hooks(self) -> StreamHooks:
        def ignore(*_: object) -> None:
            pass

        return StreamHooks(
            max_message=1000,
            lag_timeout=60,
            schedule=ignore,
            closed=ignore,
            act=self.act,
            stop=self.subscriptions.close,
            drained=self.progress.serve,
            request_state=ignore,
        )


@pytest.fixture
def delivery(monkeypatch: pytest.MonkeyPatch) -> Delivery:
    # Entries are served from memory only while they are young: the clock is frozen.
    monkeypatch.setattr("notifier.delivery.history.time", SimpleNamespace(time=lambda: NOW / 1000))
    return Delivery()
