"""Plain upgrades: the requests for a WebSocket of the stream that nearly all clients send, read without a server.

Only what every HTTP server reads in the same way is read here: one segment with a whole head, and each header once, in
printable ASCII. Everything else, and whatever has to be rejected, is left to gunicorn and flask-sock.
"""

import re
from typing import NamedTuple

_HEAD = re.compile(rb"GET /v1/stream HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n){1,64})\r\n")
_LABEL = "[A-Za-z0-9-]{1,57}"  # Flask rejects longer ones, and counts a port with the last
_HOST = re.compile(rf"(?:(?:{_LABEL}\.){{0,126}}{_LABEL}\.?|\[[0-9A-Fa-f:]{{2,39}}\])(?::[0-9]{{1,5}})?")
# With these headers a request has a body, more checks, or another protocol.
_UNUSUAL = frozenset(
    f"HTTP_{name}"
    for name in (
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "EXPECT",
        "HTTP2_SETTINGS",
        "IF_MATCH",
        "IF_NONE_MATCH",
        "TRAILER",
        "TRANSFER_ENCODING",
    )
)
_SCHEMES = {"HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PROTOCOL", "HTTP_X_FORWARDED_SSL"}  # they may contradict


class PlainUpgrade(NamedTuple):
    """A request to upgrade: an environ of WSGI with its request line and headers, and the bytes after its head."""

    environ: dict[str, str]
    early: bytes


def read(data: bytes) -> PlainUpgrade | None:
    """Return the request that some bytes begin with; None: it is not plain, not whole, or asks for something else.

    The caller still has to check the host, the key and the version of the WebSocket, and who the client is.
    """
    head = _HEAD.match(data)
    if not head:
        return None
    environ = _environ_of(head[1].decode("ascii"))
    if environ is None or not _asks_for_websocket(environ):
        return None
    return PlainUpgrade(environ, data[head.end() :])


def _environ_of(lines: str) -> dict[str, str] | None:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/stream",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
    }
    for line in lines.splitlines():
        name, _, value = line.partition(":")
        key = "HTTP_" + name.upper().replace("-", "_")
        if key in environ:
            return None
        environ[key] = value.strip(" ")
    return environ


def _asks_for_websocket(environ: dict[str, str]) -> bool:
    return (
        environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and "upgrade" in (word.strip() for word in environ.get("HTTP_CONNECTION", "").lower().split(","))
        and _HOST.fullmatch(environ.get("HTTP_HOST", "")) is not None
        and _UNUSUAL.isdisjoint(environ)
        and len(_SCHEMES.intersection(environ)) <= 1
    )
