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
