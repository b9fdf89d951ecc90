"""The real command line, in a process of its own."""

import signal
from pathlib import Path
from typing import NamedTuple

from tests.kit import environment, processes
from tests.kit.forks import Forked, server_of
from tests.kit.service import API_KEY, Service
from tests.kit.waiting import DEADLINE

_ROOT = Path(__file__).parent.parent.parent


class Done(NamedTuple):
    """How a command ended. `words` are what it said on stderr."""

    code: int
    out: str
    words: str

    @property
    def lines(self) -> list[str]:
        """What it printed."""
        return self.out.splitlines()


class Command:
    """`notifier`, told where a service is."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.environ = environment.basic(PYTHONPATH=str(_ROOT)) | variables

    @classmethod
    def of(cls, service: Service, folder: Path, **variables: str) -> "Command":
        """Return the command of a publisher."""
        given = {"NOTIFIER_URL": f"http://127.0.0.1:{service.port}", "NOTIFIER_API_KEY": API_KEY}
        return cls(folder, **given | variables)

    def run(self, *words: str, stdin: bytes = b"", **variables: str) -> Done:
        """Run it to its end."""
        process = self.start(*words, **variables)
        out, words_said = process.communicate(stdin, timeout=3 * DEADLINE)
        return Done(process.returncode, out.decode(), words_said.decode())

    def start(self, *words: str, **variables: str) -> Forked:
        """Start it; the end of the test ends it."""
        server = server_of("notifier.cli.main")
        return processes.keep(server.start(["notifier", *words], self.folder, self.environ | variables))


def end(process: Forked, how: signal.Signals = signal.SIGKILL) -> Done:
    """End a command by a signal."""
    process.send_signal(how)
    out, words = process.communicate(timeout=DEADLINE)
    return Done(process.returncode, out.decode(), words.decode())
