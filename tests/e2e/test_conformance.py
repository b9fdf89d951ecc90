"""RFC 6455, point by point, on `/v1/echo`. Sections in docstrings are the RFC's."""

from collections.abc import Iterator

import pytest

from tests.kit.raw import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    close,
    fragments,
    frame,
    handshake,
    text,
)
from tests.kit.segments import both_ways
from tests.kit.service import PROBLEM, Service

LIMIT = 65536  # the default of max_message_bytes
SIZES = [0, 1, 125, 126, 127, 65535, LIMIT]
GREETING = "Hello-µ@ßöäüàá-\U0001f600".encode()
NOT_UTF8 = [
    pytest.param(b"\xff", id="no such byte"),
    pytest.param(b"\x80", id="continuation without start"),
    pytest.param(b"\xc0\xaf", id="overlong"),
    pytest.param(b"\xed\xa0\x80", id="surrogate"),
    pytest.param(b"\xf4\x90\x80\x80", id="above U+10FFFF"),
    pytest.param(b"ok \xe2\x82", id="cut at the end"),
    pytest.param(GREETING + b"\xed\xa0\x80edited", id="in the middle"),
]


@pytest.fixture
def peer(service: Service) -> Iterator[Peer]:
    with Peer(service.port) as peer:
        yield peer


def assert_echo(peer: Peer, payload: bytes = b"still here", opcode: int = TEXT) -> None:
    peer.send(frame(opcode, payload))
    assert peer.read() == Frame(opcode, payload)


