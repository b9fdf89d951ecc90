"""When memory that was freed is returned to the system."""

import pytest

from notifier.server import memory
from notifier.server.memory import MANY, PAUSE, FreedMemory
from tests.kit.clock import Clock


@pytest.mark.parametrize(
    ("connections", "trims"),
    [
        ([0, MANY - 1, 0], 0),
        ([0, MANY, 0, 0], 1),
        ([0, MANY, 2 * MANY, MANY + 1], 0),
        ([0, MANY, 2 * MANY, MANY], 1),
        ([2 * MANY, MANY, 2 * MANY - 1, MANY], 1),  # the pause
        ([10 * MANY, 9 * MANY, 6 * MANY, 5 * MANY, 4 * MANY, 0], 1),
    ],
)
def test_falls(connections: list[int], trims: int) -> None:
    """Memory is trimmed when half of the connections have ended, if they were many, and once for each such fall."""
    done: list[None] = []
    subject = FreedMemory(lambda: done.append(None), lambda: 100.0)
    for number in connections:
        subject.note(number)
    assert len(done) == trims


def test_pause() -> None:
    """A fall soon after another is not forgotten: memory is trimmed when the pause is over."""
    done: list[float] = []
    clock = Clock(100.0)
    subject = FreedMemory(lambda: done.append(clock.now), clock.time)
    for number in (MANY, 0, MANY, 0):
        subject.note(number)
    clock.now += PAUSE
    subject.note(0)
    subject.note(0)
    assert done == [100.0, 100.0 + PAUSE]


def test_trim() -> None:
    """It works with this C library, or does nothing."""
    memory.trim()
