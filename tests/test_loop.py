"""Loops survive what their steps raise, and pause longer while the steps go on failing."""

import logging
import random
import threading
import time
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest

from notifier.errors import BrokerUnavailable
from notifier.loop import Loop, give_way, in_turns

DEADLINE = 10


class Steps:
    """A step that returns or raises the outcomes of a list, and then stops its loop."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self._outcomes = list(outcomes)
        self.loop: Loop
        self.done = threading.Event()

    def __call__(self) -> None:
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if not self._outcomes:
            self.loop.stop()
            self.done.set()
        if outcome:
            raise outcome


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, float]]]:
    """The pauses that loops make, as a range each; none of them takes any time."""
    found: list[tuple[float, float]] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(random, "uniform", lambda least, most: found.append((least, most)) or 0)
    return found


def run(*outcomes: Exception | None, **pauses: float) -> None:
    """Run a loop whose steps end in these ways, until the last of them."""
    steps = Steps(*outcomes)
    steps.loop = Loop("test", steps, **pauses)
    before = set(threading.enumerate())
    steps.loop.start()
    assert steps.done.wait(DEADLINE)
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_success_needs_no_pause(pauses: list[tuple[float, float]], caplog: pytest.LogCaptureFixture) -> None:
    """Steps that succeed follow one another at once, and log nothing."""
    run(None, None, None)
    assert not pauses
    assert not caplog.records


def test_pauses_double(pauses: list[tuple[float, float]]) -> None:
    """Pauses double up to the longest one, and start again after a step that succeeds."""
    fault = ValueError()
    run(fault, fault, fault, fault, None, fault, None, pause=1, longest_pause=3)
    assert pauses == [(0.5, 1), (1, 2), (1.5, 3), (1.5, 3), (0.5, 1)]


def test_pause_is_constant_by_default(pauses: list[tuple[float, float]]) -> None:
    """Without `longest_pause` all pauses are the same."""
    run(ValueError(), ValueError(), None, pause=2)
    assert pauses == [(1, 2), (1, 2)]


def test_log(pauses: list[tuple[float, float]], caplog: pytest.LogCaptureFixture) -> None:
    """An outage of Redis is a warning without a traceback; anything else is a fault with one."""
    run(BrokerUnavailable("refused"), ValueError("broken"), None)
    outage, fault = caplog.records
    assert (outage.levelno, outage.getMessage(), outage.exc_info) == (
        logging.WARNING,
        "The test waits for Redis: refused",
        None,
    )
    assert (fault.levelno, fault.getMessage()) == (logging.ERROR, "The test failed")
    assert fault.exc_info and fault.exc_info[0] is ValueError


def test_stop(pauses: list[tuple[float, float]], caplog: pytest.LogCaptureFixture) -> None:
    """An error that a step raises after the loop was stopped is neither logged nor followed by another step."""
    run(ValueError())
    assert not pauses
    assert not caplog.records


def test_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that goes through many items gives others their turn each millisecond."""
    now, turns = 0.0, 0

    def sleep(seconds: float) -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    seen = []
    for item in in_turns(range(10)):
        seen.append(item)
        now += 0.0004
    assert (seen, turns) == (list(range(10)), 3)


def test_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those whose sockets have something to read have their turn, too, however many are ready to go on."""
    monkeypatch.setattr(time, "sleep", gevent.sleep)
    reader, writer = gevent.socket.socketpair()
    with reader, writer:
        reading = gevent.spawn(reader.recv, 1)
        gevent.idle()  # until it waits
        writer.sendall(b"x")
        turns = 0
        while not reading.ready():
            give_way()
            turns += 1
    assert turns <= 2  # the socket is ready, and its reader goes on
