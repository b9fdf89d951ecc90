"""`GET /v1/stream` as plain HTTP: Server-Sent Events and long polls.

Both hand their socket over like a WebSocket, and occupy no request while they wait.
"""

import logging
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from notifier import __version__
from notifier.connections.acceptor import Acceptor
from notifier.connections.poll import PollConnection
from notifier.connections.sse import Ask, EventConnection
from notifier.connections.transport import take_over
from notifier.errors import (
    BrokerUnavailable,
    IssuerUnavailable,
    Overloaded,
    Problem,
    RateExceeded,
    RateLimited,
    TooManyConnections,
    UpgradeRequired,
)
from notifier.http.answers import JSON, REQUEST_ID
from notifier.http.credentials import Credentials
from notifier.limits.addresses import AddressLimits
from notifier.limits.client_address import ADDRESS
from notifier.protocol import stream_query
from notifier.protocol.framing import EVENTS
from notifier.protocol.identity import Identity
from notifier.protocol.stream_query import Query
from notifier.settings import ConnectionSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

_EVENTS = "text/event-stream"
_RETRY = (500, 3000)  # ms: a browser's own EventSource reconnects after a time between these


class HandedOff(Response):
    """Ends a request for gunicorn without writing a response, as flask-sock does it for a WebSocket.

    It must be one of Flask's responses: Flask changes the class of all others.
    """

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """End the request."""
        raise StopIteration


class StreamViews:
    """The views of the stream as plain HTTP."""

    def __init__(
        self, credentials: Credentials, acceptor: Acceptor, settings: ConnectionSettings, addresses: AddressLimits
    ) -> None:
        self._credentials = credentials
        self._acceptor = acceptor
        self._settings = settings
        self._addresses = addresses

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint = Blueprint("events", __name__)
        blueprint.get("/v1/stream", provide_automatic_options=False)(self.serve)
        return blueprint

    def serve(self) -> Response:
        """Hand over the socket of a stream of events or of a long poll."""
        if "Sec-WebSocket-Key" in request.headers:
            # Without this, a WebSocket client would only report an unexpected answer; operators find the cause here.
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
            raise UpgradeRequired("A proxy did not forward the headers Upgrade and Connection.", headers=headers)
        wants_events = _EVENTS in request.headers.get("Accept", "")
        kind = _EVENTS if wants_events else JSON
        try:
            self._addresses.require_stream(request.environ.get(ADDRESS))
            who = self._credentials.require_identity(request)
            last_event_id = request.headers.get("Last-Event-ID", "")
            query = stream_query.read(request.args.items(multi=True), last_event_id, self._settings.max_subscriptions)
            self._acceptor.require_room()
        except (IssuerUnavailable, BrokerUnavailable, RateLimited, TooManyConnections) as problem:
            if not wants_events:
                raise
            return _turn_away(problem)
        if request.method == "HEAD":
            return Response(content_type=kind)
        ask = Ask(_head(kind, self._credentials.sharing(request)), query.hello, query.joins)
        if wants_events:
            retry = EVENTS.retry(random.randint(*_RETRY))
            self._hand_over(EventConnection, who, ask._replace(head=ask.head + retry))
        else:
            self._hand_over(PollConnection, who, ask._replace(wait=self._wait(query)))
        return HandedOff()

    def _wait(self, query: Query) -> float:
        longest = self._settings.heartbeat
        return longest if query.wait is None else min(query.wait, longest)

    def _hand_over(self, kind: type[EventConnection], who: Identity, ask: Ask) -> None:
        settings = self._settings
        sock = request.environ["gunicorn.socket"]
        # After this time the kernel closes the connection of a client that reads nothing.
        patience = max(2 * settings.heartbeat, settings.lag_timeout)
        transport = take_over(sock, settings.send_buffer_bytes, settings.max_backlog_bytes, patience)
        try:
            self._acceptor.open_plain(kind, transport, who, ask, request.environ.get(ADDRESS))
        except Exception:
            logger.exception("Handing over a connection failed")  # Flask must not answer: it no longer has the socket
            transport.abort()


def _turn_away(problem: Problem) -> Response:
    """Return a stream that ends at once: after a status other than 200 an EventSource would never reconnect."""
    retry = 1000 * (problem.retry_after or 1) + random.randint(*_RETRY)
    reason = RateExceeded() if isinstance(problem, RateLimited) else Overloaded()
    return Response(EVENTS.retry(retry) + EVENTS.farewell(reason), content_type=_EVENTS)


def _head(content_type: str, sharing: dict[str, str]) -> bytes:
    """Return the head of an answer that ends with its connection."""
    headers = {
        "Content-Type": content_type,
        "Cache-Control": "no-store, no-transform",
        "X-Accel-Buffering": "no",  # nginx forwards each event at once
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
        "Notifier-Version": __version__,
        "X-Request-Id": request.environ[REQUEST_ID],
        **sharing,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
