"""`/v1/stream` and `/v1/echo` as WebSockets: routes, handshake, and the hand-off of the socket to the node.

flask-sock routes and calls the view; the view takes the socket out of gunicorn's hands and returns. From then on the
connection costs no greenlet and no request.
"""

import logging
from collections.abc import Callable
from typing import Any

import flask_sock
from flask import Blueprint, Response, g, request

from notifier.connections.transport import Transport, take_over
from notifier.errors import BadRequest, UpgradeRequired
from notifier.http.credentials import Credentials
from notifier.node import Node
from notifier.protocol import websocket

logger = logging.getLogger(__name__)

SUBPROTOCOL = "notifier.v1"
_ECHO_BACKLOG = 65536  # bytes: one read's worth of small echoes


class Handshake:
    """Stands in for simple-websocket's server, whose handshake takes a third of the time to connect a client.

    It is what flask-sock makes for each request and gives to the view. A refusal is raised before anything was
    written, so it is answered like any other problem.
    """

    mode = "gunicorn"  # lets flask-sock end the response without writing one

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ
        self._answer = websocket.accept(
            environ.get("HTTP_SEC_WEBSOCKET_KEY", ""),
            environ.get("HTTP_SEC_WEBSOCKET_VERSION", ""),
            environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""),
            SUBPROTOCOL,
        )

    def take_over(self, send_buffer: int, backlog: int) -> tuple[Transport, bytes]:
        """Return the socket as a transport, its handshake answered, and the bytes that came with the request."""
        early: bytes = self._environ["wsgi.input"].reader.unreader.take_buffered()
        transport = take_over(self._environ["gunicorn.socket"], send_buffer, backlog)
        transport.write(self._answer)
        return transport, early

    def close(self) -> None:
        """Leave the socket alone: it has another owner."""


flask_sock.Server = Handshake  # the library's only way to another one


def create_stream(node: Node) -> Blueprint:
    """Return the routes."""
    stream, sock, blueprint = Stream(node), flask_sock.Sock(), Blueprint("stream", __name__)
    blueprint.before_request(stream.check)
    sock.route("/v1/stream", bp=blueprint, endpoint="stream")(_safe(stream.serve))
    if node.settings.echo:
        sock.route("/v1/echo", bp=blueprint, endpoint="echo")(_safe(stream.serve_echo))
        blueprint.get("/v1/echo", endpoint="plain echo")(upgrade_required)
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
        if request.method != "GET" or request.environ["SERVER_PROTOCOL"] < "HTTP/1.1":
            raise BadRequest("Only a GET of HTTP/1.1 can be upgraded.")
        if request.content_length or "Transfer-Encoding" in request.headers:
            raise BadRequest("A request to upgrade has no body.")
        self._node.require_room()
        if request.endpoint == "stream.stream":
            g.identity = Credentials(self._node, request).identity()

    def serve(self, handshake: Handshake) -> None:
        """Hand a stream over to the node."""
        settings = self._settings
        transport, early = handshake.take_over(settings.send_buffer_bytes, settings.max_backlog_bytes)
        self._node.open_stream(transport, g.identity, early)

    def serve_echo(self, handshake: Handshake) -> None:
        """Hand an echo over to the node."""
        settings = self._settings
        backlog = _ECHO_BACKLOG + 2 * settings.max_message_bytes
        self._node.open_echo(*handshake.take_over(settings.send_buffer_bytes, backlog))


def _safe(serve: Callable[[Handshake], None]) -> Callable[[Handshake], None]:
    """Let nothing out of a view: Flask would write an HTTP 500 into the WebSocket."""

    def safely(handshake: Handshake) -> None:
        try:
            serve(handshake)
        except Exception:
            logger.exception("A hand-off failed")

    return safely
