"""A WebSocket peer on a bare socket: it sends any bytes, and reads frames after RFC 6455 section 5.2."""

import http.client
import io
import json
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple, Self

from tests.kit import segments
from tests.kit.waiting import DEADLINE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HANDSHAKE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # the example of section 1.3
    "Sec-WebSocket-Version": "13",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # its answer
_MASK = b"\x37\xfa\x21\x3d"


class Frame(NamedTuple):
    """A WebSocket frame of the service."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0

    @property
    def close_code(self) -> int | None:
        """The code of a close frame, or None."""
        assert self.opcode == CLOSE, self
        return struct.unpack_from("!H", self.payload)[0] if self.payload else None


def handshake(start: str, headers: Mapping[str, str | None] | None = None) -> bytes:
    """Return a request to upgrade (section 4.1) with this first line; a header that is None is left out."""
    fields: dict[str, str | None] = {**HANDSHAKE, **(headers or {})}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([start, *lines, "\r\n"]).encode()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, width: int | None = None
) -> bytes:
    """Return the bytes of a frame. `width` is the size of the extended length in bytes: 0, 2 or 8."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    length = {0: size, 2: 126, 8: 127}[width] | (0x80 if masked else 0)
    head = bytes((fin << 7 | rsv << 4 | opcode, length)) + (size.to_bytes(width, "big") if width else b"")
    return head + _MASK + mask(payload) if masked else head + payload


def mask(payload: bytes) -> bytes:
    """Return a payload masked, or unmasked (section 5.3)."""
    key = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def fragments(opcode: int, *payloads: bytes) -> list[bytes]:
    """Return the frames of a fragmented message (section 5.4)."""
    last = len(payloads) - 1
    return [
        frame(opcode if index == 0 else CONTINUATION, payload, fin=index == last)
        for index, payload in enumerate(payloads)
    ]


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def text(**members: object) -> bytes:
    """Return a text message that is a JSON object."""
    return frame(TEXT, json.dumps(members).encode())


def frames_in(data: bytes) -> list[Frame]:
    """Return the frames of a service in bytes that end with a whole frame."""
    frames, rest = [], io.BytesIO(data)
    while rest.tell() < len(data):
        frames.append(read_frame(rest))
    return frames


def read_frame(file: BinaryIO) -> Frame:
    """Return the next frame of a service.

    Raises:
        EOFError: the service has closed.
    """
    first, second = _exactly(file, 2)
    assert not second & 0x80, "a service must not mask (section 5.1)"
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(_exactly(file, 2 if size == 126 else 8), "big")
    return Frame(first & 0x0F, _exactly(file, size), bool(first & 0x80), first >> 4 & 0x07)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError(f"The service closed; {size} bytes were wanted, {len(data)} came.")
    return data


def reset(sock: socket.socket) -> None:
    """Close a socket with a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Peer:
    """One connection after its handshake.

    `behind` is sent in the same segment as the end of the handshake, which has two segments with `split`.
    """

    def __init__(
        self,
        port: int,
        path: str = "/v1/echo",
        headers: Mapping[str, str] | None = None,
        *,
        behind: bytes = b"",
        receive_buffer: int = 0,
        split: bool = False,
    ) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(DEADLINE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.connect(("127.0.0.1", port))
        self._file = self._socket.makefile("rb")
        segments.send(self._socket, handshake(f"GET {path} HTTP/1.1", headers) + behind, split=split)
        self.status = int(self._file.readline().split()[1])
        self.headers = http.client.parse_headers(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *data: bytes) -> None:
        """Send bytes, each argument in a separate write."""
        for piece in data:
            self._socket.sendall(piece)

    def read(self) -> Frame:
        """Return the next frame.

        Raises:
            EOFError: the service has closed.
        """
        return read_frame(self._file)

    def read_json(self) -> dict[str, Any]:
        """Return the next text message. Pings before it are answered."""
        while (received := self.read()).opcode == PING:
            self.send(frame(PONG, received.payload))
        assert received.opcode == TEXT, received
        members: dict[str, Any] = json.loads(received.payload)
        return members

    def frames(self) -> Iterator[Frame]:
        """Yield frames until the service closes the connection."""
        while self._file.peek(1):
            yield self.read()

    def close_code(self) -> int | None:
        """Return the code of the close frame, which must be the last data before the end of TCP."""
        frames = list(self.frames())
        assert [frame.opcode for frame in frames] == [CLOSE], frames
        return frames[0].close_code

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._file.close()
        reset(self._socket)
