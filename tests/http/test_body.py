"""Bodies of requests: the limit, and bodies that were cut off."""

from types import SimpleNamespace

import pytest
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import SocketUnreader
from werkzeug import Request

from notifier.errors import BodyTooLarge, IncompleteBody, RateLimited, RequestTimeout, UnsupportedMediaType
from notifier.http import body
from tests.kit import metrics
from tests.kit.cases import rows
from tests.kit.requests import BrokenBody, request_of

LIMIT = 100


def pieces(data: bytes, **options: bool) -> bytes:
    return b"".join(body.pieces(request_of(data, **options), LIMIT))


@pytest.fixture(params=[1, 7, LIMIT, 65536], autouse=True)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The size of the pieces."""
    monkeypatch.setattr(body, "_READ", request.param)
    size: int = request.param
    return size


@rows("chunked", [False, True])
@rows("length", [0, 1, LIMIT - 1, LIMIT])
def test_within_limit(length: int, chunked: bool) -> None:
    """A body may be empty, and may be as long as the limit."""
    data = bytes(range(length))
    assert body.read(request_of(data, chunked=chunked), LIMIT) == data
    assert pieces(data, chunked=chunked) == data


@rows("length", [LIMIT + 1, 10 * LIMIT])
def test_beyond_limit(length: int) -> None:
    """A chunked body is rejected where it exceeds the limit, an announced one before it is read."""
    chunked = request_of(b"x" * length, chunked=True)
    with pytest.raises(BodyTooLarge):
        body.read(chunked, LIMIT)
    with pytest.raises(BodyTooLarge):
        pieces(b"x" * length, chunked=True)
    announced = request_of(b"x" * length)
    with pytest.raises(BodyTooLarge):
        body.read(announced, LIMIT)
    with pytest.raises(BodyTooLarge):
        list(body.pieces(announced, LIMIT))
    assert announced.environ["wsgi.input"].tell() == 0


@rows("encoding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
def test_compressed(encoding: str) -> None:
    """A compressed body is rejected before it is read."""
    request = request_of(b"x", content_encoding=encoding)
    with pytest.raises(UnsupportedMediaType) as caught:
        body.read(request, LIMIT)
    assert caught.value.headers == {"Accept-Encoding": "identity"}
    with pytest.raises(UnsupportedMediaType):
        list(body.pieces(request, LIMIT))
    assert body.read(request_of(b"x", content_encoding=" Identity"), LIMIT) == b"x"


def test_pieces_before_the_limit(size: int) -> None:
    """Of a chunked body that exceeds the limit, the pieces within it are yielded first."""
    arrived = b""
    with pytest.raises(BodyTooLarge):
        for piece in body.pieces(request_of(b"x" * (LIMIT + 1), chunked=True), LIMIT):
            arrived += piece
    assert len(arrived) == LIMIT // size * size


@rows("arrived", [0, 1, LIMIT - 1])
def test_shorter_than_announced(arrived: int, size: int) -> None:
    """A body that is shorter than announced was cut off. Its pieces are yielded first."""
    data = b"x" * arrived
    with pytest.raises(IncompleteBody):
        body.read(request_of(data, length=arrived + 1), LIMIT)
    read = body.pieces(request_of(data, length=arrived + 1), LIMIT)
    yielded = [next(read) for _ in range(-(-arrived // size))]
    with pytest.raises(IncompleteBody):
        next(read)
    assert b"".join(yielded) == data


def test_reset() -> None:
    """An error of the connection, or of a chunk, is a body that was cut off."""
    with pytest.raises(IncompleteBody, match="The connection ended"):
        body.read(request_of(BrokenBody(b""), chunked=True), LIMIT)
    with pytest.raises(IncompleteBody, match="The connection ended"):
        list(body.pieces(request_of(BrokenBody(b"x" * 10), chunked=True), LIMIT))


class Sock:
    """A socket that sends a byte each second, of a clock that only it moves."""

    def __init__(self, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data, self.now, self.timeout = data, 0.0, None
        monkeypatch.setattr(body.time, "monotonic", lambda: self.now)

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def recv(self, size: int) -> bytes:
        if self.timeout is not None and self.timeout < 1:
            self.now += self.timeout
            raise TimeoutError
        self.now += 1
        sent, self.data = self.data[:1], self.data[1:]
        return sent


def slow(sock: Sock, pace: body.Pace, length: int) -> Request:
    """Return a request that gunicorn reads from a socket."""
    request = request_of(length=length)
    request.environ["wsgi.input"] = Body(LengthReader(SocketUnreader(sock), length))
    request.environ[body.PACE] = pace
    return request


@rows(("seconds", "rate", "arrives"), [(5, 100, 5), (5, 1.25, 21), (50, 1, 99), (1, 0.5, 99)])
def test_pace(seconds: float, rate: float, arrives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may take some seconds, and longer if it is fast enough. Then nothing more is read of its connection."""
    sock = Sock(b"x" * 200, monkeypatch)
    request = slow(sock, body.Pace(seconds, rate), 99)
    unreader = request.environ["wsgi.input"].reader.unreader
    if arrives == 99:
        assert body.read(request, LIMIT) == b"x" * 99
        assert sock.timeout is None and unreader.read(1) == b"x"
        return
    before = metrics.value("notifier_limited_total", limit="body_rate")
    with pytest.raises(RequestTimeout):
        body.read(request, LIMIT)
    assert metrics.value("notifier_limited_total", limit="body_rate") == before + 1
    assert len(sock.data) == 200 - arrives and unreader.read() == b""


