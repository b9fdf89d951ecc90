"""WebSocket framing. Sections in docstrings are those of RFC 6455."""

import struct
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from notifier.errors import BadRequest, BrokenFraming, Disconnect, MessageTooBig, NotUtf8, UpgradeRequired
from notifier.protocol import websocket
from notifier.protocol.websocket import Binary, Close, Decoder, Event, Ping, Pong, Text
from tests.kit.cases import rows

LIMIT = 1000
MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def feed(decoder: Decoder, data: bytes) -> Iterator[Event]:
    """Return the events that bytes complete."""
    decoder.receive(data)
    return decoder.events()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """Return a client's frame, built as section 5.2 draws it."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 65536 else 127
    extended = b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size)
    head = struct.pack("!BB", fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short) + extended
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def decode(*parts: bytes, limit: int = LIMIT) -> list[Event]:
    """Return the events of bytes that come in parts."""
    decoder = Decoder(limit)
    return [event for part in parts for event in feed(decoder, part)]


def bytewise(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def events_until_fault(decoder: Decoder, parts: Iterable[bytes]) -> tuple[list[Event], int | None]:
    """Return the events before a fault, and its close code."""
    events: list[Event] = []
    try:
        for part in parts:
            for event in feed(decoder, part):
                events.append(event)
    except Disconnect as disconnect:
        return events, disconnect.close_code
    return events, None


class TestAccept:
    KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of section 1.3

    def test_example(self) -> None:
        """The key is answered as in the example (section 1.3), without subprotocol or extension."""
        assert websocket.accept(self.KEY, "13", "", "notifier.v1") == (
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"\r\n"
        )

    @rows("offered", ["notifier.v1", "a, notifier.v1", "notifier.v1,b", "a ,\tnotifier.v1 , b"])
    def test_subprotocol(self, offered: str) -> None:
        """The subprotocol is chosen where it is among those offered (section 4.2.2)."""
        answer = websocket.accept(self.KEY, "13", offered, "notifier.v1")
        assert b"\r\nSec-WebSocket-Protocol: notifier.v1\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")

    @rows("offered", ["notifier.v2", "notifier.v1x", "Notifier.v1", ",", "x\r\nnotifier.v1"])
    def test_other_subprotocols(self, offered: str) -> None:
        """Another subprotocol is not chosen, and what was offered is not repeated."""
        assert b"Protocol:" not in websocket.accept(self.KEY, "13", offered, "notifier.v1")

    @rows("version", ["", "12", "8", "13 ", "013", "14", "x"])
    def test_version(self, version: str) -> None:
        """The answer to another version names the supported version (section 4.4)."""
        with pytest.raises(UpgradeRequired) as caught:
            websocket.accept(self.KEY, version, "", "notifier.v1")
        assert caught.value.headers == {"Sec-WebSocket-Version": "13"}

    @rows(
        "key",
        ["", "x", "dGhl", KEY[:-1], KEY + "AAAA", "dGhlIHNhbXBsZSBub25j!Q==", "é" * 24, KEY + "\r\nX: y", "=" * 24],
    )
    def test_key(self, key: str) -> None:
        """A key is 16 bytes in base64 (section 4.2.1)."""
        with pytest.raises(BadRequest):
            websocket.accept(key, "13", "", "notifier.v1")


class TestEncode:
    @rows("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
    @rows("opcode", [TEXT, BINARY])
    def test_lengths(self, size: int, opcode: int) -> None:
        """A frame is final, not masked, and its length takes as few bytes as it can (section 5.2)."""
        payload = b"x" * size
        assert websocket.encode(payload, opcode) == frame(opcode, payload, mask=None)

    def test_kinds(self) -> None:
        """Text is the default; binary, ping and pong have their opcodes (section 11.8)."""
        assert websocket.encode(b"x") == b"\x81\x01x"
        assert websocket.encode_binary(b"x") == b"\x82\x01x"
        assert websocket.encode_pong(b"x") == b"\x8a\x01x"
        assert websocket.PING == b"\x89\x00"

    @given(st.lists(st.binary(max_size=200)))
    def test_another_library_reads_it(self, payloads: list[bytes]) -> None:
        """Frames that follow each other are read by a client of another make."""
        client = FrameProtocol(client=True, extensions=[])
        client.receive_bytes(b"".join(websocket.encode_binary(payload) for payload in payloads))
        assert [bytes(found.payload) for found in client.received_frames()] == payloads  # type: ignore[arg-type]

    def test_close(self) -> None:
        """A close frame has a code and a reason, or nothing at all (section 5.5.1)."""
        assert websocket.encode_close(4001, "é") == b"\x88\x04\x0f\xa1\xc3\xa9"
        assert websocket.encode_close(1000) == b"\x88\x02\x03\xe8"
        assert websocket.encode_close(None) == websocket.encode_close(None, "no code, no reason") == b"\x88\x00"

    @rows("reason", ["x" * 123, "x" * 124, "é" * 61, "é" * 62, "x" + "é" * 62, "😀" * 50, "x日" * 99])
    def test_long_reason(self, reason: str) -> None:
        """A long reason is cut so that it fits into a control frame and stays UTF-8."""
        data = websocket.encode_close(4500, reason)
        assert data[0] == 0x80 | CLOSE
        assert data[1] == len(data) - 2 <= 125
        text = data[4:].decode()
        assert reason.startswith(text)
        assert len((text + reason[len(text) :][:1]).encode()) > 123 or text == reason


class TestDecode:
    @rows("size", [0, 1, 125, 126, 127, 65535, 65536])
    def test_lengths(self, size: int) -> None:
        """Messages of every form of length are whole again."""
        text, data = "x" * size, bytes(size)
        assert decode(frame(TEXT, text.encode()), limit=65536) == [Text(text)]
        assert decode(frame(BINARY, data), limit=65536) == [Binary(data)]

    @rows("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"])
    def test_mask(self, mask: bytes) -> None:
        """The payload is the same under any mask (section 5.3)."""
        assert decode(frame(TEXT, "Hello é".encode(), mask=mask)) == [Text("Hello é")]

    def test_control_frames(self) -> None:
        """Pings and pongs carry up to 125 bytes (section 5.5)."""
        payload = bytes(range(125))
        assert decode(frame(PING, payload), frame(PONG), frame(PING)) == [Ping(payload), Pong(b""), Ping(b"")]

    @rows("code", [1000, 1001, 1011, 1012, 3000, 3999, 4000, 4999])
    def test_close(self, code: int) -> None:
        """A close frame gives its code, which may be one of the application."""
        assert decode(frame(CLOSE, struct.pack("!H", code) + "bye é".encode())) == [Close(code)]

    def test_close_without_code(self) -> None:
        """A close frame may be empty (section 7.1.5)."""
        assert decode(frame(CLOSE)) == [Close(None)]

    def test_fragments(self) -> None:
        """A fragmented message is one message, also where a character or an empty fragment is between (section 5.4)."""
        text = "é😀".encode()
        parts = [
            frame(TEXT, text[:1], fin=False),
            frame(CONTINUATION, b"", fin=False),
            frame(CONTINUATION, text[1:4], fin=False),
            frame(CONTINUATION, text[4:]),
            frame(BINARY, b"", fin=False),
            frame(CONTINUATION, b"x"),
        ]
        assert decode(*parts) == [Text("é😀"), Binary(b"x")]

    def test_empty_fragments(self) -> None:
        """Messages of empty fragments only are empty messages."""
        empty = frame(CONTINUATION, b"", fin=False) * 50 + frame(CONTINUATION)
        assert decode(frame(TEXT, fin=False) + empty) == [Text("")]
        assert decode(frame(BINARY, fin=False) + empty) == [Binary(b"")]

    def test_ping_between_fragments(self) -> None:
        """A control frame may come in the middle of a message (section 5.4)."""
        parts = [frame(TEXT, b"a", fin=False), frame(PING, b"p"), frame(CONTINUATION, b"b")]
        assert decode(*parts) == [Ping(b"p"), Text("ab")]

    def test_bytes_are_bytes(self) -> None:
        """The events of a decoder do not change when more bytes arrive."""
        for event in decode(frame(BINARY, b"x"), frame(PING, b"x"), frame(PONG, b"x")):
            assert isinstance(event, Binary | Ping | Pong)
            assert type(event.data) is bytes


FAULTS = [
    pytest.param(frame(TEXT, b"x", mask=None), BrokenFraming, id="not masked (5.1)"),
    *(pytest.param(frame(TEXT, b"x", rsv=rsv), BrokenFraming, id=f"reserved bits {rsv} (5.2)") for rsv in (1, 2, 4, 7)),
    *(pytest.param(frame(opcode), BrokenFraming, id=f"opcode {opcode} (5.2)") for opcode in (3, 7, 11, 15)),
    *(
        pytest.param(frame(opcode, bytes(126)), BrokenFraming, id=f"long control {opcode} (5.5)")
        for opcode in (8, 9, 10)
    ),
    *(pytest.param(frame(opcode, fin=False), BrokenFraming, id=f"fragmented {opcode} (5.5)") for opcode in (8, 9, 10)),
    pytest.param(frame(CONTINUATION, b"x"), BrokenFraming, id="continuation of nothing (5.4)"),
    pytest.param(frame(TEXT, fin=False) + frame(TEXT), BrokenFraming, id="message in a message (5.4)"),
    pytest.param(b"\x81\xfe\x00\x7d" + MASK + bytes(125), BrokenFraming, id="two bytes for one (5.2)"),
    pytest.param(b"\x81\xff" + struct.pack("!Q", 65535) + MASK, BrokenFraming, id="eight bytes for two (5.2)"),
    pytest.param(b"\x81\xff" + struct.pack("!Q", 1 << 63) + MASK, BrokenFraming, id="most significant bit (5.2)"),
    pytest.param(frame(CLOSE, b"\x03"), BrokenFraming, id="half a close code (5.5.1)"),
    *(
        pytest.param(frame(CLOSE, struct.pack("!H", code)), BrokenFraming, id=f"close code {code} (7.4)")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ),
    pytest.param(frame(CLOSE, b"\x03\xe8\xff"), NotUtf8, id="reason not UTF-8 (5.5.1)"),
    *(
        pytest.param(frame(TEXT, text), NotUtf8, id=f"text {text.hex()} (8.1)")
        for text in (b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xe2\x82")
    ),
    pytest.param(frame(TEXT, b"\xe2", fin=False) + frame(CONTINUATION, b"x"), NotUtf8, id="fragments (8.1)"),
    pytest.param(frame(TEXT, bytes(LIMIT + 1)), MessageTooBig, id="text too big"),
    pytest.param(frame(TEXT, "é".encode() * (LIMIT // 2) + b"x"), MessageTooBig, id="bytes count, not characters"),
    pytest.param(frame(BINARY, bytes(LIMIT + 1)), MessageTooBig, id="binary too big"),
    pytest.param(
        frame(BINARY, bytes(LIMIT), fin=False) + frame(CONTINUATION, b"x", fin=False),
        MessageTooBig,
        id="fragments too big",
    ),
]


class TestFaults:
    @rows(("data", "error"), FAULTS)
    def test_faults(self, data: bytes, error: type[Disconnect]) -> None:
        """Bytes that break a rule end the connection with its close code, in one piece or byte by byte."""
        good = frame(PING, b"before")
        for parts in ([good + data], bytewise(good + data)):
            events, code = events_until_fault(Decoder(LIMIT), parts)
            assert (events[:1], code) == ([Ping(b"before")], error.close_code)

    def test_reason(self) -> None:
        """The reason of broken framing is the project's own: no text of a library reaches a client."""
        with pytest.raises(BrokenFraming) as fault:
            decode(frame(TEXT, b"x", rsv=1))
        assert fault.value.text == BrokenFraming.reason

    def test_limit(self) -> None:
        """A message may be as long as the limit, and the next one too."""
        data = frame(TEXT, "é".encode() * (LIMIT // 2)) + frame(BINARY, bytes(LIMIT))
        assert decode(data) == [Text("é" * (LIMIT // 2)), Binary(bytes(LIMIT))]

    def test_too_big_is_not_waited_for(self) -> None:
        """A message that is too big is refused as soon as the limit is passed, not at its end."""
        decoder = Decoder(LIMIT)
        data = frame(BINARY, bytes(100 * LIMIT))
        with pytest.raises(MessageTooBig):
            list(feed(decoder, data[: 2 * LIMIT]))


PAYLOADS = st.binary(max_size=125)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[bytes, bool, Event | None]]:
    """Return frames: the bytes of each, whether nothing is open behind it, and what it completes."""
    frames: list[tuple[bytes, bool, Event | None]] = []

    def control(at_rest: bool) -> None:
        if draw(st.booleans()):
            payload = draw(PAYLOADS)
            frames.append((frame(PING, payload), at_rest, Ping(payload)))

    for _ in range(draw(st.integers(1, 4))):
        control(at_rest=True)
        payload = draw(st.binary(max_size=300))
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        if opcode == TEXT:
            payload = payload.decode("latin-1").encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            event = (Text(payload.decode()) if opcode == TEXT else Binary(payload)) if last else None
            mask = draw(st.binary(min_size=4, max_size=4))
            frames.append((frame(CONTINUATION if index else opcode, piece, fin=last, mask=mask), last, event))
            if not last:
                control(at_rest=False)
    return frames


@st.composite
def single_frames(draw: st.DrawFn) -> bytes:
    """Return one frame, of which some bytes may be others, or missing, or too many."""
    size = draw(st.sampled_from([0, 1, 4, 125, 126, 127, 200, LIMIT - 1, LIMIT, LIMIT + 1]))
    data = bytearray(frame(draw(st.sampled_from([TEXT, TEXT, BINARY, PING])), "é".encode() * (size // 2) + b"x"))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, min(len(data), 12)))
        data[at : at + draw(st.integers(0, 1))] = draw(st.binary(max_size=1))
    return bytes(data)


@given(single_frames())
def test_whole_frames(data: bytes) -> None:
    """A frame that arrives in one piece is read as wsproto reads it in two."""
    whole = events_until_fault(Decoder(LIMIT), [data])
    assert whole == events_until_fault(Decoder(LIMIT), [data[:1], data[1:]])


def test_put_back() -> None:
    """An event that was put back comes before what arrives later, whatever that is."""
    for later in ([frame(TEXT, b"2")], [frame(PING, b"2")], [frame(TEXT, b"2")[:3], frame(TEXT, b"2")[3:]]):
        decoder = Decoder(LIMIT)
        [first] = feed(decoder, frame(TEXT, b"1"))
        decoder.put_back(first)
        for part in later:
            decoder.receive(part)
        assert decoder.size > len(b"1")
        assert [event[0] for event in decoder.events()] in (["1", "2"], ["1", b"2"])
        assert decoder.at_rest


def test_messages_that_wait() -> None:
    """Messages that arrive before the first was handled are handled in order."""
    decoder = Decoder(LIMIT)
    for text in (b"1", b"2", b"3"):
        decoder.receive(frame(TEXT, text))
    assert list(decoder.events()) == [Text("1"), Text("2"), Text("3")]


@given(streams(), st.data())
def test_splits(frames: list[tuple[bytes, bool, Event | None]], data: st.DataObject) -> None:
    """However the bytes come apart, the events are the same."""
    stream = b"".join(part for part, _, _ in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=9)))
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events = [event for _, _, event in frames if event is not None]
    assert decode(stream) == decode(*parts) == decode(*bytewise(stream)) == events


@given(streams())
def test_at_rest(frames: list[tuple[bytes, bool, Event | None]]) -> None:
    """A decoder is at rest exactly where no frame and no message is half read."""
    decoder = Decoder(LIMIT)
    assert decoder.at_rest
    for part, at_rest, _ in frames:
        for byte in bytewise(part[:-1]):
            list(feed(decoder, byte))
            assert not decoder.at_rest
        list(feed(decoder, part[-1:]))
        assert decoder.at_rest is at_rest


@given(streams())
def test_a_new_decoder_goes_on(frames: list[tuple[bytes, bool, Event | None]]) -> None:
    """A decoder that is dropped whenever it is at rest misses nothing."""
    decoder, events = Decoder(LIMIT), []
    for part, _, _ in frames:
        events += list(feed(decoder, part))
        if decoder.at_rest:
            decoder = Decoder(LIMIT)
    assert events == [event for _, _, event in frames if event is not None]


@given(st.binary() | st.builds(frame, st.integers(0, 15), st.binary(), fin=st.booleans(), rsv=st.just(0)), st.data())
def test_random_bytes(stream: bytes, data: st.DataObject) -> None:
    """Any bytes are events or end the connection with a documented code, in whatever pieces they come."""
    whole = events_until_fault(Decoder(LIMIT), [stream])
    assert whole[1] in (None, BrokenFraming.close_code, NotUtf8.close_code, MessageTooBig.close_code)
    cut = data.draw(st.integers(0, len(stream)))
    assert events_until_fault(Decoder(LIMIT), [stream[:cut], stream[cut:]]) == whole
    assert events_until_fault(Decoder(LIMIT), bytewise(stream)) == whole


def test_opcodes() -> None:
    """The opcodes of these tests are those of the library that the decoder uses."""
    names = (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE, Opcode.PING, Opcode.PONG)
    assert names == (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)


def test_many_fragments() -> None:
    """A message has at most 64 fragments before its last one: each costs memory and time."""
    fragments = [frame(TEXT, b"a", fin=False), *(frame(CONTINUATION, b"a", fin=False) for _ in range(63))]
    assert decode(*fragments, frame(CONTINUATION, b"a")) == [Text("a" * 65)]
    with pytest.raises(MessageTooBig):
        decode(*fragments, frame(CONTINUATION, b"a", fin=False))
    assert decode(*(fragments[:40] + [frame(CONTINUATION)]) * 3) == [Text("a" * 40)] * 3


def test_a_frame_in_many_reads_is_no_fragments() -> None:
    """Only frames are counted, not the reads in which they come."""
    assert decode(*bytewise(frame(TEXT, b"a" * 500)), limit=500) == [Text("a" * 500)]


def test_characters_over_fragments() -> None:
    """A character may be split over fragments."""
    text = "é€😀".encode()
    parts = [frame(CONTINUATION if at else TEXT, text[at : at + 1], fin=False) for at in range(len(text))]
    assert decode(*parts, frame(CONTINUATION)) == [Text("é€😀")]


@rows("event", [Text("x" * 999), Text("x" * 999 + "\U0001f600"), Binary(b"x" * 999)])
def test_size_of_waiting(event: Text | Binary) -> None:
    """A message that waits counts with its memory: that of a text depends on its largest character."""
    decoder = Decoder(LIMIT)
    decoder.receive(frame(TEXT, b"abc")[:-1])
    assert list(decoder.events()) == [] and decoder.size == 2
    decoder.put_back(event)
    least = 4000 if isinstance(event, Text) and not event.text.isascii() else 999
    assert least < decoder.size < least + 100
    assert next(decoder.events()) == event and decoder.size == 2
