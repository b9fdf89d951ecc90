"""A subscriber by Server-Sent Events, with a parser after the HTML Standard (section 9.2.6)."""

import http.client
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from tests.kit.service import Service
from tests.kit.waiting import DEADLINE

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r(?!\Z)|\n)")  # a CR at the end may be half of a CRLF


class Event(NamedTuple):
    """A dispatched event: its type, its data, and the last event id when it was dispatched."""

    type: str
    data: str
    id: str


class Parser:
    """Turns bytes into events, and remembers what an EventSource would."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self.comments: list[str] = []
        self._bytes = b""
        self._type, self._data, self._id = "", "", ""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that are complete."""
        self._bytes += data
        at = 0
        while line := _LINE.match(self._bytes, at):
            at = line.end()
            yield from self._take(line[1].decode())
        self._bytes = self._bytes[at:]

    def _take(self, line: str) -> Iterator[Event]:
        if not line:
            yield from self._dispatch()
        elif line.startswith(":"):
            self.comments.append(line[1:])
        else:
            name, _, value = line.partition(":")
            self._field(name, value.removeprefix(" "))

    def _field(self, name: str, value: str) -> None:
        match name:
            case "event":
                self._type = value
            case "data":
                self._data += value + "\n"
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)

    def _dispatch(self) -> Iterator[Event]:
        self.last_event_id = self._id
        if self._data:
            yield Event(self._type or "message", self._data.removesuffix("\n"), self.last_event_id)
        self._type, self._data = "", ""


class EventStream:
    """One request, which contains only what the arguments specify.

    `last_id` is that of the last event that was returned: the parser is ahead of it by what has arrived together.
    """

    def __init__(
        self,
        service: Service,
        token: str,
        topics: Iterable[str] = (),
        since: str | None = None,
        last_event_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 0,
    ) -> None:
        query = [("topic", topic) for topic in topics] + ([("since", since)] if since else [])
        sent = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}", **(headers or {})}
        if last_event_id:
            sent["Last-Event-ID"] = last_event_id
        self.parser = Parser()
        self.last_id = ""
        self._events: list[Event] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
        self.socket = self._connection.sock = socket.socket()
        self.socket.settimeout(DEADLINE)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", service.port))
        self._connection.request("GET", f"/v1/stream?{urlencode(query)}", headers=sent)
        self.response = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def event(self) -> Event | None:
        """Return the next event, or None at the end of the stream."""
        while not self._events:
            data = self.response.read1(65536)
            if not data:
                return None
            self._events += self.parser.feed(data)
        event = self._events.pop(0)
        self.last_id = event.id
        return event

    def frames(self) -> Iterator[dict[str, Any]]:
        """Yield the frames until the stream ends, and check their ids."""
        while event := self.event():
            frame: dict[str, Any] = json.loads(event.data)
            assert event.type == "message"
            if frame["type"] in ("notification", "removed"):
                assert event.id == frame["cursor"]
            yield frame

    def receive(self, *types: str) -> dict[str, Any]:
        """Return the next frame of these types; without types, the next."""
        for frame in self.frames():
            if not types or frame["type"] in types:
                return frame
        raise AssertionError(f"The stream ended before {types} came.")

    def data(self, count: int) -> list[Any]:
        """Return the data of the next notifications."""
        return [self.receive("notification")["notification"]["data"] for _ in range(count)]

    def read_comment(self) -> None:
        """Wait for the next comment."""
        count = len(self.parser.comments)
        while len(self.parser.comments) == count:
            data = self.response.read1(65536)
            assert data, "The stream ended before a comment came."
            self._events += self.parser.feed(data)

    def close(self) -> None:
        """Close the stream."""
        self.response.close()
        self._connection.close()
