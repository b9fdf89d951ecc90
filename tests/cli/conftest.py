"""Fixtures that the tests of commands share: commands in this process, without a service."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from notifier.cli import main

Run = Callable[..., "Ended"]


class Ended(NamedTuple):
    """The result of a command: its exit code, and its output on stdout and stderr."""

    code: int
    out: str
    words: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, without variables of Notifier."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("NOTIFIER_")]:
        monkeypatch.delenv(variable)

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["notifier", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run