@rows(("seconds", "is_in_time"), [(50, True), (5, False)])
def test_chunked_pace(seconds: float, is_in_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks must arrive in time, too."""
    sock = Sock(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET", monkeypatch)
    unreader = SocketUnreader(sock)
    request = request_of(chunked=True)
    message = SimpleNamespace(unreader=unreader, parse_headers=lambda *_, **__: [])
    request.environ["wsgi.input"] = Body(ChunkedReader(message, unreader))
    request.environ[body.PACE] = body.Pace(seconds, 100)
    if is_in_time:
        assert body.read(request, LIMIT) == b"abcde" and unreader.read(3) == b"GET"
    else:
        with pytest.raises(RequestTimeout):
            body.read(request, LIMIT)
        assert unreader.read() == b""


@rows(("length", "is_asked"), [(0, False), (1, True), (99, True)])
def test_confirmation(length: int, is_asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are checked again after a body that took a second or more."""
    asked: list[bool] = []
    request = slow(Sock(b"x" * 200, monkeypatch), body.PATIENT, length)
    request.environ[body.CONFIRM] = lambda: asked.append(True)
    assert body.read(request, LIMIT) == b"x" * length
    assert asked == [True] * is_asked


def test_slow_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces of a slow body that have arrived are not lost. The time of work on them does not count."""
    sock = Sock(b"y" * 200, monkeypatch)
    found = b""
    with pytest.raises(RequestTimeout):
        for piece in body.pieces(slow(sock, body.Pace(5, 100), 99), LIMIT):
            found += piece
            sock.now += 1000
    assert found == b"y" * 5


class Memory:
    """Counts the bytes of a request that are in memory, at most so many."""

    def __init__(self, most: int = 1000) -> None:
        self.size = self.peak = 0
        self._most = most

    def count(self, environ: dict[str, object], size: int) -> None:
        if size > 0 and self.size >= self._most:
            raise RateLimited
        self.size += size
        self.peak = max(self.peak, self.size)


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole body counts until its request ends, a piece until it is yielded."""
    for left in (50, 0):
        memory, request = Memory(), slow(Sock(b"x" * 200, monkeypatch), body.PATIENT, 50)
        request.environ[body.HOLD] = memory.count
        read = [body.read(request, LIMIT)] if left else body.pieces(request, LIMIT)
        assert b"".join(read) == 50 * b"x"
        assert (memory.peak, memory.size) == (50, left)


def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body for which there is no memory is rejected, and nothing more is read. Its pieces are yielded first."""
    for is_whole in (True, False):
        memory, request, arrived = Memory(20), slow(Sock(b"x" * 200, monkeypatch), body.PATIENT, 50), b""
        request.environ[body.HOLD] = memory.count
        with pytest.raises(RateLimited):
            for piece in [body.read(request, LIMIT)] if is_whole else body.pieces(request, LIMIT):
                arrived += piece
        assert len(arrived) == (0 if is_whole else 20)
        assert request.environ["wsgi.input"].reader.unreader.read() == b""
