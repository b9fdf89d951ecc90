"""`/v1/stream` and `/v1/echo` as WebSockets: routes, handshake, and the hand-over of the socket.

flask-sock routes and calls the view; the view takes the socket from gunicorn and returns. From then on the connection
needs no greenlet and no request.
"""

import logging
from collections.abc import Callable
from typing import Any

import flask_sock
from flask import Blueprint, g, request
from werkzeug import Response

from notifier.connections.acceptor import Acceptor
from notifier.connections.transport import Transport, take_over
from notifier.errors import BadRequest, UpgradeRequired
from notifier.http.credentials import Credentials
from notifier.http.handshake import accept
from notifier.limits.addresses import AddressLimits
from notifier.limits.client_address import ADDRESS
from notifier.settings import ConnectionSettings

logger = logging.getLogger(__name__)

_ECHO_BACKLOG = 65536  # bytes: one read's worth of small echoes


class Handshake:
    """Replaces simple-websocket's server, whose handshake takes a third of the time to connect a client.

    flask-sock makes one for each request and gives it to the view. A rejected handshake raises before anything is
    written, so it is answered like any other problem.
    """

    mode = "gunicorn"  # flask-sock then ends the response without writing one

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ
        self._answer = accept(environ)

    def take_over(self, send_buffer: int, backlog: int) -> tuple[Transport, bytes]:
        """Answer the handshake, and return the socket as a transport and the bytes that arrived with the request."""
        early: bytes = self._environ["wsgi.input"].reader.unreader.take_buffered()
        transport = take_over(self._environ["gunicorn.socket"], send_buffer, backlog)
        transport.write(self._answer)
        return transport, early

    def close(self) -> None:
        """Do nothing: the socket has another owner."""


flask_sock.Server = Handshake  # the library offers no other way to replace it


class WebSocketViews:
    """The views of WebSockets."""

    def __init__(
        self,
        credentials: Credentials,
        acceptor: Acceptor,
        settings: ConnectionSettings,
        addresses: AddressLimits,
        *,
        has_echo: bool,
    ) -> None:
        self._credentials = credentials
        self._acceptor = acceptor
        self._settings = settings
        self._addresses = addresses
        self._has_echo = has_echo

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        sock, blueprint = flask_sock.Sock(), Blueprint("stream", __name__)
        blueprint.before_request(self.check)
        sock.route("/v1/stream", bp=blueprint, endpoint="stream")(_safe(self.serve))
        if self._has_echo:
            sock.route("/v1/echo", bp=blueprint, endpoint="echo")(_safe(self.serve_echo))
            blueprint.get("/v1/echo", endpoint="plain echo")(upgrade_required)
        return blueprint

    def check(self) -> None:
        """Reject before the upgrade whatever can be: clients then see an HTTP status instead of a close code."""
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            upgrade_required()
        if request.method != "GET" or request.environ["SERVER_PROTOCOL"] < "HTTP/1.1":
            raise BadRequest("Only a GET of HTTP/1.1 can be upgraded.")
        if request.content_length or "Transfer-Encoding" in request.headers:
            raise BadRequest("A request to upgrade has no body.")
        self._addresses.require_stream(request.environ.get(ADDRESS))
        if request.endpoint == "stream.stream":
            g.identity = self._credentials.identity(request)
        self._acceptor.require_room()  # last: another connection may have made room, and the token may have taken time

    def serve(self, handshake: Handshake) -> None:
        """Hand over the socket of a stream."""
        settings = self._settings
        transport, early = handshake.take_over(settings.send_buffer_bytes, settings.max_backlog_bytes)
        self._acceptor.open_stream(transport, g.identity, early, request.environ.get(ADDRESS))

    def serve_echo(self, handshake: Handshake) -> None:
        """Hand over the socket of an echo."""
        settings = self._settings
        backlog = _ECHO_BACKLOG + 2 * settings.max_message_bytes
        transport, early = handshake.take_over(settings.send_buffer_bytes, backlog)
        self._acceptor.open_echo(transport, early, request.environ.get(ADDRESS))


def upgrade_required() -> Response:
    """Reject a request that asks for no WebSocket.

    Raises:
        UpgradeRequired
    """
    raise UpgradeRequired(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


def _safe(serve: Callable[[Handshake], None]) -> Callable[[Handshake], None]:
    """Catch every exception of a view: Flask would write an HTTP 500 into the WebSocket."""

    def safely(handshake: Handshake) -> None:
        try:
            serve(handshake)
        except Exception:
            logger.exception("Handing over a connection failed")

    return safely
