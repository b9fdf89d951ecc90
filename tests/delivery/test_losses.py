"""Losses: whichever worker finds out when that Redis has lost an entry, every client that lacks it is notified."""

import re
from collections import deque
from collections.abc import Iterator, Sequence

import pytest

from notifier.connections.stream import StreamConnection
from tests.delivery.conftest import NOW, Delivery, FakeLogs, Line, at

LOST = 2  # the entry that Redis loses, ms


class Client:
    """A client that comes and goes, each time with the highest cursor that it has received."""

    def __init__(self, delivery: Delivery, cursor: int) -> None:
        self.cursor = cursor
        self.titles = ""
        self.was_notified = False
        self._delivery = delivery
        self._connection: StreamConnection | None = None
        self._line = Line()

    def come(self) -> None:
        """Connect, unless it is connected."""
        if self._connection is None:
            self._connection, self._line = self._delivery.connect(since=self.cursor)

    def look(self) -> None:
        """Take what has arrived."""
        self.titles += self._line.titles
        lost = [*(frame["lost"] for frame in self._line.frames("welcome")), *self._lost_later()]
        self.was_notified |= any("all" in channels for channels in lost)
        for type in ("notification", "ping"):
            for ms in re.findall(rb'"type":"%b"[^}]*?"cursor":"(\d+)-' % type.encode(), self._line.data):
                self.cursor = max(self.cursor, int(ms) - NOW)
        self._line.data = b""

    def leave(self) -> None:
        """Disconnect, if it is connected."""
        self.look()
        if self._connection is not None:
            self._delivery.subscriptions.close(self._connection)
            self._connection.transport.abort()
            self._connection = None

    def _lost_later(self) -> list[list[str]]:
        return [frame["channels"] for frame in self._line.frames("lost")]


class World:
    """A worker just after Redis was restarted without the last entry. Another worker has published that entry.

    `has_received` is whether this worker has received it. One client was connected, others come later.
    """

    def __init__(self, has_received: bool) -> None:
        self.logs = FakeLogs()
        self.delivery = Delivery(self.logs)
        self.connection, self.line = self.delivery.live()
        self.delivery.publish("all", 1, "A")
        message = self.logs.append("all", LOST, "B")
        if has_received:
            self.delivery.listener.received([("all", message)])
        self.client = Client(self.delivery, cursor=1)
        self.logs.on_loss = self._publish
        self._messages: deque[tuple[str, bytes]] = deque()
        self._is_subscribed = False
        del self.logs.entries["all"][-1]
        self.delivery.listener.subscription_lost()

    def go_on(self) -> None:
        """Publish something else."""
        found = self.logs.found.get("all")
        ms = LOST + 1 if found is None else found.ms - NOW + 1
        self._publish("all", self.logs.append("all", ms, "C"))

    def find(self) -> None:
        """Let the other worker find out that its entry is lost."""
        self.logs.note_regression([("all", at(LOST))])

    def subscribe(self) -> None:
        """Let this worker subscribe again; the confirmation is under way."""
        self._names = self.delivery.listener.wanted_channels()
        self._is_subscribed = True
        self.delivery.asked.clear()

    def confirm(self) -> None:
        """Let the confirmation arrive."""
        self.delivery.listener.subscribed(self._names)
        self._names = []
        self._confirm_new()

    def receive(self) -> None:
        """Let this worker receive what was published to it."""
        if self._messages and not self._names:
            self.delivery.listener.received([self._messages.popleft()])

    def serve(self) -> None:
        """Give the replayer its turn."""
        self._confirm_new()
        self.delivery.replay()

    def come(self) -> None:
        self.client.come()

    def leave(self) -> None:
        self.client.leave()

    def settle(self) -> None:
        """Let everything arrive, and let the client come back."""
        while self._messages:
            self.receive()
        for _ in range(3):
            self.serve()
        self.client.look()
        self.client.come()
        for _ in range(3):
            self.serve()
        self.client.look()

    _names: Sequence[str] = ("not subscribed",)

    def _confirm_new(self) -> None:
        if self._is_subscribed and not self._names:
            names, self.delivery.asked[:] = list(self.delivery.asked), []
            self.delivery.listener.subscribed(names)

    def _publish(self, name: str, message: bytes) -> None:
        if self._is_subscribed:
            self._messages.append((name, message))


def orders(*threads: Sequence[str]) -> Iterator[list[str]]:
    """Yield every order of all actions that keeps the order within each thread."""
    if not any(threads):
        yield []
    for index, thread in enumerate(threads):
        if thread:
            for order in orders(*threads[:index], thread[1:], *threads[index + 1 :]):
                yield [thread[0], *order]


def play(order: Sequence[str], has_received: bool) -> World:
    """Return the world after these actions."""
    world = World(has_received)
    for action in order:
        getattr(world, action)()
    world.settle()
    return world


@pytest.mark.parametrize("has_received", [False, True])
def test_connected(has_received: bool) -> None:
    """A client that stays connected is notified if it lacks the entry, and only then."""
    for order in orders(["find"], ["subscribe", "confirm"], ["go_on"], ["serve", "receive", "serve"]):
        world = play(order, has_received)
        assert world.line.titles == ("ABC" if has_received else "AC"), order
        assert bool(world.line.frames("lost")) != has_received, order


@pytest.mark.parametrize("has_received", [False, True])
def test_coming_and_going(has_received: bool) -> None:
    """A client that was offline is notified, although it may be served and leave before anybody knows of the loss."""
    for order in orders(["find"], ["subscribe", "confirm", "go_on"], ["come", "serve", "leave"], ["receive"]):
        world = play(order, has_received)
        assert world.client.titles == "C", order
        assert world.client.was_notified, order


def test_new_client() -> None:
    """A client that has not been there before has lost nothing, before and after the loss is found."""
    world = World(has_received=False)
    world.subscribe()
    world.confirm()
    _, early = world.delivery.connect()
    world.serve()
    world.find()
    _, waiting = world.delivery.connect()
    world.settle()
    _, late = world.delivery.connect()
    world.settle()
    assert [line.frames("welcome")[0]["lost"] for line in (early, waiting, late)] == [[], [], []]


def test_in_a_read() -> None:
    """A client is notified whose log is being read when the loss is found."""
    world = World(has_received=False)
    for action in ("subscribe", "confirm", "serve", "go_on", "receive", "come"):
        getattr(world, action)()

    def read() -> None:
        world.logs.on_read = lambda: None
        world.find()
        world.receive()

    world.logs.on_read = read
    world.settle()
    assert world.client.was_notified


def test_memory() -> None:
    """What the worker remembers of the time before the loss was found is not all that a client must receive."""
    world = World(has_received=False)
    for action in ("subscribe", "confirm", "go_on", "receive", "find", "receive", "go_on", "receive"):
        getattr(world, action)()
    world.settle()
    assert (world.client.titles, world.client.was_notified) == ("CC", True)


@pytest.mark.parametrize("page", [1, 100])
def test_once(page: int) -> None:
    """Clients are notified once, however much they are sent then, and also if the worker subscribes again."""
    world = World(has_received=False)
    world.logs.page = page
    for action in ("go_on", "find", "go_on", "go_on", "subscribe", "confirm"):
        getattr(world, action)()
    world.settle()
    for _ in range(2):
        world.delivery.reconnect()
        world.settle()
    assert len(world.line.frames("lost")) == 1
    assert world.logs.regressions == [("all", at(LOST))]
