"""Heads of requests that are too large, or whose body has no certain end."""

import json
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn import util
from gunicorn.config import Config
from gunicorn.http.errors import (
    InvalidChunkSize,
    InvalidHeader,
    InvalidResponseHeader,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import Response

from notifier import __version__
from notifier.server import heads
from tests.kit.cases import rows
from tests.kit.smuggling import CHUNKED, CHUNKS, HEADS, POST, SMUGGLED


@pytest.fixture(autouse=True)
def limits() -> Iterator[Config]:
    """Make gunicorn read heads as in the service, and only in these tests."""
    heads.limit_heads()
    config = Config()
    config.set("limit_request_fields", heads.MAX_FIELDS)
    config.set("limit_request_field_size", heads.MAX_FIELD)
    config.set("forwarder_headers", heads.FORWARDER_HEADERS)
    yield config
    RequestParser.mesg_class = Request
    del RequestParser.finish_body


def read(config: Config, *headers: bytes, end: bytes = b"\r\n") -> Request:
    """Read a head, which arrives in pieces."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(header + b"\r\n" for header in headers) + end
    pieces = (head[start : start + 4096] for start in range(0, len(head), 4096))
    return next(RequestParser(config, pieces, ("127.0.0.1", 1)))


def test_token(limits: Config) -> None:
    """A token with a hundred topics fits into a header."""
    request = read(limits, b"Authorization: Bearer " + 16000 * b"x")
    assert len(dict(request.headers)["AUTHORIZATION"]) == 16007


@rows(
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


def test_headers_of_proxies(limits: Config) -> None:
    """No client says below which path the application is, also not through a proxy on this machine."""
    request = read(limits, b"SCRIPT_NAME: /x", b"PATH_INFO: /metrics", b"X-A: b")
    assert [name for name, _ in request.headers] == ["HOST", "X-A"]


def test_cut_off_head(limits: Config) -> None:
    """The error for a head that is cut off, which gunicorn logs, does not quote it."""
    pieces = [b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer", b" nk_secret\r\n"]
    with pytest.raises(NoMoreData) as caught:
        next(RequestParser(limits, iter(pieces), ("127.0.0.1", 1)))
    assert "nk_secret" not in str(caught.value)


@rows(
    ("error", "status", "code"),
    [
        (LimitRequestHeaders("x"), "431", "head_too_large"),
        (LimitRequestLine(9000, 8190), "414", "url_too_long"),
        (InvalidHeader("Authorization: Bearer nk_secret"), "400", "bad_request"),
        (UnsupportedTransferCoding("nk_secret"), "400", "bad_request"),
        (InvalidChunkSize(b"nk_secret"), "400", "bad_request"),
        (InvalidResponseHeader("nk_secret"), "500", "internal_error"),
        (RuntimeError("nk_secret"), "500", "internal_error"),
    ],
)
def test_answer(error: Exception, status: str, code: str) -> None:
    """The answer is a problem of the service, which pages of other origins can read, and has no text of gunicorn."""
    answer = heads.answer_with(heads.problem_of(error))
    assert b"nk_secret" not in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    assert first.startswith(f"HTTP/1.1 {status} ")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Notifier-Version"] == __version__
    assert (headers["Connection"], headers["Access-Control-Allow-Origin"]) == ("close", "*")
    assert "Retry-After" in headers["Access-Control-Expose-Headers"]
    assert int(headers["Content-Length"]) == len(body)
    problem = json.loads(body)
    assert (problem["code"], problem["request_id"]) == (code, headers["X-Request-Id"])


def test_every_answer() -> None:
    """Answers of the application forbid browsers to guess their type, and do not name the server software."""
    before = Response.default_headers
    try:
        heads.harden_answers()
        request = SimpleNamespace(version=(1, 1), method="GET", should_close=lambda: False)
        response = Response(request, None, Config())
        response.start_response("200 OK", [("Content-Length", "0")])
        lines = response.default_headers()
    finally:
        Response.default_headers = before
    assert [line for line in lines if line.lower().startswith("server")] == []
    assert lines.count("X-Content-Type-Options: nosniff\r\n") == 1
    assert lines[0] == "HTTP/1.1 200 OK\r\n"


@rows(("address", "is_trusted"), [(("127.0.0.1", 1), True), (("10.0.0.1", 1), False), ("", True)])
def test_trusted_proxy(limits: Config, address: Any, is_trusted: bool) -> None:
    """What gunicorn says about an address is remembered for its configuration."""
    pieces = [b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n"] * 2
    schemes = [request.scheme for request in RequestParser(limits, iter(pieces), address)]
    assert schemes == ["https" if is_trusted else "http"] * 2


def test_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date is that of its second."""
    monkeypatch.setattr(util, "http_date", util.http_date)
    heads.remember_dates()
    assert [util.http_date(at) for at in (0.1, 0.9, 1.0, 0.0)] == [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:01 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    before = time.time()
    now = parsedate_to_datetime(util.http_date()).timestamp()
    assert int(before) <= now <= time.time()


def requests(config: Config, pieces: list[bytes]) -> list[tuple[str, bytes | None]]:
    """Return the path and the body of each request that a connection has; None: its body is not valid."""
    found: list[tuple[str, bytes | None]] = []
    try:
        for request in RequestParser(config, iter(pieces), ("127.0.0.1", 1)):
            try:
                found.append((request.path, request.body.read()))
            except (ParseException, NoMoreData):
                found.append((request.path, None))
    except ParseException:
        pass
    return found


@rows("head", HEADS.values())
def test_ambiguous_heads(limits: Config, head: bytes) -> None:
    """A request whose end proxies may see elsewhere is none, and nothing behind it is one, however it arrives."""
    data = head + b"0\r\n\r\n" + SMUGGLED
    assert requests(limits, [data]) == []
    for at in range(len(POST), len(head) + 5):
        assert requests(limits, [data[:at], data[at:]]) == []


@rows("chunks", CHUNKS.values())
def test_ambiguous_chunks(limits: Config, chunks: bytes) -> None:
    """A body whose end proxies may see elsewhere is not valid, and nothing behind it is a request."""
    data = CHUNKED + chunks + SMUGGLED
    assert requests(limits, [data]) == [("/", None)]
    for at in range(len(CHUNKED), len(CHUNKED + chunks) + 1):
        assert requests(limits, [data[:at], data[at:]]) == [("/", None)]


def test_bodies_that_end(limits: Config) -> None:
    """Requests behind bodies with a certain end are read, however they arrive."""
    data = (
        CHUNKED + b"5;a=b\r\nabcde\r\n0\r\nA: b\r\n\r\n" + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    )
    data += SMUGGLED
    for at in range(1, len(data)):
        assert requests(limits, [data[:at], data[at:]]) == [("/", b"abcde"), ("/", b"ab"), ("/smuggled", b"")]
