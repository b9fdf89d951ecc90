"""Floods: bytes that a client sends again and again on a WebSocket, and how the service may close it."""

import json
from typing import NamedTuple

from tests.kit import raw

IDS = [f"01a1fd1d-8160-7ed9-9413-{number:012x}" for number in range(1000)]
LIMITED = (4002, 4004, 4005)  # too slow, overloaded, and more than a user may use


class Flood(NamedTuple):
    """A flood: `first` once, then `chunk` again and again; whole frames, many of them in a chunk.

    `codes` are the close codes by which the service may end it; None: it stays open, slowed down. A flood that
    `is_stranger` sends no hello. One that does not `read` leaves the answers in its socket.
    """

    name: str
    chunk: bytes
    codes: tuple[int | None, ...]
    is_stranger: bool = True
    reads: bool = True
    first: bytes = b""
    path: str = "/v1/stream"


def _many(frame: bytes) -> bytes:
    """Return so many copies of a frame that sending costs the attacker little."""
    return frame * max(32_768 // len(frame), 1)


def _json(**members: object) -> bytes:
    return _many(raw.frame(raw.TEXT, json.dumps(members).encode()))


_ACTION = raw.frame(raw.TEXT, json.dumps({"type": "read", "ids": IDS}).encode())
_BEYOND = bytes((0x81, 0xFF)) + (1 << 62).to_bytes(8, "big") + b"\0\0\0\0"  # a length that nobody has
_LETTER = "\u0101".encode()

_FRAGMENTS = _many(raw.frame(raw.CONTINUATION, _LETTER, fin=False))
_NEW_TOPICS = b"".join(
    raw.frame(raw.TEXT, json.dumps({"type": type, "topic": f"new-{number}"}).encode())
    for number in range(300)
    for type in ("subscribe", "unsubscribe")
)

_CONTROL = (4500, 1002, 1008)

FRAMES = [
    Flood("pings", _many(raw.frame(raw.PING)), _CONTROL),
    Flood("long pings", _many(raw.frame(raw.PING, b"x" * 125)), _CONTROL),
    Flood("pongs", _many(raw.frame(raw.PONG)), _CONTROL),
    Flood("empty texts", _many(raw.frame(raw.TEXT)), (4500,)),
    Flood("empty binaries", _many(raw.frame(raw.BINARY)), (4500,)),
    Flood("continuations", _many(raw.frame(raw.CONTINUATION)), (1002,)),
    Flood(
        "fragments",
        _FRAGMENTS,
        (1009,),
        first=raw.frame(raw.TEXT, _LETTER, fin=False),
    ),
    Flood(
        "fragments and pings",
        _many(raw.frame(raw.CONTINUATION, b"", fin=False) + raw.frame(raw.PING)),
        (1009, *_CONTROL),
        first=raw.frame(raw.TEXT, b"", fin=False),
    ),
    Flood("close frames", _many(raw.close(1000)), (1000,)),
    Flood("unmasked frames", _many(raw.frame(raw.PING, masked=False)), (1002,)),
    Flood("reserved bits", _many(raw.frame(raw.TEXT, b"x", rsv=4)), (1002,)),
    Flood("a frame without end", b"x" * 32_768, (1009, 1002), first=_BEYOND),
    Flood("a text without end", b"x" * 32_768, (1009,), first=raw.frame(raw.TEXT, b"x" * 70_000)),
]

USERS = [
    Flood("pings of a user", _many(raw.frame(raw.PING)), (None, *LIMITED), is_stranger=False),
    Flood("pings of a user who does not read", _many(raw.frame(raw.PING)), (None, *LIMITED), False, reads=False),
    Flood("empty texts of a user", _many(raw.frame(raw.TEXT)), (4500, *LIMITED), is_stranger=False),
    Flood("frames that are answered by an error", _json(type="x"), (None, *LIMITED), is_stranger=False),
    Flood("the same, answers not read", _json(type="x"), (None, *LIMITED), False, reads=False),
    Flood("actions with 1,000 ids", _ACTION, (None, *LIMITED), is_stranger=False),
    Flood("actions with 1,000 ids, not read", _ACTION, (None, *LIMITED), False, reads=False),
    Flood("actions with one id", _json(type="read", ids=IDS[:1]), (None, *LIMITED), is_stranger=False),
    Flood("acks", _json(type="ack", cursor="1-0"), (None, *LIMITED), is_stranger=False),
    Flood("subscriptions", _json(type="subscribe", topic="room"), (None, *LIMITED), is_stranger=False),
    Flood("subscriptions and their end", _json(type="unsubscribe", topic="x"), (None, *LIMITED), is_stranger=False),
    Flood(
        "publications",
        _json(type="publish", topic="room", notification={"title": "x"}),
        (None, *LIMITED),
        is_stranger=False,
    ),
    Flood("tokens", _json(type="auth", token="x" * 40_000), (None, *LIMITED), is_stranger=False),
    Flood(
        "subscriptions from the beginning", _json(type="subscribe", topic="room", since="0-0"), (None, *LIMITED), False
    ),
    Flood("new topics", _NEW_TOPICS, (None, *LIMITED), is_stranger=False),
    Flood(
        "long publications",
        _json(type="publish", topic="room", notification={"title": "x", "data": "x" * 60_000}),
        (None, *LIMITED),
        is_stranger=False,
    ),
    Flood("pongs of a user", _many(raw.frame(raw.PONG)), (None, *LIMITED), is_stranger=False),
    Flood("empty binaries of a user", _many(raw.frame(raw.BINARY)), (4500, *LIMITED), is_stranger=False),
    Flood("continuations of a user", _many(raw.frame(raw.CONTINUATION)), (1002, *LIMITED), is_stranger=False),
    Flood("fragments of a user", _FRAGMENTS, (1009, *LIMITED), False, first=raw.frame(raw.TEXT, _LETTER, fin=False)),
    Flood("close frames of a user", _many(raw.close(1000)), (1000, *LIMITED), is_stranger=False),
    Flood("unmasked frames of a user", _many(raw.frame(raw.PING, masked=False)), (1002, *LIMITED), is_stranger=False),
]

ECHOES = [
    Flood("echoes of pings", _many(raw.frame(raw.PING)), (None, *_CONTROL, *LIMITED), path="/v1/echo"),
    Flood("echoes of texts", _many(raw.frame(raw.TEXT, b"x")), (None, *LIMITED), path="/v1/echo"),
    Flood("echoes of long texts", _many(raw.frame(raw.TEXT, b"x" * 60_000)), (None, *LIMITED), path="/v1/echo"),
    Flood("echoes, not read", _many(raw.frame(raw.TEXT, b"x" * 9000)), (None, *LIMITED), reads=False, path="/v1/echo"),
    Flood("echoes of fragments", _FRAGMENTS, (1009,), first=raw.frame(raw.TEXT, _LETTER, fin=False), path="/v1/echo"),
    Flood("echoes of unmasked frames", _many(raw.frame(raw.PING, masked=False)), (1002,), path="/v1/echo"),
]
