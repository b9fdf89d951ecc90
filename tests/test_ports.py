"""Two processes that run tests never get the same port."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import environment, ports

FEW = range(11_000, 11_050)  # so few that two of forty are the same, unless the processes agree
PICKED = f"from tests.kit import ports; ports._PORTS = {FEW!r}; print(*[ports.free_port() for _ in range(20)])"
LOCKS = f"notifier-ports-{os.getuid()}"  # a file of its own: all other tests of this user would lack these ports


def test_ports_of_two_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process keeps its ports until it ends, although nothing listens on them."""
    monkeypatch.setattr(ports, "_PORTS", FEW)
    locks = os.open(tmp_path / LOCKS, os.O_WRONLY | os.O_CREAT, 0o600)
    monkeypatch.setattr(ports, "_descriptor", lambda: locks)
    ours = {ports.free_port() for _ in range(20)}
    command, root = [sys.executable, "-c", PICKED], Path(__file__).parent.parent
    other = subprocess.run(
        command, cwd=root, env=environment.basic(TMPDIR=str(tmp_path)), capture_output=True, text=True, check=True
    )
    theirs = set(map(int, other.stdout.split()))
    os.close(locks)
    assert (len(ours), len(theirs), ours & theirs) == (20, 20, set())
