"""`/v1/stream` and `/v1/echo`: routes, handshake, and the hand-off of the socket to the node.

flask-sock does the routing and the WebSocket handshake; then the view takes the socket out of gunicorn's hands and
returns. From then on the connection costs no greenlet and no request.
"""

import logging
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, g, request
from flask_sock import Sock

from notifier.errors import BadRequest, ForeignOrigin, NotFound, UpgradeRequired
from notifier.node import Node
from notifier.protocol.identity import Identity
from notifier.transport import Transport, take_over

logger = logging.getLogger(__name__)

SUBPROTOCOL = "notifier.v1"
_ECHO_BACKLOG = 65536  # bytes: one read's worth of small echoes

stream = Blueprint("stream", __name__)
sock = Sock()


class _NoThread:
    """Stands in for the thread in which simple-websocket would read: the node's event loop reads instead."""

    name = ""

    def __init__(self, target: Any) -> None:
        pass

    def start(self) -> None:
        """Start nothing."""


SOCK_SERVER_OPTIONS = {"subprotocols": [SUBPROTOCOL], "thread_class": _NoThread}


@stream.before_request
def check() -> None:
    """Refuse before the upgrade what can be refused then: a client sees a status instead of a close code."""
    if "websocket" not in request.headers.get("Upgrade", "").lower():
        raise UpgradeRequired(headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise BadRequest("A request to upgrade has no body.")
    node = _node()
    node.require_room()
    if request.endpoint == "stream.echo" and not node.settings.echo:
        raise NotFound("The echo is switched off.")
    g.identity = _identity(node) if request.endpoint != "stream.echo" else None
    # A deflate context per connection would cost more memory than everything else together.
    request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)


@stream.get("/v1/stream", endpoint="stream_http")
@stream.get("/v1/echo", endpoint="echo_http")
def upgrade_required() -> Response:
    """Answer a request that asks for no WebSocket."""
    raise UpgradeRequired(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


def _serve_stream(ws: Any) -> None:
    settings = _node().settings
    transport, early = _hand_off(ws, settings.max_backlog_bytes)
    _node().open_stream(transport, g.identity, early)


def _serve_echo(ws: Any) -> None:
    transport, early = _hand_off(ws, _ECHO_BACKLOG + 2 * _node().settings.max_message_bytes)
    _node().open_echo(transport, early)


@sock.route("/v1/stream", bp=stream, endpoint="stream")
def serve_stream(ws: Any) -> None:
    """Hand a stream over to the node."""
    _safely(_serve_stream, ws)


@sock.route("/v1/echo", bp=stream, endpoint="echo")
def serve_echo(ws: Any) -> None:
    """Hand an echo over to the node."""
    _safely(_serve_echo, ws)


def _safely(serve: Any, ws: Any) -> None:
    """Let nothing out of a view: Flask would write an HTTP 500 into the WebSocket."""
    try:
        serve(ws)
    except Exception:
        logger.exception("A hand-off failed")


def _hand_off(ws: Any, backlog: int) -> tuple[Transport, bytes]:
    """Take the socket, and the bytes that came with the handshake."""
    ws.connected = False  # keeps flask-sock from sending a close frame when the view returns
    early: bytes = request.environ["wsgi.input"].reader.unreader.take_buffered()
    return take_over(ws.sock, _node().settings.send_buffer_bytes, backlog), early


def _identity(node: Node) -> Identity | None:
    """Return who the request says it is; None: the first frame will say it.

    Raises:
        InvalidToken, TokenExpired: the token is not good.
        ForeignOrigin: the token is in a cookie, and another site's page may have caused the request.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return node.verify(token.strip())
    cookie = request.cookies.get(node.settings.cookie)
    if cookie is None:
        return None
    origin = request.headers.get("Origin", "")
    if urlsplit(origin).netloc != request.host and origin not in node.settings.allowed_origins:
        raise ForeignOrigin(f"{origin or 'A request without an Origin'} may not use the cookie.")
    return node.verify(cookie)


def _node() -> Node:
    node: Node = current_app.extensions["notifier"]
    return node
