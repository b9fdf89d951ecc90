"""WebSocket framing (RFC 6455 section 5), without a socket.

Frames of a server are not masked, so the bytes of one frame serve every connection: they are built once.
"""

import base64
import hashlib
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from notifier.errors import BadRequest, BrokenFraming, Disconnect, MessageTooBig, NotUtf8, UpgradeRequired

VERSION = "13"

_FIN = 0x80
_WHOLE_TEXT = _FIN | Opcode.TEXT.value  # the first byte of a text message of one frame
_MASKED = 0x80  # a bit of the second byte, next to the length
_TWO_BYTES = 126  # a length which says that the length is in the next two bytes
_MASK = 4  # bytes
_SHORTEST = 2 + _MASK  # bytes of a client's frame
_MOST_FRAGMENTS = 64  # of a message
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


def accept(key: str, version: str, offered: str, subprotocol: str) -> bytes:
    """Return the response that completes the opening handshake (RFC 6455 section 4.2.2).

    `key`, `version` and `offered` are the headers Sec-WebSocket-Key, -Version and -Protocol. The subprotocol is
    chosen if the client offered it; extensions never are.

    Raises:
        UpgradeRequired: the client asks for another version.
        BadRequest: the key is not 16 bytes in base64.
    """
    if version != VERSION:
        raise UpgradeRequired(f"The only supported version is {VERSION}.", headers={"Sec-WebSocket-Version": VERSION})
    try:
        nonce = base64.b64decode(key, validate=True)
    except ValueError:
        nonce = b""
    if len(nonce) != 16:
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.")
    digest = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    chosen = b""
    if subprotocol in (name.strip() for name in offered.split(",")):
        chosen = b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode()
    return b"".join((_SWITCHING, digest, b"\r\n", chosen, b"\r\n"))


class Text(NamedTuple):
    """A whole text message."""

    text: str


class Binary(NamedTuple):
    """A whole binary message."""

    data: bytes


class Ping(NamedTuple):
    """A ping, which must be answered by a pong with the same bytes."""

    data: bytes


class Pong(NamedTuple):
    """The answer to a ping."""

    data: bytes


class Close(NamedTuple):
    """The peer closes the connection. The code is None if the frame has none."""

    code: int | None


Event = Text | Binary | Ping | Pong | Close


