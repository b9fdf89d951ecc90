"""Turns: how often a loop lets other threads go first."""

import time
from types import SimpleNamespace

import pytest

from notifier import loop


class Turns:
    """Counts the turns that others have had. Each piece of `work` takes more than the millisecond of a turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=time.monotonic, sleep=self._sleep))

    def work(self) -> None:
        """Take more than a millisecond."""
        end = time.monotonic() + 0.0011
        while time.monotonic() < end:
            pass

    def _sleep(self, seconds: float) -> None:
        self.count += 1
        time.sleep(seconds)
