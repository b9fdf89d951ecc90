"""Timers: connections tick when they are due, and none holds up the others."""

from collections.abc import Callable
from typing import Any

import pytest

from notifier.connections import timers as module
from notifier.connections.timers import YIELD_EVERY, Timers
from notifier.telemetry import metrics
from tests.kit.clock import Clock


class Ticked:
    """A connection that notes its ticks."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.on_tick: Callable[[float], None] = lambda now: None

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.on_tick(now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1000.0)
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def timers(clock: Clock) -> Any:
    return Timers(lambda: None)


def turn(timers: Any, clock: Clock, until: float) -> None:
    """Turn the wheel until a time has come."""
    while clock.now < until:
        timers._turn()


def test_due(timers: Any, clock: Clock) -> None:
    """A connection ticks once, not before it is due, and at most two seconds later."""
    connections = [Ticked() for _ in range(10)]
    for number, connection in enumerate(connections):
        timers.schedule(connection, 1003.7 + number / 3)
    turn(timers, clock, 1020)
    for number, connection in enumerate(connections):
        [tick] = connection.ticks
        assert 0 <= tick - (1003.7 + number / 3) <= 2


def test_again(timers: Any, clock: Clock) -> None:
    """A connection that schedules itself in its tick ticks again."""
    connection = Ticked()
    connection.on_tick = lambda now: timers.schedule(connection, now + 10)
    timers.schedule(connection, 1010)
    turn(timers, clock, 1035)
    assert [round(tick - 1000) for tick in connection.ticks] == [11, 22, 33]


def test_yields(timers: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many are due at once, requests have their turn in between."""
    turns: list[None] = []
    monkeypatch.setattr(module, "give_way", lambda: turns.append(None))
    for _ in range(2 * YIELD_EVERY):
        timers.schedule(Ticked(), 1001)
    turn(timers, clock, 1003)
    assert len(turns) == 2


def test_each_turn(clock: Clock) -> None:
    """`each_turn` is called after the ticks of every turn."""
    calls: list[str] = []
    timers: Any = Timers(lambda: calls.append("turn"))
    connection = Ticked()
    connection.on_tick = lambda now: calls.append("tick")
    timers.schedule(connection, 1001)
    turn(timers, clock, 1002.5)
    assert calls == ["turn", "turn", "turn", "tick", "turn", "turn"]


def test_loop_delay(timers: Any, clock: Clock) -> None:
    """The time by which a turn exceeds its schedule is measured as the delay of the event loop."""
    clock.late = 0.25
    timers._turn()
    [sample] = next(iter(metrics.LOOP_DELAY.collect())).samples
    assert sample.value == pytest.approx(0.25)


def test_start(monkeypatch: pytest.MonkeyPatch, timers: Any) -> None:
    """The wheel turns in a loop, which survives a turn that fails."""
    started: list[Any] = []

    class FakeLoop:
        def __init__(self, name: str, step: Callable[[], None]) -> None:
            self.step = step

        def start(self) -> None:
            started.append(self.step)

    monkeypatch.setattr(module, "Loop", FakeLoop)
    timers.start()
    assert started == [timers._turn]
