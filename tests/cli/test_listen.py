"""`notifier listen`: events that cannot be printed."""

import json

import pytest

from notifier.cli.failure import say
from notifier.cli.listen import _show
from notifier.client import Received, Removed


def test_deep(capsys: pytest.CaptureFixture[str]) -> None:
    """A notification of an older service that is nested too deep to be printed is skipped, and named."""
    data: list[object] = []
    for _ in range(100_000):
        data = [data]
    _show(Received("n-1", "all", "5-1", False, {"id": "n-1", "data": data}), as_json=True)
    _show(Received("n-2", "all", "5-2", False, {"id": "n-2"}), as_json=True)
    said = capsys.readouterr()
    assert said.err == "notifier: Skipped an event that is nested too deep: n-1\n"
    assert said.out.count("\n") == 1 and "n-2" in said.out


def test_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that a terminal would interpret is printed, also in JSON, which stays the same document."""
    bad = "a\x1b[2J\x9b2J\x7f\u2028b"
    received = Received("n-1", "all", "5-1", False, {"id": "n-1", "title": bad})
    _show(received, as_json=True)
    _show(Removed(bad, "all", "5-2"), as_json=False)
    say(bad)
    lines = capsys.readouterr()
    printed = lines.out.splitlines() + lines.err.splitlines()
    assert len(printed) == 3 and all(map(str.isprintable, printed))
    assert json.loads(printed[0])["notification"]["title"] == bad
