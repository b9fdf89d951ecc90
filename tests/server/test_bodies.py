"""Bodies as gunicorn reads them: turns of others, and what follows a body that nobody has read."""

import contextlib
from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidChunkSize, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

from notifier.server import bodies
from notifier.server.heads import limit_heads

GET, POST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LONG = {
    "announced": b"Content-Length: 3000000\r\n\r\n" + 3_000_000 * b"x",
    "chunks": CHUNKED + 3000 * b"1\r\nx\r\n" + b"0\r\n\r\n",
}


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """The turns that others have had, while gunicorn reads bodies as in the service."""
    taken: list[None] = []
    monkeypatch.setattr(bodies, "give_way", lambda: taken.append(None))
    monkeypatch.setattr(SocketUnreader, "max_body_chunk", SocketUnreader.max_body_chunk)
    limit_heads()
    yield taken
    RequestParser.mesg_class = Request
    del RequestParser.finish_body


def requests_of(data: bytes) -> RequestParser:
    """Return the requests of a connection on which all of this has arrived."""
    return RequestParser(Config(), iter([data]), ("127.0.0.1", 1))


@pytest.mark.parametrize("kind", LONG)
def test_unread(kind: str, turns: list[None]) -> None:
    """A body that the application has not read is discarded, with turns of others in between."""
    requests = requests_of(POST + LONG[kind] + GET)
    assert [next(requests).method, next(requests).method] == ["POST", "GET"]
    assert len(turns) > 40


class Sock:
    """A socket on which a request has arrived, and as much of its body as anybody wants."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.sizes: list[int] = []  # that were received at once

    def recv(self, size: int) -> bytes:
        head, self._head = self._head, b""
        self.sizes.append(size)
        return head or size * b"x"


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("head", [b"Content-Length: 3000000\r\n\r\n", CHUNKED + b"2dc6c0\r\n"])
def test_received_at_once(head: bytes, is_read: bool, turns: list[None]) -> None:
    """Of a long body no more is in memory than is handled at once, read or not."""
    sock = Sock(POST + head)
    requests = RequestParser(Config(), sock, ("127.0.0.1", 1))
    request = next(requests)
    while is_read and request.body.read(65536):
        if sum(sock.sizes) > 2_000_000:
            break
    with contextlib.suppress(StopIteration, ParseException):
        next(requests)
    assert sum(sock.sizes) > 2_000_000 and max(sock.sizes) == 65536


def test_tiny_chunks(turns: list[None]) -> None:
    """While an application reads tiny chunks, others have their turn."""
    requests = requests_of(POST + LONG["chunks"] + GET)
    assert next(requests).body.read() == 3000 * b"x"
    assert len(turns) > 180
    assert next(requests).method == "GET"


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("rest", [b"0x5\r\nhello\r\n" + GET, b""])
def test_malformed(rest: bytes, is_read: bool, turns: list[None]) -> None:
    """After a body that cannot be read there is no other request, and no second answer."""
    requests = requests_of(POST + CHUNKED + b"1\r\nx\r\n" + rest)
    request = next(requests)
    if is_read:
        with pytest.raises((InvalidChunkSize, OSError)):
            request.body.read()
    with pytest.raises(StopIteration):
        next(requests)
