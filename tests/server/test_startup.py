"""The startup of a worker: how long it waits before it accepts connections."""

from typing import Any

import pytest

from notifier.server import startup
from notifier.server.startup import start_node
from tests.kit.clock import Clock


class Node:
    """A node that has loaded everything at a time."""

    def __init__(self, clock: Clock, loaded_at: float) -> None:
        self._clock = clock
        self._loaded_at = loaded_at
        self.is_started = False

    def start(self) -> None:
        self.is_started = True

    @property
    def is_loading(self) -> bool:
        assert self.is_started
        return self._clock.now < self._loaded_at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(startup, "time", clock)
    return clock


@pytest.mark.parametrize(("loads", "waits"), [(0, 0), (3, 3), (1000, 10)])
def test_wait(clock: Clock, loads: float, waits: float) -> None:
    """A worker waits until everything is loaded, but for ten seconds at most."""
    begin = clock.now
    node: Any = Node(clock, begin + loads)
    start_node(node, lambda: True)
    assert clock.now - begin == pytest.approx(waits, abs=0.02)


def test_end(clock: Clock) -> None:
    """A worker that is stopped while it waits waits no longer."""
    begin = clock.now
    node: Any = Node(clock, begin + 1000)
    start_node(node, lambda: clock.now < begin + 2)
    assert clock.now - begin == pytest.approx(2, abs=0.02)