class TestHandshake:
    def test_accept(self, peer: Peer) -> None:
        """The accept key is that of the example (section 1.3), with status 101 and the upgrade (section 4.2.2)."""
        assert peer.status == 101
        assert peer.headers["Sec-WebSocket-Accept"] == ACCEPT
        assert peer.headers["Upgrade"].lower() == "websocket"
        assert peer.headers["Connection"].lower() == "upgrade"

    def test_names_are_case_insensitive(self, service: Service) -> None:
        """Upgrade and Connection are case-insensitive, also in lists (section 4.2.1)."""
        with Peer(service.port, headers={"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"}) as peer:
            assert peer.status == 101
            assert_echo(peer)

    def test_pipelined(self, service: Service) -> None:
        """Messages in the same TCP segment as the handshake are answered."""
        with Peer(service.port, behind=frame(TEXT, b"early") + frame(PING, b"bird")) as peer:
            assert [peer.read(), peer.read()] == [Frame(TEXT, b"early"), Frame(PONG, b"bird")]

    def test_pipelined_in_part(self, service: Service) -> None:
        """A frame may begin in the segment of the handshake and end in another."""
        data = frame(TEXT, b"early")
        with Peer(service.port, behind=data[:3]) as peer:
            peer.send(data[3:])
            assert peer.read() == Frame(TEXT, b"early")

    @pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits, x-other"])
    def test_no_compression(self, service: Service, offer: str) -> None:
        """No offered extension is accepted (section 9.1)."""
        with Peer(service.port, headers={"Sec-WebSocket-Extensions": offer}) as peer:
            assert peer.status == 101
            assert peer.headers["Sec-WebSocket-Extensions"] is None
            assert_echo(peer)

    @both_ways
    def test_stream(self, service: Service, split: bool) -> None:
        """The stream is accepted as the echo is, with messages in the same segment."""
        hello = text(type="hello", token=service.token())
        with Peer(service.port, "/v1/stream", behind=hello + frame(PING, b"bird"), split=split) as peer:
            assert (peer.status, peer.headers["Sec-WebSocket-Accept"]) == (101, ACCEPT)
            assert (peer.headers["Upgrade"], peer.headers["Connection"]) == ("websocket", "Upgrade")
            assert {peer.read().opcode, peer.read().opcode} == {PONG, TEXT}

    @both_ways
    def test_stream_in_part(self, service: Service, split: bool) -> None:
        """A hello may begin in the segment of the handshake and end in another."""
        hello = text(type="hello", token=service.token())
        with Peer(service.port, "/v1/stream", behind=hello[:9], split=split) as peer:
            peer.send(hello[9:])
            assert peer.read_json()["type"] == "welcome"

    @both_ways
    @pytest.mark.parametrize("offer", ["notifier.v1", "other, notifier.v1"])
    def test_subprotocol(self, service: Service, offer: str, split: bool) -> None:
        """The subprotocol is selected if it is offered (section 4.2.2)."""
        with Peer(service.port, "/v1/stream", {"Sec-WebSocket-Protocol": offer}, split=split) as peer:
            assert peer.status == 101
            assert peer.headers["Sec-WebSocket-Protocol"] == "notifier.v1"

    @both_ways
    @pytest.mark.parametrize("offer", [{}, {"Sec-WebSocket-Protocol": "other"}])
    def test_no_subprotocol(self, service: Service, offer: dict[str, str], split: bool) -> None:
        """A client that does not offer the subprotocol is served without one (section 4.2.2)."""
        with Peer(service.port, "/v1/stream", offer, split=split) as peer:
            assert peer.status == 101
            assert peer.headers["Sec-WebSocket-Protocol"] is None

    @pytest.mark.parametrize(
        "change",
        [
            {"Sec-WebSocket-Key": None},
            {"Sec-WebSocket-Key": ""},
            {"Sec-WebSocket-Key": "c2hvcnQ="},
            {"Sec-WebSocket-Key": "not base64 at all!"},
            {"Sec-WebSocket-Version": None},
            {"Sec-WebSocket-Version": "8"},
            {"Sec-WebSocket-Version": "13a"},
            {"Upgrade": None},
            {"Upgrade": "h2c"},
            {"Connection": None},
            {"Connection": "close"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("path", ["/v1/echo", "/v1/stream"])
    @both_ways
    def test_refused(self, service: Service, path: str, change: dict[str, str | None], split: bool) -> None:
        """A handshake without a key, with a wrong version or without the upgrade is rejected (section 4.2.1)."""
        answer = service.exchange(handshake(f"GET {path} HTTP/1.1", change), split=split)
        assert answer.status in (400, 426)
        assert answer.headers["Content-Type"] == PROBLEM
        assert answer.json["status"] == answer.status

    @pytest.mark.parametrize("start", ["HEAD {} HTTP/1.1", "POST {} HTTP/1.1", "GET {} HTTP/1.0"])
    @pytest.mark.parametrize("path", ["/v1/echo", "/v1/stream"])
    @both_ways
    def test_request_line(self, service: Service, path: str, start: str, split: bool) -> None:
        """Only a GET of HTTP/1.1 or higher is upgraded (section 4.2.1)."""
        assert 400 <= service.exchange(handshake(start.format(path)), split=split).status < 500

    @pytest.mark.parametrize("path", ["/v1/echo", "/v1/stream"])
    @both_ways
    def test_version_is_named(self, service: Service, path: str, split: bool) -> None:
        """A wrong version is answered with the supported version (section 4.4)."""
        answer = service.exchange(handshake(f"GET {path} HTTP/1.1", {"Sec-WebSocket-Version": "8"}), split=split)
        assert answer.headers["Sec-WebSocket-Version"] == "13"


class TestMessages:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_echo(self, peer: Peer, opcode: int, size: int) -> None:
        """A message of any length up to the limit is echoed unmasked and of the same type (sections 5.2, 5.6)."""
        assert_echo(peer, b"*" * size, opcode)

    def test_all_bytes(self, peer: Peer) -> None:
        """A binary message may contain all bytes (section 5.6)."""
        assert_echo(peer, bytes(range(256)), BINARY)

    def test_pipelined(self, peer: Peer) -> None:
        """Messages in one segment are answered in order."""
        payloads = [b"%d" % number for number in range(100)]
        peer.send(b"".join(frame(TEXT, payload) for payload in payloads))
        assert [peer.read().payload for _ in payloads] == payloads

    def test_one_byte_at_a_time(self, peer: Peer) -> None:
        """TCP segments may split a message anywhere (section 5.4)."""
        data = b"".join([*fragments(TEXT, GREETING[:8], GREETING[8:]), frame(BINARY, bytes(200))])
        peer.send(*(data[index : index + 1] for index in range(len(data))))
        assert [peer.read(), peer.read()] == [Frame(TEXT, GREETING), Frame(BINARY, bytes(200))]

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize(
        "messages",
        [
            pytest.param([b"*" * (LIMIT + 1)], id="one frame"),
            pytest.param([b"*" * LIMIT, b"*"], id="fragments"),
            pytest.param([b"*"] + [b"*" * 1024] * 64, id="many fragments"),
            pytest.param(["ß".encode() * (LIMIT // 2), b"", b"*"], id="bytes, not characters"),
        ],
    )
    def test_too_big(self, peer: Peer, opcode: int, messages: list[bytes]) -> None:
        """A message above the limit ends the connection with 1009 (section 7.4.1)."""
        peer.send(*fragments(opcode, *messages))
        assert peer.close_code() == 1009

    def test_huge_frame(self, peer: Peer) -> None:
        """A frame whose length exceeds the limit is rejected before its payload arrives (section 10.4)."""
        peer.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), bytes(LIMIT + 1))
        assert peer.close_code() == 1009

    def test_limit_is_per_message(self, peer: Peer) -> None:
        """Several messages may each have the length of the limit."""
        for _ in range(3):
            assert_echo(peer, b"*" * LIMIT)


class TestFragmentation:
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize(
        "parts",
        [
            [b"Hel", b"lo"],
            [b"", b""],
            [b"", b"Hello", b""],
            [b"Hello", b"", b"", b"!"],
            [b"%d," % number for number in range(64)],
            [b"*" * 65535, b"*"],
        ],
        ids=["two", "empty", "empty at the ends", "empty between", "many", "long"],
    )
    def test_joined(self, peer: Peer, opcode: int, parts: list[bytes]) -> None:
        """Fragments, including empty ones, are joined (section 5.4)."""
        peer.send(*fragments(opcode, *parts))
        assert peer.read() == Frame(opcode, b"".join(parts))

    def test_control_frames_between(self, peer: Peer) -> None:
        """A ping between fragments is answered before the message ends; a pong there is ignored (section 5.4)."""
        first, second, third = fragments(TEXT, b"one ", b"two ", b"three")
        peer.send(first, frame(PING, b"1"))
        assert peer.read() == Frame(PONG, b"1")  # of several pings that arrive together, only the last is answered
        peer.send(second, frame(PONG, b"unasked"), frame(PING, b"2"))
        assert peer.read() == Frame(PONG, b"2")
        peer.send(third)
        assert peer.read() == Frame(TEXT, b"one two three")

    def test_close_between(self, peer: Peer) -> None:
        """A close frame between fragments is answered; the unfinished message is not (section 5.4)."""
        first, second = fragments(TEXT, b"one ", b"two")
        peer.send(first, close(1000), second)
        assert peer.close_code() == 1000

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(frame(CONTINUATION, b"lost"), id="continuation first"),
            pytest.param(frame(CONTINUATION, b"lost", fin=False), id="unfinished continuation first"),
            pytest.param(frame(CONTINUATION), id="empty continuation first"),
            pytest.param(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), id="text within a message"),
            pytest.param(frame(BINARY, b"a", fin=False) + frame(TEXT, b"b"), id="text within a binary message"),
            pytest.param(frame(TEXT, b"a", fin=False) + frame(BINARY, b"b", fin=False), id="binary within a message"),
        ],
    )
    def test_out_of_order(self, peer: Peer, data: bytes) -> None:
        """A continuation without a start, and a start inside a message, are invalid framing (section 5.4)."""
        peer.send(data)
        assert peer.close_code() == 1002

    def test_continuation_after_the_end(self, peer: Peer) -> None:
        """A continuation after the last fragment is invalid framing (section 5.4)."""
        peer.send(*fragments(TEXT, b"a", b"b"))
        assert peer.read() == Frame(TEXT, b"ab")
        peer.send(frame(CONTINUATION, b"c"))
        assert peer.close_code() == 1002


class TestControlFrames:
    @pytest.mark.parametrize("payload", [b"", b"Hello", bytes(range(125))], ids=["empty", "short", "125 bytes"])
    def test_ping(self, peer: Peer, payload: bytes) -> None:
        """A ping is answered by a pong with the same payload (sections 5.5.2, 5.5.3)."""
        peer.send(frame(PING, payload))
        assert peer.read() == Frame(PONG, payload)

    def test_many_pings(self, peer: Peer) -> None:
        """Of pings in a row at least the last is answered, and those that are answered in order (section 5.5.3)."""
        payloads = [b"%d" % number for number in range(10)]
        peer.send(b"".join(frame(PING, payload) for payload in payloads))
        answered = [peer.read()]
        while answered[-1] != Frame(PONG, payloads[-1]):
            answered.append(peer.read())
        assert answered == [Frame(PONG, payload) for payload in payloads if Frame(PONG, payload) in answered]

    @pytest.mark.parametrize("payload", [b"", b"unasked"])
    def test_unsolicited_pong(self, peer: Peer, payload: bytes) -> None:
        """An unsolicited pong is ignored (section 5.5.3)."""
        peer.send(frame(PONG, payload))
        assert_echo(peer)

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_too_long(self, peer: Peer, opcode: int) -> None:
        """A control frame of more than 125 bytes is invalid framing (section 5.5)."""
        peer.send(frame(opcode, b"\x03\xe8" + b"*" * 124))
        assert peer.close_code() == 1002

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_fragmented(self, peer: Peer, opcode: int) -> None:
        """A fragmented control frame is invalid framing (section 5.5)."""
        peer.send(frame(opcode, fin=False))
        assert peer.close_code() == 1002


class TestFraming:
    @pytest.mark.parametrize("rsv", range(1, 8))
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
    def test_reserved_bits(self, peer: Peer, opcode: int, rsv: int) -> None:
        """A reserved bit without an extension is invalid framing (section 5.2)."""
        peer.send(frame(opcode, rsv=rsv))
        assert peer.close_code() == 1002

    def test_reserved_bits_of_a_fragment(self, peer: Peer) -> None:
        """A reserved bit on a continuation is invalid framing (section 5.2)."""
        peer.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", rsv=4))
        assert peer.close_code() == 1002

    @pytest.mark.parametrize("payload", [b"", b"Hello"])
    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    def test_reserved_opcodes(self, peer: Peer, opcode: int, payload: bytes) -> None:
        """A reserved opcode is invalid framing (section 5.2)."""
        peer.send(frame(opcode, payload))
        assert peer.close_code() == 1002

    @pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
    def test_unmasked(self, peer: Peer, opcode: int) -> None:
        """An unmasked frame from a client closes the connection (section 5.1)."""
        peer.send(frame(opcode, masked=False))
        assert peer.close_code() == 1002

    @pytest.mark.parametrize(
        "size, width", [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)], ids=lambda number: str(number)
    )
    def test_length_not_minimal(self, peer: Peer, size: int, width: int) -> None:
        """A length that is not encoded in the fewest bytes is invalid framing (section 5.2)."""
        peer.send(frame(BINARY, bytes(size), width=width))
        assert peer.close_code() == 1002

    def test_length_with_top_bit(self, peer: Peer) -> None:
        """A 64-bit length with the most significant bit set is invalid framing (section 5.2)."""
        peer.send(b"\x82\xff" + (1 << 63).to_bytes(8, "big") + bytes(4))
        assert peer.close_code() == 1002

    def test_what_came_before(self, peer: Peer) -> None:
        """Messages before invalid framing are answered, later ones are not (section 7.1.7)."""
        peer.send(frame(TEXT, b"good") + frame(TEXT, b"bad", rsv=1) + frame(TEXT, b"late"))
        assert peer.read() == Frame(TEXT, b"good")
        assert peer.close_code() == 1002


