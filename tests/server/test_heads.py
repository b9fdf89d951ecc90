"""Heads of requests that are too large."""

import json
from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidHeader, LimitRequestHeaders, LimitRequestLine
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from notifier import __version__
from notifier.server import heads


@pytest.fixture(autouse=True)
def limits() -> Iterator[Config]:
    """Lets gunicorn read heads as in the service, and only in these tests."""
    heads.limit_heads()
    config = Config()
    config.set("limit_request_fields", heads.MAX_FIELDS)
    config.set("limit_request_field_size", heads.MAX_FIELD)
    yield config
    RequestParser.mesg_class = Request


def read(config: Config, *headers: bytes, end: bytes = b"\r\n") -> Request:
    """Read a head, which arrives in pieces."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(header + b"\r\n" for header in headers) + end
    pieces = (head[start : start + 4096] for start in range(0, len(head), 4096))
    return next(RequestParser(config, pieces, ("127.0.0.1", 1)))


def test_token(limits: Config) -> None:
    """A token with a hundred topics fits into a header."""
    request = read(limits, b"Authorization: Bearer " + 16000 * b"x")
    assert len(dict(request.headers)["AUTHORIZATION"]) == 16007


@pytest.mark.parametrize(
    ("headers", "end"),
    [
        ([b"A: " + heads.MAX_FIELD * b"x"], b"\r\n"),
        ([b"A: x"] * heads.MAX_FIELDS, b"\r\n"),
        ([b"A: " + 16000 * b"x"] * 5, b""),
        ([b"A: " + 1000 * b"x"] * 90, b""),
        ([b"A: " + 200_000 * b"x"], b""),
    ],
)
def test_too_large(limits: Config, headers: list[bytes], end: bytes) -> None:
    """A head is limited in each header, in their number and as a whole, before it is complete."""
    with pytest.raises(LimitRequestHeaders):
        read(limits, *headers, end=end)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(LimitRequestHeaders("x"), "431 Request Header Fields Too Large", "head_too_large")]
    + [(LimitRequestLine(9000, 8190), "414 Request-URI Too Long", "url_too_long")],
)
def test_answer(error: Exception, status: str, code: str) -> None:
    """The answer is a problem of the service, which pages of other origins can read."""
    answer = heads.answer_to(error)
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    assert first.startswith("HTTP/1.1 " + status[:3])
    assert headers["Notifier-Version"] == __version__
    assert (headers["Connection"], headers["Access-Control-Allow-Origin"]) == ("close", "*")
    assert int(headers["Content-Length"]) == len(body)
    problem = json.loads(body)
    assert (problem["code"], problem["request_id"]) == (code, headers["X-Request-Id"])


def test_others() -> None:
    """Other errors are left to gunicorn."""
    assert heads.answer_to(InvalidHeader("x")) is None
    assert heads.answer_to(OSError()) is None
