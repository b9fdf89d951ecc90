"""Waits for conditions that nothing announces."""

import time
from collections.abc import Callable

DEADLINE = 60.0  # seconds after which a test fails that waits for something


def eventually(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait until a condition holds. `deadline` is in seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"{condition} did not come true in {deadline} seconds"
        time.sleep(0.02)


def next_millisecond() -> None:
    """Wait for the next millisecond of this machine's clock, which is also that of its Redis servers.

    Notifications of one millisecond have no order across channels, and a mark as read never covers the current one.
    """
    begin = _milliseconds()
    while _milliseconds() <= begin:
        time.sleep(0.0001)


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
