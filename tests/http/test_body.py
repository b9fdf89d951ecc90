"""Bodies of requests: the limit, and bodies that were cut off."""

import pytest

from notifier.errors import BodyTooLarge, IncompleteBody, UnsupportedMediaType
from notifier.http import body
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


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("length", [0, 1, LIMIT - 1, LIMIT])
def test_within_limit(length: int, chunked: bool) -> None:
    """A body may be empty, and may be as long as the limit."""
    data = bytes(range(length))
    assert body.read(request_of(data, chunked=chunked), LIMIT) == data
    assert pieces(data, chunked=chunked) == data


@pytest.mark.parametrize("length", [LIMIT + 1, 10 * LIMIT])
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


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
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


@pytest.mark.parametrize("arrived", [0, 1, LIMIT - 1])
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
