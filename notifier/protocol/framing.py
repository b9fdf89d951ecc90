"""Framing: how the frames of the stream go out, on each of its three transports.

The JSON of a frame is one line, and the same on all of them. What is built for one connection serves all that have
the same framing.
"""

from typing import Protocol

from notifier.errors import Disconnect
from notifier.protocol import frames, websocket
from notifier.protocol.cursor import Cursor


class Framing(Protocol):
    """What a connection puts around its frames."""

    def frame(self, json: bytes, cursor: bytes = b"") -> bytes:
        """Return a frame as it goes out. `cursor` is from where a client that has it may resume."""

    def ping(self, cursor: Cursor | None) -> bytes:
        """Return a sign of life, with the cursor up to which everything has been sent, where that is so."""

    def drain(self, retry_after_ms: int) -> bytes:
        """Return a frame that says when to come back."""

    def farewell(self, disconnect: Disconnect) -> bytes:
        """Return the last bytes, which say why it ends."""


class WebSocketFraming:
    """Text messages of RFC 6455."""

    def frame(self, json: bytes, cursor: bytes = b"") -> bytes:
        """Return a text message."""
        return websocket.encode(json)

    def ping(self, cursor: Cursor | None) -> bytes:
        """Return a frame: pages see no pings of their WebSocket."""
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
        """Return a comment. An id without data is no event, but where the client resumes from."""
        return b": ping\nid: %b\n\n" % str(cursor).encode() if cursor else b": ping\n\n"

    def drain(self, retry_after_ms: int) -> bytes:
        """Return an event, and what makes a browser's own EventSource heed it."""
        return self.retry(retry_after_ms) + self.frame(frames.drain(retry_after_ms))

    def farewell(self, disconnect: Disconnect) -> bytes:
        """Return an event that says why."""
        return self.frame(frames.close(disconnect))

    def retry(self, ms: int) -> bytes:
        """Return when a browser's own EventSource shall come back."""
        return b"retry: %d\n\n" % ms


class PollFraming:
    """One JSON object with a list of frames. It begins with a ping, so every other frame has a comma before it."""

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
        """Return the end of the answer, which says why it ends here."""
        return self.frame(frames.close(disconnect)) + b"]}\n"


WEBSOCKET, EVENTS, POLL = WebSocketFraming(), EventFraming(), PollFraming()
