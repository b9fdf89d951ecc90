"""Programs that end with the test that started them, even if the test fails."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.kit import environment
from tests.kit.forks import Forked

_Process = TypeVar("_Process", "subprocess.Popen[Any]", Forked)
_started: list["subprocess.Popen[Any] | Forked"] = []


def start(command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[Any]":
    """Start a program, with the basic environment unless `env` is given. `options` are those of Popen."""
    return keep(subprocess.Popen(command, **{"env": environment.basic(), **options}))


def keep(process: _Process) -> _Process:
    """End a process with the test."""
    _started.append(process)
    return process


def run(command: Sequence[str | Path], **options: Any) -> "subprocess.CompletedProcess[Any]":
    """Run a program to its end, with the basic environment unless `env` is given. `options` are those of subprocess."""
    return subprocess.run(command, **{"env": environment.basic(), **options})


def end_all(patience: float = 10.0) -> None:
    """End the programs that still run: with SIGTERM, then with SIGKILL; `patience` is in seconds.

    SIGTERM first, because a service then ends its Valkey.
    """
    for process in _started:
        process.terminate()
    for process in _started:
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
    _started.clear()


def children(pid: int) -> list[int]:
    """Return the process ids of the workers of a gunicorn master. The embedded Valkey is not a worker."""
    pids = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    commands = {child: _file_of(child, "cmdline") for child in pids}  # empty when the process has ended
    return [child for child, command in commands.items() if command and b"valkey" not in command]


def is_alive(pid: int) -> bool:
    """Return whether a process runs."""
    stat = _file_of(pid, "stat")
    return bool(stat) and stat.split()[2] != b"Z"


def _file_of(pid: int, name: str) -> bytes:
    """Return a file of the kernel about a process, or nothing if the process has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
