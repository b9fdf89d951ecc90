"""How far a long `notifier send` has come, in a file: so that whatever ends it, the next one goes on where it was.

The file is replaced before the first batch and after each. A line's idempotency key is made of the job and the line's
number, so what was sent but not noted is sent again under the same key, and the service doubles nothing.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from notifier.cli import files
from notifier.cli.failure import FILE, USAGE, Failure
from notifier.client.calls import new_key

_REMEMBERED = 23 * 3600  # seconds: by default the service knows an idempotency key for a day
_WHAT = "resume file"


@dataclass
class Job:
    """What the file says. The lines up to `lines` are done, `digest` is of them; `is_open` while a batch may be
    on its way."""

    id: str
    url: str
    lines: int = 0
    digest: str = ""
    is_open: bool = False


class Resume:
    """How far a job has come. Without a path that is known only for now."""

    def __init__(self, path: Path | None, url: str) -> None:
        self._path = path
        self.job = Job(new_key(), url)
        self._hash = hashlib.sha256()
        self._skipped = 0
        if path and path.exists():
            self.job = _load(path)
            self._check(path, url)

    @property
    def is_kept(self) -> bool:
        """Whether the next run can go on where this one ends."""
        return self._path is not None

    def is_done(self, line: bytes) -> bool:
        """Tell whether the next line of the input was sent by an earlier run.

        Raises:
            Failure: the lines up to here are not those that were sent then.
        """
        if self._skipped >= self.job.lines:
            return False
        self._skipped += 1
        self._note(line)
        if self._skipped == self.job.lines and self._hash.hexdigest() != self.job.digest:
            raise self._other_input()
        return True

    def begin(self) -> None:
        """Note that a batch is about to be sent."""
        if not self.job.is_open:
            self.job.is_open = True
            self._save()

    def advance(self, lines: Iterable[bytes]) -> None:
        """Note that these lines are done."""
        for line in lines:
            self._note(line)
            self.job.lines += 1
        self._skipped = self.job.lines
        self.job.digest = self._hash.hexdigest()
        self._save()

    def finish(self) -> None:
        """Note that the input has ended."""
        if self._skipped < self.job.lines:
            raise self._other_input()
        self.job.is_open = False
        self._save()

    def _note(self, line: bytes) -> None:
        self._hash.update(line.rstrip(b"\n") + b"\n")

    def _check(self, path: Path, url: str) -> None:
        if self.job.url != url:
            raise Failure(f"{path} belongs to {self.job.url}, not to {url}: use another resume file.", USAGE)
        if self.job.is_open and time.time() - path.stat().st_mtime > _REMEMBERED:
            raise Failure(
                f"{path} is about a day old, so the service may no longer know the batch after line "
                f"{self.job.lines}, and might publish it twice. Look whether it was published. "
                f"To go on all the same: touch {path}",
                USAGE,
            )

    def _other_input(self) -> Failure:
        return Failure(
            f"The first {self.job.lines} lines are not those that were sent with {self._path}: "
            "give the same input again, or another resume file.",
            USAGE,
        )

    def _save(self) -> None:
        if self._path:
            files.save(self._path, _WHAT, asdict(self.job))


def _load(path: Path) -> Job:
    try:
        return Job(**files.load(path, _WHAT))
    except TypeError as error:
        raise Failure(f"{path} is no {_WHAT} of this command: give another one.", FILE) from error
