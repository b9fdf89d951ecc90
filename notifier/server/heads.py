"""Heads of requests: a limit for the whole head, and problems for those that are too large."""

import secrets
from http import HTTPStatus
from typing import Any

import msgspec
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from notifier import __version__
from notifier.errors import HeadTooLarge, Problem, UrlTooLong

MAX_LINE = 8190  # bytes, gunicorn's maximum: plain requests for the stream name all their topics there
MAX_FIELDS = 64
MAX_FIELD = 16384  # bytes of a header: a token with 100 topics of 60 characters has 9,000
MAX_HEAD = 65536  # bytes of all headers


class BoundedRequest(Request):  # type: ignore[misc]
    """A request whose head is limited as a whole: gunicorn would store as much as all fields of the longest size."""

    @property
    def max_buffer_headers(self) -> int:
        """Most bytes of a head that is incomplete."""
        return MAX_HEAD

    @max_buffer_headers.setter
    def max_buffer_headers(self, computed: int) -> None:
        """Ignore what gunicorn computes from its settings."""


def limit_heads() -> None:
    """Make gunicorn read requests with a limit for the whole head."""
    RequestParser.mesg_class = BoundedRequest


def answer_to(error: Any) -> bytes | None:
    """Return the HTTP answer to a head that is too large; None: the error has another cause."""
    if isinstance(error, LimitRequestHeaders):
        return _answer(HeadTooLarge(f"At most {MAX_FIELDS} headers of {MAX_FIELD} bytes, and {MAX_HEAD} bytes in all."))
    return _answer(UrlTooLong(f"At most {MAX_LINE} bytes.")) if isinstance(error, LimitRequestLine) else None


def _answer(problem: Problem) -> bytes:
    id = secrets.token_hex(8)
    body = msgspec.json.encode(problem.document(id))
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Access-Control-Allow-Origin": "*",
        "Notifier-Version": __version__,
        "X-Request-Id": id,
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n{lines}\r\n".encode() + body
