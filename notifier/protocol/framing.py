"""Framing: what surrounds the JSON of a frame on each of the stream's three transports.

The JSON is one line, and the same on all transports. Bytes that are built for one connection serve all connections
with the same framing.
"""

from typing import Protocol

from notifier.errors import Disconnect
from notifier.protocol import frames, websocket
from notifier.protocol.cursor import Cursor


class Framing(Protocol):
    """The bytes that a connection puts around its frames."""

    def frame(self, json: bytes, cursor: bytes = b"") -> bytes:
        """Return the bytes of a frame. A client that has received it may resume from `cursor`."""

    def ping(self, cursor: Cursor | None) -> bytes:
        """Return the bytes of a ping, with the cursor up to which everything has been sent, if there is one."""

    def drain(self, retry_after_ms: int) -> bytes:
        """Return the bytes of the frame that announces the end, and when to reconnect."""

    def farewell(self, disconnect: Disconnect) -> bytes:
        """Return the last bytes of a connection, which state why it is closed."""


class WebSocketFraming:
    """Text messages of RFC 6455."""

    def frame(self, json: bytes, cursor: bytes = b"") -> bytes:
        """Return a text message."""
        return websocket.encode(json)

    def ping(self, cursor: Cursor | None) -> bytes:
        """Return a frame of its own: JavaScript in pages cannot see WebSocket pings."""
        return self.frame(frames.ping(cursor))

    def drain(self, retry_after_ms: int) -> bytes:
        """Return a frame."""
        return self.frame(frames.drain(retry_after_ms))

    def farewell(self, disconnect: Disconnect) -> bytes:
        """Return a close frame."""
        return websocket.encode_close(disconnect.close_code, disconnect.text)


class EventFraming:
    """Server-Sent Events (HTML Standard section 9.2): nameless events, whose id is a cursor."""

    def frame(self, json: bytes, cursor: bytes = b"") -> bytes:
        """Return an event."""
        return b"id: %b\ndata: %b\n\n" % (cursor, json) if cursor else b"data: %b\n\n" % json

    def ping(self, cursor: Cursor | None) -> bytes:
        """Return a comment. An id without data is no event, but the client resumes from it."""
        return b": ping\nid: %b\n\n" % str(cursor).encode() if cursor else b": ping\n\n"

    def drain(self, retry_after_ms: int) -> bytes:
        """Return an event, and the field that a browser's own EventSource follows."""
        return self.retry(retry_after_ms) + self.frame(frames.drain(retry_after_ms))

    def farewell(self, disconnect: Disconnect) -> bytes:
        """Return an event that states why."""
        return self.frame(frames.close(disconnect))

    def retry(self, ms: int) -> bytes:
        """Return the field after which a browser's own EventSource reconnects."""
        return b"retry: %d\n\n" % ms


class PollFraming:
    """One JSON object with a list of frames. It begins with a ping, so that every other frame follows a comma."""

    BEGINNING = b'{"frames":[' + frames.ping(None)

    def frame(self, json: bytes, cursor: bytes = b"") -> bytes:
        """Return one more item of the list."""
        return b",\n" + json

    def ping(self, cursor: Cursor | None) -> bytes:
        """Return the end of the answer."""
        return self.frame(frames.ping(cursor)) + b"]}\n"

    def drain(self, retry_after_ms: int) -> bytes:
        """Return one more item."""
        return self.frame(frames.drain(retry_after_ms))

    def farewell(self, disconnect: Disconnect) -> bytes:
        """Return the end of the answer, which states why it ends here."""
        return self.frame(frames.close(disconnect)) + b"]}\n"


WEBSOCKET, EVENTS, POLL = WebSocketFraming(), EventFraming(), PollFraming()
