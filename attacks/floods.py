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


def _many(frame: bytes) -> bytes:
    """Return so many copies of a frame that sending costs the attacker little."""
    return frame * max(32_768 // len(frame), 1)


def _json(**members: object) -> bytes:
    return _many(raw.frame(raw.TEXT, json.dumps(members).encode()))


_ACTION = raw.frame(raw.TEXT, json.dumps({"type": "read", "ids": IDS}).encode())
_BEYOND = bytes((0x81, 0xFF)) + (1 << 62).to_bytes(8, "big") + b"\0\0\0\0"  # a length that nobody has
_LETTER = "\u0101".encode()

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
        _many(raw.frame(raw.CONTINUATION, _LETTER, fin=False)),
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
]
