"""Notifications as a publisher writes them, and as lines of JSON in requests."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from notifier.client.errors import ProblemError
from notifier.protocol import json_shape

BATCH_LINES, BATCH_BYTES = 1000, 1 << 19  # of a request: less than the default limits of a service


class To(TypedDict, total=False):
    """The recipients of a notification: at least one of these fields."""

    users: Sequence[str]
    topics: Sequence[str]
    all: bool


class Notification(TypedDict, total=False):
    """The fields of a notification; docs/http-api.md has their limits. `to` is required."""

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


Line = bytes | ProblemError  # an encoded notification, or why it cannot be sent


class Batch(NamedTuple):
    """The lines that one request publishes.

    The service derives the idempotency key of each line from `key` and the line's number, which counts from `offset`.
    So a line keeps its key, however lines are distributed over requests.
    """

    key: str
    lines: list[Line]
    offset: int = 0

    def body(self) -> bytes:
        """Return the body of the request. Empty lines, which the service skips, keep the numbers right."""
        return b"\n" * self.offset + b"\n".join(line if isinstance(line, bytes) else b"" for line in self.lines)

    def parts(self, count: int) -> tuple["Batch", "Batch"]:
        """Return the batch as two requests, of which the first has `count` lines."""
        return self._replace(lines=self.lines[:count]), Batch(self.key, self.lines[count:], self.offset + count)

    @property
    def is_empty(self) -> bool:
        """Whether no line can be sent."""
        return not any(isinstance(line, bytes) for line in self.lines)


def encode(notification: Mapping[str, Any] | bytes) -> bytes:
    """Return a notification as one line of JSON. Bytes are a notification that is encoded already.

    Raises:
        ProblemError: it cannot be encoded; the problem is the one that the service answers with.
    """
    if isinstance(notification, bytes):
        line = notification.strip()
        if not line or b"\n" in line or b"\r" in line:
            raise malformed("It is not a single line.")
        return line
    try:
        return json.dumps(notification, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError as error:
        raise _too_deep() from error
    except (TypeError, ValueError) as error:
        if "integer string conversion" in str(error):  # Python converts at most 4,300 digits
            raise _out_of_range() from error
        raise malformed(f"It cannot be written as JSON: {error}.") from error


def read_data(text: str) -> Any:
    """Return the value of `data` that a text of JSON describes.

    Raises:
        ValueError: it is not JSON.
        ProblemError: no notification can have it; the problem is the one that the service answers with.
    """
    body = text.encode()
    if json_shape.is_deep(body, json_shape.MAX_DEPTH):
        raise _too_deep()
    json.loads(text, parse_int=float, parse_constant=_refuse)
    if not json_shape.fits_doubles(body):
        raise _out_of_range()
    return json.loads(text)


def malformed(detail: str) -> ProblemError:
    """Return what the service answers to a body that is not a JSON object."""
    title = "The body is not a JSON object."
    return ProblemError({"status": 400, "code": "malformed_json", "title": title, "detail": detail})


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


def _too_deep() -> ProblemError:
    return _invalid("", "too_deep", f"At most {json_shape.MAX_DEPTH} levels of arrays and objects.")


def _out_of_range() -> ProblemError:
    detail = f"Numbers have at most {json_shape.MAX_DIGITS} digits and fit in a double. Use a string."
    return _invalid("/data", "number_out_of_range", detail)


def _invalid(pointer: str, code: str, detail: str) -> ProblemError:
    """Return what the service answers to a notification with a fault."""
    fault = {"pointer": pointer, "code": code, "detail": detail}
    title = "The notification is not valid."
    return ProblemError({"status": 422, "code": "invalid_notification", "title": title, "errors": [fault]})


def block(job: str, number: int) -> tuple[str, int]:
    """Return the key and the offset of the request that publishes a line of a job. Lines are numbered from 0."""
    return f"{job}:{number // BATCH_LINES}", number % BATCH_LINES


class Batcher:
    """Cuts the notifications of a job into batches."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._lines: list[Line] = []
        self._count = self._bytes = 0

    def add(self, notification: Mapping[str, Any] | bytes) -> Iterator[Batch]:
        """Add a notification; yield a batch of the earlier ones if they fill one."""
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
        """Yield batches of the remaining notifications."""
        lines = self._lines
        while lines:
            key, offset = block(self._job, self._count)
            now, lines = lines[: BATCH_LINES - offset], lines[BATCH_LINES - offset :]
            yield Batch(key, now, offset)
            self._count += len(now)
        self._lines, self._bytes = [], 0