class TestUtf8:
    def test_split_character(self, peer: Peer) -> None:
        """A character may be split across fragments at any byte (section 5.6)."""
        for cut in range(1, len(GREETING)):
            peer.send(*fragments(TEXT, GREETING[:cut], GREETING[cut:]))
            assert peer.read() == Frame(TEXT, GREETING)

    def test_every_byte_a_fragment(self, peer: Peer) -> None:
        """A message may consist of fragments of one byte (section 5.4)."""
        peer.send(*fragments(TEXT, *(bytes([byte]) for byte in GREETING)))
        assert peer.read() == Frame(TEXT, GREETING)

    @pytest.mark.parametrize("payload", ["\ufffe\uffff\U0010ffff".encode(), "\x00\ud7ff\ue000".encode()])
    def test_unusual_characters(self, peer: Peer, payload: bytes) -> None:
        """Noncharacters and control characters are valid (section 8.1)."""
        assert_echo(peer, payload)

    @pytest.mark.parametrize("payload", NOT_UTF8)
    def test_invalid(self, peer: Peer, payload: bytes) -> None:
        """Text that is not UTF-8 ends the connection with 1007 (section 8.1)."""
        peer.send(frame(TEXT, payload))
        assert peer.close_code() == 1007

    @pytest.mark.parametrize("payload", NOT_UTF8)
    def test_invalid_in_fragments(self, peer: Peer, payload: bytes) -> None:
        """Text that is not UTF-8 is detected across fragments (section 8.1)."""
        peer.send(*fragments(TEXT, *(bytes([byte]) for byte in payload), b""))
        assert peer.close_code() == 1007

    @pytest.mark.parametrize("payload", NOT_UTF8)
    def test_binary_is_not_checked(self, peer: Peer, payload: bytes) -> None:
        """A binary message need not be UTF-8 (section 5.6)."""
        assert_echo(peer, payload, BINARY)

    @pytest.mark.parametrize("reason", NOT_UTF8)
    def test_invalid_reason(self, peer: Peer, reason: bytes) -> None:
        """A close frame whose reason is not UTF-8 closes the connection with 1007 (sections 5.5.1, 8.1)."""
        peer.send(close(1000, reason))
        assert peer.close_code() == 1007


