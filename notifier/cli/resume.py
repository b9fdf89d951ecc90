"""Resume files: the state of a long `notifier send`, with which the next run continues after any interruption.

The file is replaced before the first batch and after each one. The idempotency key of a line is derived from the job
and the line's number: lines that were sent, but not recorded, are sent again under the same key and published once.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from notifier.cli import files
from notifier.cli.failure import FILE, USAGE, Failure
from notifier.client.checks import new_key

_REMEMBERED = 23 * 3600  # seconds: by default the service stores an idempotency key for a day
_WHAT = "resume file"


@dataclass
class Job:
    """The contents of the file. `lines` lines are done, and `digest` is their digest. `is_open`: a batch may have been
    sent and not recorded."""

    id: str
    url: str
    lines: int = 0
    digest: str = ""
    is_open: bool = False


class Resume:
    """The state of a job. Without a path it is not stored."""

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
        """Whether the next run can continue the job."""
        return self._path is not None

    def is_done(self, line: bytes) -> bool:
        """Return whether the next line of the input was sent by an earlier run.

        Raises:
            Failure: the input differs from that of the earlier run.
        """
        if self._skipped >= self.job.lines:
            return False
        self._skipped += 1
        self._note(line)
        if self._skipped == self.job.lines and self._hash.hexdigest() != self.job.digest:
            raise self._other_input()
        return True

    def begin(self) -> None:
        """Record that a batch is about to be sent."""
        if not self.job.is_open:
            self.job.is_open = True
            self._save()

    def advance(self, lines: Iterable[bytes]) -> None:
        """Record that these lines are done."""
        for line in lines:
            self._note(line)
            self.job.lines += 1
        self._skipped = self.job.lines
        self.job.digest = self._hash.hexdigest()
        self._save()

    def finish(self) -> None:
        """Record that the input has ended."""
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
                f"{path} is about a day old, so the service may have forgotten the idempotency keys of the batch after "
                f"line {self.job.lines}, and might publish it twice. Check whether it was published. "
                f"To continue anyway: touch {path}",
                USAGE,
            )

    def _other_input(self) -> Failure:
        return Failure(
            f"The first {self.job.lines} lines differ from those that were sent with {self._path}: "
            "use the same input again, or another resume file.",
            USAGE,
        )

    def _save(self) -> None:
        if self._path:
            files.save(self._path, _WHAT, asdict(self.job))


def _load(path: Path) -> Job:
    try:
        return Job(**files.load(path, _WHAT))
    except TypeError as error:
        raise Failure(f"{path} is not a {_WHAT} of this command: use another one.", FILE) from error
