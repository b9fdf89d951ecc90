"""A reader of the documentation, who follows its steps: in a copy of the project, in one shell, on free ports."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.kit import environment
from tests.kit.ports import free_port
from tests.kit.waiting import DEADLINE, eventually

ROOT = Path(__file__).parent.parent.parent
SERVICE, APP, REDIS = "8080", "5000", "6379"  # ports as the documentation has them
PATIENCE = 900.0  # seconds: `make run` installs
_PORTS = re.compile(rf"\b({SERVICE}|{APP}|{REDIS})\b")
_SERVERS = {"make run": SERVICE, "gunicorn": SERVICE, "flask": APP}
_SKIPPED = re.compile(r"<!-- not run: (.+) -->\s*\Z")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = (
    ".venv",
    ".build",
    ".git",
    ".notifier",
    "node_modules",
    "__pycache__",
    ".*_cache",
    "build",
    "dist",
    "*.egg-info",
    "mine",
)


class Block(NamedTuple):
    """A fenced block. `before` is the text above it, `skipped` the reason why it is not run."""

    page: str
    language: str
    text: str
    before: str
    skipped: str

    @property
    def file(self) -> str:
        """The file that the reader saves it as."""
        found = re.search(r"(?:Save this as|Replace) `(.+?)`(?: with)?:\s*\Z", self.before)
        return found[1] if found else ""

    @property
    def section(self) -> str:
        """The heading of its section."""
        return re.findall(r"^## (.+)$", self.before, re.MULTILINE)[-1]


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    text = (ROOT / page).read_text()
    for found in _BLOCK.finditer(text):
        before = text[: found.start()]
        skipped = _SKIPPED.search(before)
        yield Block(page, found[1], found[2], before, skipped[1] if skipped else "")


class Reader:
    """A reader of the documentation. `ports` maps the ports of the documentation to free ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "notifier"
        self.ports = {port: str(free_port()) for port in (SERVICE, APP, REDIS)}
        self._exports = folder / "exports"
        self._exports.touch()
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        shutil.copytree(ROOT, self.folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")  # so that a refusal is a failure

    def close(self) -> None:
        """End what still serves, and forget what was exported."""
        for port in list(self._servers):
            self.stop(port)
        self._exports.write_text("")

    def translated(self, text: str) -> str:
        """Return a text with free ports."""
        return _PORTS.sub(lambda port: self.ports[port[0]], text)

    def url(self, port: str = SERVICE) -> str:
        """Return the address of what serves on a port of the documentation."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def save(self, block: Block) -> None:
        """Write the file that a block must be saved as."""
        (self.folder / block.file).write_text(self.translated(block.text))

    def run(self, block: Block) -> str:
        """Run a block of shell or Python, and return what it prints. A server is left running."""
        text = self.translated(block.text)
        if block.language == "python":
            return self.shell(f".venv/bin/python - <<'END_OF_BLOCK'\n{text}\nEND_OF_BLOCK\n")
        *lines, last = text.rstrip().splitlines()
        served = [port for command, port in _SERVERS.items() if command in last]
        return self._serve("\n".join(lines), last, served[0]) if served else self.shell(text)

    def shell(self, script: str) -> str:
        """Run a script in the reader's shell, which keeps what was exported."""
        process = self._start(f"{script}\nexport -p > {self._exports}\n", "output")
        assert _wait(process) == 0, f"{script}\n{self._log('output')}"
        return self._log("output")

    def stop(self, port: str) -> None:
        """End what serves on a port, as Ctrl-C does."""
        if process := self._servers.pop(port, None):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            _wait(process)

    def _serve(self, before: str, command: str, port: str) -> str:
        self.stop(port)
        process = self._start(f"{before}\nexport -p > {self._exports}\n{command}\n", f"server-{port}")
        self._servers[port] = process

        def is_ready() -> bool:
            assert process.poll() is None, self._log(f"server-{port}")
            path = "/readyz" if port == SERVICE else "/"
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                urllib.request.urlopen(self.url(port) + path, timeout=DEADLINE),
            ):
                return True  # another status than 200 is an OSError
            return False

        eventually(is_ready, PATIENCE)
        return self._log(f"server-{port}")

    def _start(self, script: str, log: str) -> subprocess.Popen[bytes]:
        with (self.folder.parent / log).open("wb") as output:
            return subprocess.Popen(
                ["sh", "-ec", f". {self._exports}\n{script}"],
                cwd=self.folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group, to end the shell's children with it
            )

    def _environ(self) -> dict[str, str]:
        """Return the environment of a user who has set up only the port, and how curl reports errors."""
        bind, curl = f"127.0.0.1:{self.ports[SERVICE]}", str(self.folder.parent)
        # pip reads "0" as: do not compile. Python compiles the third of the modules that it imports.
        return environment.installing(NOTIFIER_BIND=bind, CURL_HOME=curl, PIP_NO_COMPILE="0")

    def _log(self, name: str) -> str:
        return (self.folder.parent / name).read_text()


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Return the exit status of a group's leader; the group is killed if it takes too long."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