class TestClose:
    def test_empty(self, peer: Peer) -> None:
        """A close frame without a code is answered, and the TCP connection ends (section 5.5.1)."""
        peer.send(frame(CLOSE))
        assert list(peer.frames()) == [Frame(CLOSE)]

    @pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1012), 3000, 3999, 4000, 4999])
    def test_code_is_echoed(self, peer: Peer, code: int) -> None:
        """A valid close code is echoed (sections 5.5.1, 7.4)."""
        peer.send(close(code))
        assert peer.close_code() == code

    @pytest.mark.parametrize("reason", [b"bye", "adiós".encode(), b"*" * 123])
    def test_reason(self, peer: Peer, reason: bytes) -> None:
        """A reason of up to 123 bytes is accepted (section 5.5.1)."""
        peer.send(close(1000, reason))
        assert peer.close_code() == 1000

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
    def test_code_not_allowed(self, peer: Peer, code: int) -> None:
        """A reserved close code is invalid framing (section 7.4)."""
        peer.send(close(code))
        assert peer.close_code() == 1002

    def test_half_a_code(self, peer: Peer) -> None:
        """A close frame of one byte is invalid framing (section 5.5.1)."""
        peer.send(frame(CLOSE, b"\x03"))
        assert peer.close_code() == 1002

    def test_nothing_after(self, peer: Peer) -> None:
        """Frames after a close frame are not answered (section 5.5.1)."""
        peer.send(close(1000) + frame(TEXT, b"late") + frame(PING, b"late") + close(1001))
        assert peer.close_code() == 1000

    def test_what_came_before(self, peer: Peer) -> None:
        """Messages before a close frame are answered first."""
        peer.send(frame(TEXT, b"last words") + frame(PING, b"?") + close(1001))
        assert [peer.read(), peer.read()] == [Frame(TEXT, b"last words"), Frame(PONG, b"?")]
        assert peer.close_code() == 1001
