"""The command line, in a separate process."""

import signal
from pathlib import Path
from typing import NamedTuple

from tests.kit import environment, processes
from tests.kit.forks import Forked, server_of
from tests.kit.service import API_KEY, Service
from tests.kit.waiting import DEADLINE

_ROOT = Path(__file__).parent.parent.parent


class Done(NamedTuple):
    """The result of a command. `words` is its output on stderr."""

    code: int
    out: str
    words: str

    @property
    def lines(self) -> list[str]:
        """The lines of its output."""
        return self.out.splitlines()


class Command:
    """The command `notifier`, with the environment of a service's user or publisher."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.environ = environment.basic(PYTHONPATH=str(_ROOT)) | variables

    @classmethod
    def of(cls, service: Service, folder: Path, **variables: str) -> "Command":
        """Return the command of a publisher."""
        given = {"NOTIFIER_URL": f"http://127.0.0.1:{service.port}", "NOTIFIER_API_KEY": API_KEY}
        return cls(folder, **given | variables)

    def run(self, *words: str, stdin: bytes = b"", **variables: str) -> Done:
        """Run the command to its end."""
        process = self.start(*words, **variables)
        out, words_said = process.communicate(stdin, timeout=3 * DEADLINE)
        return Done(process.returncode, out.decode(), words_said.decode())

    def start(self, *words: str, **variables: str) -> Forked:
        """Start the command. The end of the test ends it."""
        server = server_of("notifier.cli.main")
        return processes.keep(server.start(["notifier", *words], self.folder, self.environ | variables))


def end(process: Forked, how: signal.Signals = signal.SIGKILL) -> Done:
    """End a command by a signal."""
    process.send_signal(how)
    out, words = process.communicate(timeout=DEADLINE)
    return Done(process.returncode, out.decode(), words.decode())