def encode(payload: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """Return one unmasked, unfragmented frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", _FIN | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", _FIN | opcode, 126, size) + payload
    return struct.pack("!BBQ", _FIN | opcode, 127, size) + payload


def encode_binary(data: bytes) -> bytes:
    """Return a binary message."""
    return encode(data, Opcode.BINARY)


def encode_pong(data: bytes) -> bytes:
    """Return the answer to a ping."""
    return encode(data, Opcode.PONG)


def encode_close(code: int | None, reason: str = "") -> bytes:
    """Return a close frame. The reason is truncated to the 123 bytes that fit into a control frame."""
    if code is None:
        return encode(b"", Opcode.CLOSE)
    text = reason.encode()[:123].decode("utf-8", "ignore")  # not in the middle of a character
    return encode(struct.pack("!H", code) + text.encode(), Opcode.CLOSE)


PING = encode(b"", Opcode.PING)


class Decoder:
    """Turns the bytes of a client into events.

    A decoder is created when bytes arrive and dropped when it is `at_rest`: an idle connection has none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._frames: FrameProtocol | None = None  # wsproto's, once other bytes arrive than one whole short message
        self._max_bytes = max_bytes
        self._message = bytearray()
        self._fragments = 0
        self._put_back: Event | None = None
        self.is_counted = False  # for its owner: whether the size of what is buffered was noted
        self.is_waiting = False  # for its owner: whether events are left for later
        self.is_held = False  # for its owner: whether they are left until work for the client is done

    def receive(self, data: bytes) -> None:
        """Take bytes of the client.

        A text that arrives as one frame is read here: wsproto takes ten times as long. It reads everything else, and
        so decides what is wrong.
        """
        if self._frames is None:
            if self._put_back is None:
                self._put_back = _only_text(data, self._max_bytes)
                if self._put_back is not None:
                    return
            self._frames = FrameProtocol(client=False, extensions=[])
        self._frames.receive_bytes(data)

    def events(self) -> Iterator[Event]:
        """Yield the events that the bytes so far complete, in order. The iteration may be broken off and begun again.

        Raises:
            BrokenFraming, NotUtf8, MessageTooBig: after the events before the fault; the connection must be closed
                with the close code of the error.
        """
        if self._put_back is not None:
            first, self._put_back = self._put_back, None
            yield first
        if self._frames is None:
            return
        try:
            for opcode, payload, frame_finished, message_finished in self._frames.received_frames():
                if opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION) and frame_finished:
                    self._count_fragment(message_finished)
                event = self._event(opcode, payload, frame_finished and message_finished)
                if event is not None:
                    yield event
        except ParseFailed as error:
            raise _disconnect(error) from error

    def put_back(self, event: Event) -> None:
        """Yield an event once more, before all others: it could not be handled yet."""
        self._put_back = event

    @property
    def at_rest(self) -> bool:
        """Whether no frame and no fragmented message is incomplete."""
        if self._frames is None:
            return True
        frames, messages = self._frames._frame_decoder, self._frames._message_decoder
        return frames.header is None and not len(frames.buffer) and messages.opcode is None

    @property
    def size(self) -> int:
        """How many bytes of incomplete messages are buffered, and of a message that was put back."""
        event = self._put_back
        # One character may make a text four times as large as it arrived.
        waiting = sys.getsizeof(event[0]) if isinstance(event, Text | Binary) else 0
        unread = 0 if self._frames is None else len(self._frames._frame_decoder.buffer)
        return waiting + len(self._message) + unread

    def _event(self, opcode: Opcode, payload: bytes | str | tuple[int, str], finished: bool) -> Event | None:
        if isinstance(payload, tuple):
            code = payload[0]
            return Close(None if code == CloseReason.NO_STATUS_RCVD else int(code))
        if opcode is Opcode.PING:
            return Ping(bytes(payload))  # type: ignore[arg-type]
        if opcode is Opcode.PONG:
            return Pong(bytes(payload))  # type: ignore[arg-type]
        return self._add(payload, finished)

    def _add(self, chunk: str | bytes, finished: bool) -> Event | None:
        # One buffer for all of a message: a string for each fragment would cost ten times its bytes.
        self._message += chunk.encode() if isinstance(chunk, str) else chunk
        if len(self._message) > self._max_bytes:
            raise MessageTooBig()
        if not finished:
            return None
        message, self._message = bytes(self._message), bytearray()
        return Text(message.decode()) if isinstance(chunk, str) else Binary(message)

    def _count_fragment(self, is_last: bool) -> None:
        self._fragments = 0 if is_last else self._fragments + 1
        if self._fragments > _MOST_FRAGMENTS:
            raise MessageTooBig("too many fragments")


def _only_text(data: bytes, max_bytes: int) -> Text | None:
    """Return the text of bytes that are exactly one valid frame with a whole message of less than 64 KB; else None."""
    if len(data) < _SHORTEST or data[0] != _WHOLE_TEXT or not _MASKED <= data[1] <= _MASKED + _TWO_BYTES:
        return None
    size, start = data[1] - _MASKED, 2
    if size == _TWO_BYTES:
        size, start = int.from_bytes(data[2:4], "big"), 4
        if size < _TWO_BYTES:  # one byte would have been enough
            return None
    payload = start + _MASK
    if len(data) != payload + size or size > max_bytes:
        return None
    try:
        return Text(_unmask(data[start:payload], data[payload:]).decode())
    except UnicodeDecodeError:
        return None


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def _disconnect(error: ParseFailed) -> Disconnect:
    if error.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
        return NotUtf8()
    return BrokenFraming()  # without the library's text, which may change with its version
