"""The replayer: what is wrong with one connection costs that one only."""

import time
from types import SimpleNamespace
from typing import Any

from notifier.connections.hub import Hub
from notifier.delivery.replayer import Replayer
from notifier.errors import Disconnect, UnexpectedFault
from notifier.inbox.states import known
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION, Entry


class Peer:
    """A connection that can be served, or makes whatever serves it fail."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.is_served = False
        self.closed: Disconnect | None = None
        self.memberships = ()
        self.session = SimpleNamespace(is_welcome=True)

    def close(self, disconnect: Disconnect) -> None:
        self.closed = disconnect


class FakeFeed:
    """A feed that knows the memberships and mutes of everybody."""

    def prepare(self, connections: Any) -> None:
        pass

    def filters(self, connections: Any) -> dict[Any, int]:
        return dict.fromkeys(connections, 0)

    def outdated(self, connections: Any) -> set[Any]:
        return set()


class BrokenReplayer(Replayer):
    """Fails in a step that many connections have in common, or in what is done for each."""

    fails_in = ""

    def __init__(self, fails_in: str) -> None:
        unused: Any = None
        settings: Any = SimpleNamespace(recent_bytes=0)
        super().__init__(settings, unused, unused, FakeFeed(), unused, Clock(), "worker")  # type: ignore[arg-type]
        self.fails_in = fails_in

    def take(self, *batch: Any) -> None:
        self._take(list(batch))

    def _can_serve(self, connection: Any) -> bool:
        return not connection.is_served and not connection.closed

    def _wanted(self, connection: Any) -> Any:
        self._fail("common", connection)
        return SimpleNamespace(positions={}, changes=0)

    def _heard_lately(self, _: Any, positions: Any) -> Any:
        return {}

    def _read(self, wanted: Any) -> Any:
        return wanted

    def _serve(self, connection: Any, *_: Any) -> None:
        self._fail("own", connection)
        connection.is_served = True

    def _fail(self, place: str, connection: Any) -> None:
        if place == self.fails_in and connection.is_broken:
            raise ZeroDivisionError


def test_a_broken_connection() -> None:
    """Wherever it makes a round fail, it is closed, and those before and behind it are served."""
    for place in ("common", "own"):
        first, broken, last = Peer(), Peer(is_broken=True), Peer()
        BrokenReplayer(place).take(first, broken, last)
        assert isinstance(broken.closed, UnexpectedFault)
        assert not broken.is_served
        for peer in (first, last):
            assert peer.is_served
            assert peer.closed is None


class Memory:
    """A worker that has heard one entry, at `now`, and one connection."""

    def __init__(self) -> None:
        unused: Any = None
        settings: Any = SimpleNamespace(recent_bytes=1000)
        hub: Hub[Any] = Hub()
        self._replayer: Any = Replayer(settings, unused, hub, unused, unused, Clock(), "worker")
        hub.join("user:a", "a connection")
        self.channel = hub["user:a"]
        self.channel.confirm(BEGINNING)
        self.now = int(time.time() * 1000)
        entry = Entry(b"%d-0" % self.now, b"0-0", NOTIFICATION, b"{}")
        self._replayer.recent.hear("user:a", [entry], self.channel.seen)
        self.channel.seen = entry.id

    def serves(self, ms: int) -> bool:
        """Tell whether it needs no log for what came after a time."""
        return self._replayer._heard_lately("a connection", {"user:a": Cursor(ms, 0)}) is not None


def test_what_may_have_been_erased() -> None:
    """Of a user who was cut off, only the log knows what there was before, also if the erasure is yet to be heard."""
    memory = Memory()
    assert memory.serves(memory.now - 1)
    known(memory.channel).note_disconnect(memory.now - 1)
    assert not memory.serves(memory.now - 1)
    assert memory.serves(memory.now)


def test_what_is_yet_to_be_heard() -> None:
    """Who asks once more for what it was sent from the log, and what will be left out for it, gets it from there."""
    memory = Memory()
    memory.channel.run_ahead("a connection", Cursor(memory.now + 9, 0), BEGINNING)
    assert not memory.serves(memory.now - 1)
    assert not memory.serves(memory.now)
    assert memory.serves(memory.now + 9)
