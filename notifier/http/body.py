"""Bodies of requests: size limits, and an error for bodies that were cut off."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from werkzeug import Request

from notifier.errors import BodyTooLarge, IncompleteBody, Problem, RateLimited, RequestTimeout, UnsupportedMediaType
from notifier.telemetry import metrics

PACE = "notifier.pace"  # the key in the environ of how fast a body must arrive
CONFIRM = "notifier.confirm"  # the key of a function that raises if the credentials are no longer valid
HOLD = "notifier.hold"  # of one that counts bytes of a request, with its environ, or raises RateLimited
_SOON = 0.5  # seconds: workers learn of a revocation within this time, and are not asked again sooner
_READ = 65536  # bytes at a time


class Pace(NamedTuple):
    """How fast a body must arrive: within so many seconds, or on average with so many bytes per second."""

    seconds: float
    rate: float


PATIENT = Pace(86400, 1)


def read(request: Request, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: it is longer than `limit`, in bytes.
        IncompleteBody: it was cut off.
        RequestTimeout: it arrives too slowly.
        UnsupportedMediaType: it is compressed.
        RateLimited: its user or API key has too many bytes of bodies and responses in memory.
        InvalidApiKey, InvalidToken, TokenExpired: the credentials were valid when the body began to arrive.
    """
    announced = _announced(request, limit)
    reading = _Reading(request)
    try:
        body = reading.piece(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge(f"At most {limit} bytes.")
        if announced is None or len(body) < announced:
            reading.require_end(announced, len(body))
    finally:
        reading.end()
    if reading.is_late and (confirm := request.environ.get(CONFIRM)):
        confirm()
    return body


def pieces(request: Request, limit: int) -> Iterator[bytes]:
    """Yield the body in pieces. Whoever keeps them counts them.

    Raises:
        BodyTooLarge, IncompleteBody, RequestTimeout, UnsupportedMediaType, RateLimited: see `read`. The pieces before
            were yielded.
    """
    announced = _announced(request, limit)
    size = 0
    reading = _Reading(request)
    try:
        while data := reading.piece(_READ):
            size += len(data)
            if size > limit:
                raise BodyTooLarge(f"At most {limit} bytes.")
            reading.release()
            began = time.monotonic()
            yield data
            reading.pause(time.monotonic() - began)
        reading.require_end(announced, size)
    finally:
        reading.end()


def hold(environ: dict[str, Any], size: int) -> None:
    """Count so many bytes of a request that are in memory until it ends; a negative number: that many fewer.

    Raises:
        RateLimited: its user or API key has too many.
    """
    count = environ.get(HOLD)
    if count and size:
        count(environ, size)


def require_uncompressed(request: Request) -> None:
    """Reject a compressed body.

    Raises:
        UnsupportedMediaType
    """
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "")
    if encoding.strip().lower() not in ("", "identity"):
        detail = "Content-Encoding is not supported: send the body uncompressed."
        raise UnsupportedMediaType(detail, headers={"Accept-Encoding": "identity"})


def _announced(request: Request, limit: int) -> int | None:
    require_uncompressed(request)
    announced = _length(request.environ)
    if announced is not None and announced > limit:
        raise BodyTooLarge(f"At most {limit} bytes; this body has {announced}.")
    return announced


def _length(environ: dict[str, Any]) -> int | None:
    """Return the length that gunicorn has checked: digits, and none for a body in chunks."""
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length else None


class _Reading:
    """Bounds the time in which a body arrives: gunicorn itself would wait for each byte without an end.

    A body that is too slow, or for which there is no memory, ends like one that was cut off, so that what has arrived
    is not lost. Nothing is read from its connection any more, so the rest cannot be taken for another request.
    """

    __slots__ = ("_began", "_environ", "_held", "_input", "_pace", "_problem", "_received", "_unreader")

    def __init__(self, request: Request) -> None:
        self._pace = request.environ.get(PACE, PATIENT)
        self._began = time.monotonic()
        self._received = 0
        self._environ = request.environ
        self._held = 0  # bytes that are counted
        self._problem: Problem | None = None  # why nothing more is read
        # gunicorn ends it where the body ends, so Werkzeug's wrapper around it is not needed.
        self._input = request.environ["wsgi.input"]
        reader = getattr(self._input, "reader", None)
        self._unreader: Any = reader and getattr(reader, "req", reader).unreader  # of a chunked body: by its request
        if self._unreader:
            self._unreader.chunk = self._chunk

    @property
    def is_late(self) -> bool:
        """Whether so much time has passed that something else may have happened."""
        return time.monotonic() - self._began > _SOON

    def end(self) -> None:
        """Allow gunicorn to read the next request."""
        if self._unreader and not self._problem:
            del self._unreader.chunk

    def release(self) -> None:
        """Count what was received no longer. Otherwise it counts until the request ends."""
        hold(self._environ, -self._held)
        self._held = 0

    def pause(self, seconds: float) -> None:
        """Do not count so many seconds: the service was busy with what it had read."""
        self._began += seconds

    def piece(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end of the body.

        Raises:
            IncompleteBody, RequestTimeout, RateLimited
        """
        try:
            piece: bytes = self._input.read(size)
        except Exception as error:
            self._require_no_problem()
            # Of many kinds: a reset connection, a chunk with a wrong size, a client that closed the connection.
            raise IncompleteBody("The connection ended within the body, or a chunk is malformed.") from error
        return piece

    def require_end(self, announced: int | None, size: int) -> None:
        """Check that the body of this size has ended where it should.

        Raises:
            IncompleteBody, RequestTimeout, RateLimited
        """
        self._require_no_problem()
        if announced is not None and size < announced:
            raise IncompleteBody(f"{announced} bytes were announced, {size} arrived.")

    def _require_no_problem(self) -> None:
        if self._problem:
            raise self._problem

    def _chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes of the socket. Nothing: they do not come in time, or there is no memory for them."""
        unreader = self._unreader
        left = self._pace.seconds + self._received / self._pace.rate - (time.monotonic() - self._began)
        try:
            unreader.sock.settimeout(max(left, 0.001))
            data: bytes = type(unreader).chunk(unreader, size_hint)
            hold(self._environ, len(data))
        except TimeoutError:
            metrics.LIMITED.labels("body_rate").inc()
            return self._end_with(RequestTimeout("The body arrives too slowly."))
        except RateLimited as problem:
            return self._end_with(problem)
        finally:
            unreader.sock.settimeout(None)
        self._received += len(data)
        self._held += len(data)
        return data

    def _end_with(self, problem: Problem) -> bytes:
        self._problem = problem
        self._unreader.chunk = _nothing
        return b""


def _nothing(size_hint: int | None = None) -> bytes:
    return b""
