"""Framing: what readers of each transport get is what was framed."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from notifier.errors import Restarting
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.framing import EVENTS, POLL, WEBSOCKET
from tests.kit.events import Parser

# Small values: framing depends on their characters and their order, not on their size.
TEXTS = st.text(max_size=6)
PLAIN = st.none() | st.booleans() | st.integers() | TEXTS
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
CURSORS = st.builds(Cursor, st.integers(0, 2**53), st.integers(0, 2**63 - 1))
SENT = st.lists(st.tuples(OBJECTS, st.none() | CURSORS), max_size=4)


def on_one_line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


class TestWebSocket:
    @given(OBJECTS)
    @example({"a": "x" * 116})  # 125 bytes, the limit of the 7-bit length
    @example({"a": "x" * 117})
    @example({"a": "x" * 65_526})  # 65,535 bytes, the limit of the 16-bit length
    @example({"a": "x" * 65_527})
    def test_messages(self, value: dict[str, Any]) -> None:
        """A frame is one text message."""
        reader = FrameProtocol(client=True, extensions=[])
        reader.receive_bytes(WEBSOCKET.frame(on_one_line(value), b"1-0"))
        parts = list(reader.received_frames())
        assert {part.opcode for part in parts} == {Opcode.TEXT} and parts[-1].message_finished
        assert json.loads("".join(part.payload for part in parts)) == value

    def test_ping(self) -> None:
        """A ping is a frame of its own, with its cursor if it has one."""
        assert json.loads(WEBSOCKET.ping(Cursor(7, 1))[2:]) == {"type": "ping", "cursor": "7-1"}
        assert json.loads(WEBSOCKET.ping(None)[2:]) == {"type": "ping"}

    def test_drain(self) -> None:
        """A drain is a frame with the time to reconnect."""
        assert json.loads(WEBSOCKET.drain(1500)[2:]) == {"type": "drain", "retry_after_ms": 1500}

    def test_farewell(self) -> None:
        """A farewell is a close frame."""
        assert WEBSOCKET.farewell(Restarting())[2:] == (1012).to_bytes(2, "big") + b"service restarts"


class TestEvents:
    @given(SENT, st.integers(1, 40))
    def test_reader(self, sent: list[tuple[dict[str, Any], Cursor | None]], size: int) -> None:
        """A reader gets any JSON of one line, and its id, in pieces of any size."""
        data = b"".join(EVENTS.frame(on_one_line(value), str(cursor or "").encode()) for value, cursor in sent)
        reader = Parser()
        events = [event for at in range(0, len(data), size) for event in reader.feed(data[at : at + size])]
        last, expected = "", []
        for value, cursor in sent:
            last = str(cursor) if cursor else last
            expected.append(("message", value, last))
        assert [(event.type, json.loads(event.data), event.id) for event in events] == expected
        assert reader.last_event_id == last

    @given(st.none() | CURSORS)
    def test_ping(self, cursor: Cursor | None) -> None:
        """A ping is not an event, but its cursor is remembered; one without a cursor changes nothing."""
        reader = Parser()
        before = list(reader.feed(EVENTS.frame(b"{}", b"5-0")))
        assert list(reader.feed(EVENTS.ping(cursor))) == [] and len(before) == 1
        assert reader.last_event_id == str(cursor or "5-0")
        assert reader.comments == [" ping"]

    def test_retry(self) -> None:
        """The time to reconnect is not an event."""
        reader = Parser()
        assert list(reader.feed(EVENTS.retry(1380))) == []
        assert reader.retry == 1380

    def test_drain(self) -> None:
        """A drain gives the browser, and the page too, the time to reconnect."""
        reader = Parser()
        [event] = reader.feed(EVENTS.drain(1500))
        assert json.loads(event.data) == {"type": "drain", "retry_after_ms": 1500}
        assert reader.retry == 1500

    def test_farewell(self) -> None:
        """A farewell is an event with the code and the reason."""
        [event] = Parser().feed(EVENTS.farewell(Restarting()))
        assert json.loads(event.data) == {"type": "close", "code": 1012, "reason": "service restarts"}


class TestPoll:
    @given(SENT, st.none() | CURSORS)
    def test_answer(self, sent: list[tuple[dict[str, Any], Cursor | None]], cursor: Cursor | None) -> None:
        """An answer is one JSON object, whatever is in it."""
        framed = b"".join(POLL.frame(on_one_line(value), b"1-0") for value, _ in sent)
        answer = json.loads(POLL.BEGINNING + framed + POLL.ping(cursor))
        ping, *values, end = answer["frames"]
        assert ping == {"type": "ping"}
        assert values == [value for value, _ in sent]
        assert end == json.loads(frames.ping(cursor))

    def test_drain_and_farewell(self) -> None:
        """An answer that is cut short is also JSON, and ends with the reason."""
        answer = json.loads(POLL.BEGINNING + POLL.drain(20) + POLL.farewell(Restarting()))
        assert [frame["type"] for frame in answer["frames"]] == ["ping", "drain", "close"]
