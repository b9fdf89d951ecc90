"""`/v1/stream` as plain HTTP: Server-Sent Events, long polls, and single frames of those who use them.

The first two hand their socket over to the node like a WebSocket, and hold no request while they wait.
"""

import logging
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from notifier import __version__
from notifier.connections.events import Ask, EventConnection, PollConnection
from notifier.connections.transport import take_over
from notifier.errors import (
    InvalidFrame,
    MalformedJson,
    Overloaded,
    Problem,
    ProtocolViolation,
    UpgradeRequired,
)
from notifier.http import body
from notifier.http.credentials import REQUEST_ID, Credentials
from notifier.node import Node
from notifier.protocol import frames, stream_query
from notifier.protocol.frames import Ack, InboxFrame, Publish
from notifier.protocol.framing import EVENTS
from notifier.protocol.identity import Identity
from notifier.protocol.publishing import read as read_publishing
from notifier.protocol.session import read_ack, read_marking
from notifier.publishing.client_queue import confirmation
from notifier.publishing.publisher import Post

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

_EVENTS, _JSON = "text/event-stream", "application/json"
_RETRY = (500, 3000)  # ms: a browser's own EventSource comes back after a time between these
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": "7200",
}


class HandedOff(Response):
    """Ends a request for gunicorn without writing a response, as flask-sock does it for a WebSocket."""

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """End it."""
        raise StopIteration


def create_plain(node: Node) -> Blueprint:
    """Return the routes."""
    plain, blueprint = Plain(node), Blueprint("plain", __name__)
    blueprint.get("/v1/stream", endpoint="stream", provide_automatic_options=False)(plain.serve)
    blueprint.post("/v1/stream", endpoint="frame", provide_automatic_options=False)(plain.take_frame)
    blueprint.route("/v1/stream", endpoint="preflight", methods=["OPTIONS"])(plain.preflight)
    blueprint.after_request(plain.share)
    return blueprint


class Plain:
    """The views of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._settings = node.settings

    def share(self, response: Response) -> Response:
        """Let pages of other origins read the answer, an error too."""
        response.headers.update(Credentials(self._node, request).sharing())
        return response

    def preflight(self) -> Response:
        """Tell a browser what pages of other origins may ask."""
        return Response(status=204, headers=_PREFLIGHT)

    def serve(self) -> Response:
        """Hand a stream of events or a long poll over to the node."""
        if "Sec-WebSocket-Key" in request.headers:
            # An answer would puzzle a WebSocket client; this tells who runs it what is wrong.
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
            raise UpgradeRequired("A proxy on the way has not passed on Upgrade and Connection.", headers=headers)
        credentials = Credentials(self._node, request)
        who = credentials.require_identity()
        last_event_id = request.headers.get("Last-Event-ID", "")
        asked = stream_query.read(request.args.items(multi=True), last_event_id, self._settings.max_subscriptions)
        wants_events = _EVENTS in request.headers.get("Accept", "")
        kind = _EVENTS if wants_events else _JSON
        try:
            self._node.require_room()
        except Problem as problem:
            if not wants_events:
                raise
            return _turn_away(problem)
        if request.method == "HEAD":
            return Response(content_type=kind)
        ask = Ask(_head(kind, credentials.sharing()), asked.hello, asked.joins)
        if wants_events:
            self._hand_off(EventConnection, who, ask._replace(head=ask.head + EVENTS.retry(random.randint(*_RETRY))))
        else:
            longest = self._settings.heartbeat
            wait = longest if asked.wait is None else min(asked.wait, longest)
            self._hand_off(PollConnection, who, ask._replace(wait=wait))
        return HandedOff()

    def take_frame(self) -> Response:
        """Carry out one frame of a client that has no way to send frames on its stream."""
        who = Credentials(self._node, request).require_identity()
        try:
            frame = frames.decode(body.read(request, self._settings.max_message_bytes).decode())
        except (ProtocolViolation, UnicodeDecodeError) as error:
            raise MalformedJson("Post one frame, as a JSON object in UTF-8.") from error
        if isinstance(frame, Ack):
            ack = read_ack(frame)
            self._node.inbox.acknowledge({who.user: (ack.cursor, ack.since)})
            return Response(status=204)
        if isinstance(frame, InboxFrame):
            ref, action, target = read_marking(frame, self._settings.max_inbox_ids)
            change = self._node.inbox.act(who.user, action, target)
            return Response(frames.changed(ref, change.view, change.changed, change.unknown), content_type=_JSON)
        if not isinstance(frame, Publish):
            raise InvalidFrame("Only publish, ack, and what is done with the inbox may be posted.")
        publishing = read_publishing(frame, who, self._node.limits)
        self._node.require_allowance(who.user)
        [answer] = self._node.publisher.publish([Post(publishing.publication, publishing.body, publishing.key)])
        if isinstance(answer, Problem):
            raise answer
        return Response(confirmation(publishing, answer), content_type=_JSON)

    def _hand_off(self, kind: type[EventConnection], who: Identity, ask: Ask) -> None:
        settings = self._settings
        sock = request.environ["gunicorn.socket"]
        patience = max(2 * settings.heartbeat, settings.lag_timeout)  # the kernel takes who reads nothing for gone
        transport = take_over(sock, settings.send_buffer_bytes, settings.max_backlog_bytes, patience)
        try:
            self._node.open_plain(kind, transport, who, ask)
        except Exception:
            logger.exception("A hand-off failed")  # and Flask must not answer on a socket that it no longer has
            transport.abort()


def _turn_away(problem: Problem) -> Response:
    """Return a stream that ends at once: after a status other than 200 an EventSource would never come back."""
    retry = 1000 * (problem.retry_after or 1) + random.randint(*_RETRY)
    return Response(EVENTS.retry(retry) + EVENTS.farewell(Overloaded()), content_type=_EVENTS)


def _head(content_type: str, sharing: dict[str, str]) -> bytes:
    """Return the head of an answer that ends with its connection."""
    headers = {
        "Content-Type": content_type,
        "Cache-Control": "no-store, no-transform",
        "X-Accel-Buffering": "no",  # nginx passes on what comes at once
        "Connection": "close",
        "Notifier-Version": __version__,
        "X-Request-Id": request.environ[REQUEST_ID],
        **sharing,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
