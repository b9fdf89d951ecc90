"""Heads of requests and responses: limits, problems for requests that are no valid HTTP, and what every answer says."""

import functools
import secrets
import time
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import msgspec
from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import message
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import (
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import Response

from notifier import __version__
from notifier.errors import BadRequest, HeadTooLarge, InternalError, Problem, RequestTimeout, UrlTooLong
from notifier.protocol.origin import EXPOSED
from notifier.server.bodies import MAX_RECEIVED, FairReader, discard_rest

MAX_LINE = 8190  # bytes, gunicorn's maximum: plain requests for the stream name all their topics there
MAX_FIELDS = 64
MAX_FIELD = 16384  # bytes of a header: a token with 100 topics of 60 characters has 9,000
MAX_HEAD = 65536  # bytes of all headers
# By default gunicorn takes SCRIPT_NAME from clients of a proxy on this machine: /x/v1/keys would be the path /v1/keys,
# which the proxy does not know.
FORWARDER_HEADERS = ""
_SERVER, _NO_SNIFFING = "Server: ", "X-Content-Type-Options: nosniff\r\n"


_has_begun = ContextVar("has_begun", default=False)  # of the greenlet: whether it has read a part of a head


class BoundedRequest(Request):  # type: ignore[misc]
    """A request whose head is limited as a whole: gunicorn would store as much as all fields of the longest size."""

    @property
    def max_buffer_headers(self) -> int:
        """Most bytes of a head that is incomplete."""
        return MAX_HEAD

    @max_buffer_headers.setter
    def max_buffer_headers(self, computed: int) -> None:
        """Ignore what gunicorn computes from its settings."""

    def _peer_is_trusted_proxy(self) -> bool:
        """Return whether gunicorn trusts the peer. It would parse the address and the networks for each request."""
        peer = self.peer_addr
        return _is_trusted(self.cfg, peer[0] if isinstance(peer, tuple) else None)

    def set_body_reader(self) -> None:
        """Read a body in chunks so that others have their turn."""
        super().set_body_reader()
        body = vars(self)["body"]
        if isinstance(body.reader, ChunkedReader):
            self._require_only_chunks()
            self.body = Body(FairReader(self, self.unreader))

    def _require_only_chunks(self) -> None:
        """Reject codings that gunicorn accepts, but leaves to the application to decode."""
        codings = [value for name, value in self.headers if name == "TRANSFER-ENCODING"]
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise UnsupportedTransferCoding(", ".join(codings))

    def parse(self, unreader: Any) -> Any:
        """Read the head."""
        rest = super().parse(unreader)
        _has_begun.set(False)
        return rest

    def read_into(self, unreader: Any, buf: bytearray, stop: bool = False) -> None:
        """Read some bytes of the head."""
        try:
            super().read_into(unreader, buf, stop)
        except NoMoreData:
            raise NoMoreData() from None  # gunicorn's has what came before, with its secrets, and goes to the log
        _has_begun.set(True)


@functools.lru_cache(maxsize=1024)
def _is_trusted(config: Config, address: str | None) -> bool:
    networks = config.forwarded_allow_networks()
    return address is None or message._ip_in_allow_list(address, config.forwarded_allow_ips, networks)


def limit_heads() -> None:
    """Make gunicorn read requests with a limit for the whole head, and bodies a piece at a time."""
    SocketUnreader.max_body_chunk = MAX_RECEIVED
    RequestParser.mesg_class = BoundedRequest
    RequestParser.finish_body = discard_rest


def harden_answers() -> None:
    """Have every answer forbid browsers to guess its type, and none name the server software."""
    default_headers = Response.default_headers

    def hardened(self: Any) -> list[str]:
        return [_NO_SNIFFING if line.startswith(_SERVER) else line for line in default_headers(self)]

    Response.default_headers = hardened


def remember_dates() -> None:
    """Format the date of answers once a second."""
    date_of = functools.lru_cache(maxsize=1)(util.http_date)
    util.http_date = lambda timestamp=None: date_of(int(time.time() if timestamp is None else timestamp))


def problem_of(error: BaseException) -> Problem:
    """Return the problem for an error of gunicorn. The error's own text quotes the request, which may have secrets."""
    if not isinstance(error, ParseException) or isinstance(error, InvalidResponseHeader | InvalidResponseHeaderName):
        return InternalError()
    if isinstance(error, LimitRequestHeaders):
        return HeadTooLarge(f"At most {MAX_FIELDS} headers of {MAX_FIELD} bytes, and {MAX_HEAD} bytes in all.")
    if isinstance(error, LimitRequestLine):
        return UrlTooLong(f"At most {MAX_LINE} bytes.")
    if isinstance(error, UnsupportedTransferCoding):
        return BadRequest("The only supported Transfer-Encoding is chunked.")
    return BadRequest("This is not valid HTTP.")


def answer_to_timeout() -> bytes | None:
    """Return the HTTP answer of the greenlet whose client is too slow; None: the client has sent nothing."""
    return answer_with(RequestTimeout("The head arrives too slowly.")) if _has_begun.get() else None


def answer_with(problem: Problem) -> bytes:
    """Return a whole HTTP answer, for a request that the application never sees."""
    id = secrets.token_hex(8)
    body = msgspec.json.encode(problem.document(id))
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Allow-Origin": "*",  # the Origin is not known: the head was not read
        **EXPOSED,
        "Notifier-Version": __version__,
        "X-Request-Id": id,
        "Connection": "close",
        **problem.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n{lines}\r\n".encode() + body
