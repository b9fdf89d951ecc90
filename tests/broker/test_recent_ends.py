"""The ends of logs that a worker has appended to lately."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from notifier.broker.log import Append, Log
from notifier.broker.recent_ends import _CERTAIN, _LASTING, _MOST, RecentEnds
from notifier.protocol.clock import Clock as IdClock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION, Ends
from notifier.settings import BrokerSettings


class Clock:
    """Time that a test sets."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def remembered(ends: RecentEnds) -> set[tuple[str, str]]:
    """Return all ends."""
    ends.set_aside()
    aside = set(ends.aside)
    ends.settle(aside)
    return aside


def test_last() -> None:
    """The last entry of each channel is remembered, whatever the order in which replies arrive."""
    ends = RecentEnds()
    for channel, entry in [("a", "1-0"), ("b", "7-0"), ("a", "10-1"), ("a", "9-5"), ("a", "10-0")]:
        ends.note(channel, entry)
    assert remembered(ends) == {("a", "10-1"), ("b", "7-0")}


def test_time() -> None:
    """An end is remembered for its time, and not much longer."""
    clock = Clock()
    ends = RecentEnds(clock)
    ends.note("old", "1-0")
    clock.time = _LASTING - 1
    ends.note("later", "5-0")
    ends.note("again", "9-0")
    clock.time += 2
    ends.note("new", "6-0")
    ends.note("again", "8-0")
    clock.time += _LASTING + 1
    ends.note("newest", "7-0")
    assert remembered(ends) == {("new", "6-0"), ("again", "8-0"), ("newest", "7-0")}


def test_two_times() -> None:
    """Of a channel, the later end of both times is remembered."""
    clock = Clock()
    ends = RecentEnds(clock)
    for channel, entry in [("late", "9-0"), ("early", "1-0"), ("old", "3-0")]:
        ends.note(channel, entry)
    clock.time = _LASTING + 1
    for channel, entry in [("late", "8-0"), ("early", "2-0")]:
        ends.note(channel, entry)
    assert remembered(ends) >= {("late", "9-0"), ("early", "2-0"), ("old", "3-0")}
    assert ("early", "1-0") not in remembered(ends)


def test_number() -> None:
    """The number of channels is limited; the latest are remembered."""
    clock = Clock()
    ends = RecentEnds(clock)
    for number in range(5 * _MOST):
        clock.time += 2 * _CERTAIN / _MOST
        ends.note(f"{number}", "1-0")
    found = {channel for channel, _ in remembered(ends)}
    assert _MOST <= len(found) <= 2 * _MOST
    assert found >= {f"{number}" for number in range(4 * _MOST, 5 * _MOST)}


def test_burst() -> None:
    """Those of the last seconds are remembered, whatever their number."""
    clock = Clock()
    ends = RecentEnds(clock)
    step = _CERTAIN / (3 * _MOST)
    for number in range(20 * _MOST):
        clock.time += step
        ends.note(f"{number}", "1-0")
    found = {channel for channel, _ in remembered(ends)}
    assert found >= {f"{number}" for number in range(17 * _MOST, 20 * _MOST)}
    assert len(found) <= 7 * _MOST


def test_aside() -> None:
    """What is set aside stays until it is settled, whatever is appended then, and is remembered afterwards."""
    ends = RecentEnds()
    ends.note("a", "1-0")
    ends.set_aside()
    ends.note("a", "2-0")
    ends.doubt("a", "3-0")
    ends.set_aside()
    assert ends.aside == {("a", "1-0"), ("a", "2-0"), ("a", "3-0")}
    ends.settle([("a", "1-0"), ("a", "3-0")])
    assert ends.aside == {("a", "2-0")}
    assert remembered(ends) == {("a", "2-0"), ("a", "3-0")}


class Server:
    """A server that is restarted without some entries, and the connections of a worker to it."""

    connects = 1

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.on_append: Callable[[], None] = lambda: None
        self._is_connected = True
        self._last = 0

    def crash(self) -> None:
        """Lose everything."""
        self.entries.clear()
        self._is_connected = False

    def call(self, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> bytes:
        return b""

    def sharded(self, channel: str) -> str:
        return channel

    def carry_out(self, commands: list[bytes], replicas: int) -> list[Any]:
        """Append an entry, and call back before the worker receives the reply."""
        self.connects += not self._is_connected
        self._is_connected = True
        self._last += 1
        reply = [b"%d-0" % self._last, 0, 0, 0]
        self.entries.append(f"{self._last}-0")
        on_append, self.on_append = self.on_append, lambda: None
        on_append()
        return [reply]


class Worker(Log):
    """The log of a worker, which compares its ends with the server."""

    def __init__(self, server: Any) -> None:
        super().__init__(BrokerSettings(redis_url="redis://127.0.0.1"), server, IdClock())
        self.acknowledged: list[str] = []
        self.floor = BEGINNING
        self._server = server

    def publish(self) -> None:
        [[appended]] = self.append([[Append("all", NOTIFICATION, b"{}")]], [])
        self.acknowledged.append(appended.cursor)

    def beat(self) -> None:
        if self.may_have_lost_ends:
            self.note_lost_ends()

    def log_ends(self, channels: list[str]) -> list[Any]:
        return [Ends(BEGINNING, BEGINNING, BEGINNING) for _ in channels]

    def note_regression(self, seen: list[tuple[str, Cursor]]) -> int:
        lost = [end for _, end in seen if str(end) not in self._server.entries]
        self.floor = max([self.floor, *lost])
        return len(lost)


ACTIONS = ["publish", "crash", "publish", "beat", "publish", "crash", "publish", "publish"]


@pytest.mark.parametrize(("begin", "end"), list(itertools.combinations_with_replacement(range(len(ACTIONS) + 1), 2)))
def test_any_time(begin: int, end: int) -> None:
    """Whenever an append begins and ends, the loss of acknowledged entries is found; no other one is."""
    server = Server()
    worker = Worker(server)

    def act(actions: list[str]) -> None:
        for action in actions:
            server.crash() if action == "crash" else getattr(worker, action)()

    act(ACTIONS[:begin])
    server.on_append = lambda: act(ACTIONS[begin:end])
    worker.publish()
    act([*ACTIONS[end:], "beat"])
    lost = [Cursor(int(each[:-2]), 0) for each in worker.acknowledged if each not in server.entries]
    assert worker.floor == max(lost)
