"""Notifications as a publisher writes them, and as lines of JSON on their way to the service."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from notifier.client.errors import ProblemError

BATCH_LINES, BATCH_BYTES = 1000, 1 << 19  # of a request: a service takes more unless told otherwise


class To(TypedDict, total=False):
    """Whom a notification is for: at least one of these."""

    users: Sequence[str]
    topics: Sequence[str]
    all: bool


class Notification(TypedDict, total=False):
    """The members of a notification; docs/http-api.md has their limits. `to` is needed."""

    to: To
    type: str
    title: str
    body: str
    severity: Literal["info", "success", "warning", "error", "critical"]
    action_url: str
    data: Any
    collapse_key: str
    ttl: int
    retain: Literal["inbox", "history", "none"]


Line = bytes | ProblemError  # a notification on its way, or why it cannot go


class Batch(NamedTuple):
    """What is published by one request.

    The service makes each line's own idempotency key of `key` and of the line's number, which counts from `offset`.
    So however lines are spread over requests, a line that is sent again is known again.
    """

    key: str
    lines: list[Line]
    offset: int = 0

    def body(self) -> bytes:
        """Return the lines as they go. Blank ones, which the service skips, keep the numbers right."""
        return b"\n" * self.offset + b"\n".join(line if isinstance(line, bytes) else b"" for line in self.lines)

    def parts(self, count: int) -> tuple["Batch", "Batch"]:
        """Return the same as two requests, of which the first has so many lines."""
        return self._replace(lines=self.lines[:count]), Batch(self.key, self.lines[count:], self.offset + count)

    @property
    def is_empty(self) -> bool:
        """Whether no line of it can go."""
        return not any(isinstance(line, bytes) for line in self.lines)


def encode(notification: Mapping[str, Any] | bytes) -> bytes:
    """Return a notification as one line of JSON. Bytes are a notification that is encoded already.

    Raises:
        ProblemError: it cannot be JSON; it is the same problem as the service's.
    """
    if isinstance(notification, bytes):
        line = notification.strip()
        if not line or b"\n" in line or b"\r" in line:
            raise malformed("It is not a single line.")
        return line
    try:
        return json.dumps(notification, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise malformed(f"It cannot be written as JSON: {error}.") from error


def malformed(detail: str) -> ProblemError:
    """Return what the service would answer to a body that is no JSON object."""
    title = "The body is not a JSON object."
    return ProblemError({"status": 400, "code": "malformed_json", "title": title, "detail": detail})


def block(job: str, number: int) -> tuple[str, int]:
    """Return the key and the offset under which the line with this number, from 0, of a job is published."""
    return f"{job}:{number // BATCH_LINES}", number % BATCH_LINES


class Batcher:
    """Cuts the notifications of a job into batches."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._lines: list[Line] = []
        self._count = self._bytes = 0

    def add(self, notification: Mapping[str, Any] | bytes) -> Iterator[Batch]:
        """Take a notification; yield a batch if there is one without it."""
        line: Line
        try:
            line = encode(notification)
        except ProblemError as problem:
            line = problem
        size = len(line) + 1 if isinstance(line, bytes) else 0
        if len(self._lines) >= BATCH_LINES or self._bytes + size > BATCH_BYTES:
            yield from self.rest()
        self._lines.append(line)
        self._bytes += size

    def rest(self) -> Iterator[Batch]:
        """Yield what is left, if anything is."""
        lines = self._lines
        while lines:
            key, offset = block(self._job, self._count)
            now, lines = lines[: BATCH_LINES - offset], lines[BATCH_LINES - offset :]
            yield Batch(key, now, offset)
            self._count += len(now)
        self._lines, self._bytes = [], 0
