"""Users who attack: with valid tokens, they ask for what costs most. Each attack yields after every step."""

import contextlib
import itertools
import json
import socket
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import jwt

from attacks.target import Target, bearer
from tests.kit import raw
from tests.kit.raw import Peer
from tests.kit.service import JSON, NDJSON, TOKEN_SECRETS

_IDS = 199  # notifications: as many as a state frame lists, in 8 KB
_TABS, _STREAMS, _CONNECTIONS = 100, 60, 40
_DEAF_BUFFER = 4096  # bytes
RICH_PATHS = [
    "/v1/stream?wait=0",
    "/v1/inbox/counts",
    "/v1/inbox?status=unread&limit=100",
    "/v1/inbox?severity=critical",
]


def token_of(user: str, *topics: str) -> str:
    """Return the token of a user."""
    claims = {"sub": user, "exp": int(time.time()) + 3600, "topics": list(topics), "publish": list(topics)}
    return jwt.encode(claims, TOKEN_SECRETS[0], "HS256")


def publish(target: Target, lines: list[dict[str, Any]]) -> list[str]:
    """Publish with the API key, and return the ids."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    status, answer = target.ask("POST", "/v1/notifications", body, bearer(target.key) | {"Content-Type": NDJSON})
    assert status == 200, answer
    return [json.loads(line)["id"] for line in answer.splitlines()]


@contextlib.contextmanager
def stream(target: Target, number: int, token: str, topics: list[str], receive_buffer: int = 0) -> Iterator[Peer]:
    """Open a WebSocket, and yield it after its welcome."""
    hello, headers = raw.text(type="hello", topics=topics), bearer(token) | target.headers(number)
    with Peer(target.port, "/v1/stream", headers, behind=hello, receive_buffer=receive_buffer) as peer:
        if peer.status != 101:
            raise ConnectionRefusedError(peer.status)
        while peer.read_json()["type"] != "welcome":
            pass
        yield peer


def make_rich(target: Target, user: str, topics: int = 20) -> str:
    """Give a user long items, 100 in each of some topics, and one mute; return the token of the user."""
    token, key = token_of(user), bearer(target.key)
    for number in range(topics):
        status, answer = target.ask("PUT", f"/v1/topics/rich-{number}/members/{user}", headers=key)
        assert status == 204, answer
    for number in range(topics):
        publish(target, [{"to": {"topics": [f"rich-{number}"]}, "title": "x", "data": "x" * 2000}] * 100)
    mutes = json.dumps({"types": ["zzz"], "topics": []}).encode()
    status, answer = target.ask("PUT", "/v1/inbox/mutes", mutes, bearer(token) | {"Content-Type": JSON})
    assert status == 200, answer
    return token


def rich_requests(target: Target, number: int) -> Iterator[str]:
    """Read the inbox of the user `rich`, who has one mute, in every way; yield the statuses."""
    headers = bearer(token_of("rich")) | {"Accept": JSON}
    for path in itertools.cycle(RICH_PATHS):
        status, _ = target.ask("GET", path, headers=headers, number=number)
        yield str(status)


def reconnect_and_publish(target: Target, number: int) -> Iterator[str]:
    """Publish twenty times on each of ever new connections; yield the types of the answers."""
    note = {"type": "publish", "notification": {"title": "x"}}
    while True:
        with stream(target, number, target.token, []) as peer:
            frames = (raw.text(**note, topic=f"new-{number}-{time.monotonic_ns()}", ref=str(ref)) for ref in range(20))
            peer.send(b"".join(frames))
            for _ in range(20):
                answer = peer.read_json()
                yield "ok" if answer["type"] == "ok" else str(answer["problem"]["code"])


def topics_in_turn(target: Target, number: int) -> Iterator[str]:
    """Join ever new topics and leave them, on one connection; yield the types of the answers."""
    with stream(target, number, token_of("turns", "*"), []) as peer:
        for topic in itertools.count():
            for kind in ("subscribe", "unsubscribe"):
                peer.send(raw.text(type=kind, topic=f"turn-{number}-{topic}", ref="x"))
                while (answer := peer.read_json()).get("ref") != "x":
                    pass
                yield str(answer["type"])


def many_topics(target: Target, number: int) -> Iterator[str]:
    """Open connections with a hundred new topics each, and close them when there are some dozens."""
    for turn in itertools.count():
        topics = [f"own-{number}-{turn}-{topic}" for topic in range(100)]
        with contextlib.ExitStack() as stack:
            for _ in range(_CONNECTIONS):
                stack.enter_context(stream(target, number, token_of("many", "*"), topics))
                yield "welcome"


def unread_streams(target: Target, number: int) -> Iterator[str]:
    """Open streams of events and polls that read nothing, and publish to all of them."""
    head = "GET /v1/stream?topic=deaf{} HTTP/1.1\r\nHost: a\r\n<headers>Authorization: Bearer {}\r\nAccept: {}\r\n\r\n"
    line = {"to": {"topics": ["deaf"]}, "title": "x", "body": "x" * 3000}
    kinds = itertools.cycle((("", "text/event-stream"), ("&wait=20", JSON)))
    streams: deque[socket.socket] = deque()
    try:
        for wait, kind in kinds:
            streams.append(target.connect(number, _DEAF_BUFFER))
            streams[-1].sendall(target.filled(head.format(wait, token_of("deaf", "deaf"), kind).encode(), number))
            if len(streams) > _STREAMS:
                streams.popleft().close()
            publish(target, [line] * 16)
            yield "published"
    finally:
        for stream in streams:
            stream.close()


def brief_streams(target: Target, number: int) -> Iterator[str]:
    """Open streams of every kind, and close each when its answer begins; yield the statuses."""
    token = bearer(target.token) | target.headers(number)
    while True:
        with Peer(target.port, "/v1/stream", token, behind=raw.text(type="hello")) as peer:
            yield str(peer.status)
        for accept in ("text/event-stream", JSON):
            lines = "".join(f"{name}: {text}\r\n" for name, text in (token | {"Accept": accept}).items())
            with target.connect(number) as sock:
                sock.sendall(f"GET /v1/stream HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
                yield sock.recv(12)[9:].decode()


class UnreadTabs:
    """Tabs of one user that read nothing, while the user marks all items as read and unread, in turn."""

    def __init__(self, target: Target, user: str = "tabs") -> None:
        self._target = target
        self._token = token_of(user)
        self._kinds = itertools.cycle(("read", "unread"))
        self._stack = contextlib.ExitStack()
        self.ids = publish(target, [{"to": {"users": [user]}, "title": "x"}] * _IDS)
        self.tabs: list[Peer] = []

    def __enter__(self) -> Self:
        self.tabs += [
            self._stack.enter_context(stream(self._target, number, self._token, [], _DEAF_BUFFER))
            for number in range(_TABS)
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def act(self) -> dict[str, Any]:
        """Mark all items, and return the answer."""
        body = json.dumps({"ids": self.ids}).encode()
        headers = bearer(self._token) | {"Content-Type": JSON}
        _, answer = self._target.ask("POST", f"/v1/inbox/{next(self._kinds)}", body, headers)
        parsed: dict[str, Any] = json.loads(answer)
        return parsed


def unread_tabs(target: Target, number: int) -> Iterator[str]:
    """Act with `UnreadTabs`; yield whether the action was limited."""
    with UnreadTabs(target) as tabs:
        while True:
            yield str(tabs.act().get("code", "ok"))
