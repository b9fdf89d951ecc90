"""`/v1/stream` and `/v1/echo`: routes, handshake, and the hand-off of the socket to the node.

flask-sock does the routing and the WebSocket handshake; then the view takes the socket out of gunicorn's hands and
returns. From then on the connection costs no greenlet and no request.
"""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, request
from flask_sock import Sock

from notifier.errors import BadRequest, ForeignOrigin, UpgradeRequired
from notifier.node import Node
from notifier.protocol.identity import Identity
from notifier.transport import Transport, take_over

logger = logging.getLogger(__name__)

SUBPROTOCOL = "notifier.v1"
_ECHO_BACKLOG = 65536  # bytes: one read's worth of small echoes


class _NoThread:
    """Stands in for the thread in which simple-websocket would read: the node's event loop reads instead."""

    name = ""

    def __init__(self, target: Any) -> None:
        pass

    def start(self) -> None:
        """Start nothing."""


SOCK_SERVER_OPTIONS = {"subprotocols": [SUBPROTOCOL], "thread_class": _NoThread}


def create_stream(node: Node) -> Blueprint:
    """Return the routes."""
    stream, sock, blueprint = Stream(node), Sock(), Blueprint("stream", __name__)
    blueprint.before_request(stream.check)
    sock.route("/v1/stream", bp=blueprint, endpoint="stream")(_safe(stream.serve))
    if node.settings.echo:
        sock.route("/v1/echo", bp=blueprint, endpoint="echo")(_safe(stream.serve_echo))
    for path in ("/v1/stream", "/v1/echo"):
        blueprint.get(path, endpoint=f"plain {path[4:]}")(upgrade_required)
    return blueprint


def upgrade_required() -> Response:
    """Answer a request that asks for no WebSocket."""
    raise UpgradeRequired(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


class Stream:
    """The views of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._settings = node.settings

    def check(self) -> None:
        """Refuse before the upgrade what can be refused then: a client sees a status instead of a close code."""
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            upgrade_required()
        if request.content_length or "Transfer-Encoding" in request.headers:
            raise BadRequest("A request to upgrade has no body.")
        self._node.require_room()
        if request.endpoint == "stream.stream":
            g.identity = self._identity()
        # A deflate context per connection would cost more memory than everything else together.
        request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)

    def serve(self, ws: Any) -> None:
        """Hand a stream over to the node."""
        transport, early = self._hand_off(ws, self._settings.max_backlog_bytes)
        self._node.open_stream(transport, g.identity, early)

    def serve_echo(self, ws: Any) -> None:
        """Hand an echo over to the node."""
        transport, early = self._hand_off(ws, _ECHO_BACKLOG + 2 * self._settings.max_message_bytes)
        self._node.open_echo(transport, early)

    def _hand_off(self, ws: Any, backlog: int) -> tuple[Transport, bytes]:
        """Take the socket, and the bytes that came with the handshake."""
        ws.connected = False  # keeps flask-sock from sending a close frame when the view returns
        early: bytes = request.environ["wsgi.input"].reader.unreader.take_buffered()
        return take_over(ws.sock, self._settings.send_buffer_bytes, backlog), early

    def _identity(self) -> Identity | None:
        """Return who the request says it is; None: the first frame will say it.

        Raises:
            InvalidToken, TokenExpired: the token is not good.
            ForeignOrigin: the token is in a cookie, and another site's page may have caused the request.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._node.verify(token.strip())
        cookie = request.cookies.get(self._settings.cookie)
        if cookie is None:
            return None
        origin = request.headers.get("Origin", "")
        if urlsplit(origin).netloc != request.host and origin not in self._settings.allowed_origins:
            raise ForeignOrigin(f"{origin or 'A request without an Origin'} may not use the cookie.")
        return self._node.verify(cookie)


def _safe(serve: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let nothing out of a view: Flask would write an HTTP 500 into the WebSocket."""

    def safely(ws: Any) -> None:
        try:
            serve(ws)
        except Exception:
            logger.exception("A hand-off failed")

    return safely
