"""Runs an example as described in its first lines, in a folder like the project's, on free ports."""

import ast
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tests.kit import environment
from tests.kit.leaks import leaks
from tests.kit.ports import free_port
from tests.kit.waiting import DEADLINE, eventually

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
FILES = sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/*.html")])
INSTALL = ".venv/bin/pip install -r examples/requirements.txt"
SERVICE_PORT = "8080"
PATIENCE = 60.0  # seconds: frameworks load slowly on a busy machine
_PORTS = re.compile(rf"\b({SERVICE_PORT}|8000|8501|500\d)\b")

Ports = dict[str, str]  # port in the text -> free port


def choose_ports() -> Ports:
    """Return a free port for each port in the examples."""
    return {port: str(free_port()) for path in FILES for port in _PORTS.findall(path.read_text())}


def with_ports(text: str, ports: Ports) -> str:
    """Return a text with free ports."""
    return _PORTS.sub(lambda match: ports[match[0]], text)


def copy_examples(folder: Path, ports: Ports, data: Path) -> None:
    """Fill a folder like the project's folder during `make run`."""
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__", "token"))
    for path in (folder / "examples").rglob("*.*"):
        path.write_text(with_ports(path.read_text(), ports))
    (folder / "notifier").symlink_to(ROOT / "notifier")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".notifier").symlink_to(data)


class Example:
    """An example in the copied folder, run as described in its first lines."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.path = folder / "examples" / name
        self.service, *self.rest = commands(self.path)
        self.lines = [line for line in self.rest if line != INSTALL]
        self._log = self.path.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0.0  # in Unix seconds

    def start(self, *replaced: str, **environ: str) -> Self:
        """Start it. Of two given texts, the first is replaced by the second in the command."""
        script = "\n".join(self.lines).replace(*replaced) if replaced else "\n".join(self.lines)
        self.started = time.time()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-ec", script],
                cwd=self.folder,
                env=inherited() | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group, to end the shell's children too
            )
        return self

    def kill(self) -> None:
        """Kill it."""
        process, self._process = self._process, None
        if process and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert leaks(self.output) == []

    @property
    def output(self) -> str:
        """Its output since the last start."""
        return self._log.read_text()

    def prints(self, text: str) -> None:
        """Wait until it has printed a text."""
        eventually(lambda: text in self.output or self._fail_if_ended(text), PATIENCE)

    def ends(self) -> int:
        """Wait until it ends, and return its exit status."""
        assert self._process
        return self._process.wait(PATIENCE)

    def address(self) -> str:
        """Wait until it serves, and return its address."""
        [port] = set(re.findall(r"(?:--port|--server.port|--noreload|http.server) (\d+)", self.lines[-1]))
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(address) or self._fail_if_ended(address), PATIENCE)
        return address

    def _fail_if_ended(self, wanted: str) -> None:
        assert self._process and (self._process.poll() is None or wanted in self.output), self.output


def commands(path: Path) -> list[str]:
    """Return the three lines after the first sentence, which describe how an example is run."""
    text = path.read_text()
    header = text.split("-->")[0] if path.suffix == ".html" else ast.get_docstring(ast.parse(text)) or ""
    blocks = [block.splitlines() for block in header.split("\n\n")]
    return [line.strip() for line in blocks[1]]


def inherited() -> dict[str, str]:
    """Return the environment of a user who has set up nothing; output is written at once, as on a terminal."""
    return environment.basic() | {"PYTHONUNBUFFERED": "1", "HOME": "/nonexistent"}


def answers(address: str) -> bool:
    """Return whether a server answers at an address."""
    try:
        urllib.request.urlopen(address, timeout=DEADLINE).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
