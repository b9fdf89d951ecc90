"""Clients: a correct implementation of docs/protocol.md in Python, whose network and presence can fail."""

import asyncio
import contextlib
import itertools
import json
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from chaos.cursors import Cursor, cursor_of
from chaos.witness import Journal, Witness

_ANSWER_WITHIN = 6.0  # seconds: longer than the attach timeout of the service in these runs
_LONGEST_PAUSE = 1.0  # seconds between two attempts; browsers wait longer
_REMEMBERED = 10_000  # ids, as in the browser's library
_STAY_AWAY = (1002, 1007, 1009)
_TOKEN_REFUSED, _OVERLOADED = 4001, (4004, 4005)

Token = Callable[[], str]


class Client(Witness):
    """One client. With a small `receive_buffer` (bytes), the service soon notices that it reads slowly."""

    def __init__(
        self,
        name: str,
        user: str,
        topics: list[str],
        journal: Journal,
        *,
        port: int,
        token: Token,
        rng: random.Random,
        receive_buffer: int = 0,
    ) -> None:
        super().__init__(name, user, topics, journal)
        self.port = port
        self.receive_buffer = receive_buffer
        self.reads = asyncio.Event()
        self.reads.set()
        self.present = asyncio.Event()
        self.present.set()
        self._token_source = token
        self._token = ""
        self._random = rng
        self._cursor: str | None = None
        self._seen: dict[str, None] = {}
        self._joined: dict[str, str | None] = dict.fromkeys(topics)  # topic -> since when it is being replayed
        self._asked: dict[str, str] = {}  # ref -> topic
        self._acts: dict[str, asyncio.Future[dict[str, Any]]] = {}  # by ref
        self._refs = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._silence = _ANSWER_WITHIN
        self._failures = 0
        self._leaves_after = 0
        self._come_back_in: float | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and reconnect whenever the connection ends."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Close the connection permanently."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def cut(self) -> None:
        """Drop the socket without a closing handshake."""
        if self._socket:
            self.note("drops its socket")
            self._socket.transport.abort()

    def leave_after(self, count: int) -> None:
        """Drop the socket after so many more notifications, and stay offline until `come_back`."""
        self._leaves_after = count

    async def leave(self) -> None:
        """Close the connection, and stay offline until `come_back`."""
        self.note("goes offline")
        self.present.clear()
        if self._socket:
            await self._socket.close()

    def come_back(self) -> None:
        """Connect again."""
        self._leaves_after = 0
        self.present.set()

    async def wander(self, topics: list[str], pause: float) -> None:
        """Unsubscribe from topics that are not being replayed; after a while subscribe again from that cursor."""
        topics = [topic for topic in topics if self._joined.get(topic, "") is None]
        since = self._cursor
        if since is None:
            return
        self.wanders = True
        self.note(f"unsubscribes from {', '.join(topics)} at {since}")
        for topic in topics:
            del self._joined[topic]
        for topic in topics:
            await self._try_to_say(type="unsubscribe", topic=topic)
        await asyncio.sleep(pause)
        self.note(f"subscribes to {', '.join(topics)} since {since}")
        for topic in topics:
            self._joined[topic] = since
            if self.is_connected:
                await self._subscribe(topic)

    @property
    def is_replaying(self) -> bool:
        """Whether a topic is still being replayed."""
        return any(self._joined.values())

    async def act(self, action: str, target: dict[str, object]) -> dict[str, Any]:
        """Carry out an inbox action, and return the answer.

        Raises:
            ConnectionError, TimeoutError: it is unknown whether the action was carried out.
        """
        ref = str(next(self._refs))
        answer = self._acts[ref] = asyncio.get_running_loop().create_future()
        try:
            if not self._socket:
                raise ConnectionError("not connected")
            await self._try_to_say(type=action, ref=ref, **target)
            async with asyncio.timeout(_ANSWER_WITHIN):
                return await answer
        finally:
            answer.cancel()  # it stays in the dict, so that a late answer is recognised

    async def _run(self) -> None:
        while True:
            await self.present.wait()
            self._come_back_in = None
            code = await self._connect()
            if code == _TOKEN_REFUSED:
                self._token = ""
            if code in _OVERLOADED:
                self._failures = max(self._failures, 2)
            if code in _STAY_AWAY or 4500 <= code <= 4999:
                self.complain(f"closed permanently with {code}")
            longest = min(_LONGEST_PAUSE, 0.05 * 2**self._failures)
            self._failures += 1
            await asyncio.sleep(self._random.uniform(0, longest) if self._come_back_in is None else self._come_back_in)

    async def _connect(self) -> int:
        """Run one connection, and return the code with which it ended."""
        self._silence, self._asked = _ANSWER_WITHIN, {}
        code, reason = 1006, ""
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                self._socket = await self._open()
            await self._listen(self._socket)
        except ConnectionClosed as closed:
            if closed.rcvd:
                code, reason = closed.rcvd.code, closed.rcvd.reason
        except TimeoutError:
            code, reason = 4000, "silence"
        except (OSError, InvalidHandshake, InvalidMessage, EOFError) as error:
            reason = type(error).__name__
        finally:
            if self._socket:
                self._socket.transport.abort()
            self._socket, was_connected = None, self.is_connected
            for answer in self._acts.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(f"closed with {code}"))
            self._acts.clear()
            self.is_connected = False
        if was_connected or code != 1006:
            self.note(f"closed with {code} {reason}, at cursor {self._cursor}")
        return code

    async def _open(self) -> ClientConnection:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            if self.receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            return await connect(
                f"ws://127.0.0.1:{self.port}/v1/stream",
                sock=sock,
                proxy=None,
                compression=None,
                ping_interval=None,
                open_timeout=_ANSWER_WITHIN,
                close_timeout=0.5,
                max_queue=4,
            )
        except BaseException:
            sock.close()
            raise

    async def _listen(self, socket: ClientConnection) -> None:
        named = [topic for topic, since in self._joined.items() if since is None]
        self._token = self._token or self._token_source()
        self.opened = time.monotonic()
        await self._say(type="hello", token=self._token, since=self._cursor, topics=named)
        while True:
            await self.reads.wait()
            async with asyncio.timeout(self._silence):
                text = await socket.recv()
            await self._receive(json.loads(text), named)

    async def _receive(self, frame: dict[str, Any], named: list[str]) -> None:
        act = self._acts.pop(frame.get("ref", ""), None)
        if act:
            if not act.done():
                act.set_result(frame)
            return
        match frame["type"]:
            case "welcome":
                self.received_state(frame)
                await self._welcome(frame, named)
            case "notification":
                self._deliver(frame)
            case "lost":
                self.received_lost(frame["channels"], self._cursor)
            case "ok":
                topic = self._asked.pop(frame.get("ref", ""), None)
                if topic in self._joined:
                    self._joined[topic] = None
                    self.pasts.complete(topic, time.monotonic())
                    self.note(f"is subscribed to {topic} again")
            case "error":
                self.complain(f"error: {frame['problem']}")
            case "state":
                self.received_state(frame)
            case "expiring":
                self._token = self._token_source()
                await self._say(type="auth", token=self._token)
            case "ping":
                self._reach(frame.get("cursor"))
            case "drain":
                self._come_back_in = frame["retry_after_ms"] / 1000

    async def _welcome(self, frame: dict[str, Any], named: list[str]) -> None:
        self.note(f"welcome {frame['connection']} since {self._cursor}, at {frame['cursor']}")
        self._cursor = self._cursor or frame["cursor"]
        self._silence, self._failures = 2 * frame["heartbeat"], 0
        self.welcomed(frame["cursor"], frame["topics"])
        if frame["lost"]:
            self.received_lost(frame["lost"], self._cursor)
        for topic in list(self._joined):
            if topic not in named or self._joined[topic]:
                await self._subscribe(topic)
        for topic in named:
            if topic not in self._joined:
                await self._say(type="unsubscribe", topic=topic)

    def _deliver(self, frame: dict[str, Any]) -> None:
        channel, cursor, notification = frame["channel"], frame["cursor"], frame["notification"]
        # As in the browser library: while a topic is replayed, its entries do not move the cursor; its `ok` ends that.
        is_replayed = channel.startswith("topic:") and self._joined.get(channel[6:])
        if not is_replayed:
            self._reach(cursor)
        if notification["id"] in self._seen:
            self.replayed += frame.get("replay", False)
            return
        self._seen[notification["id"]] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self.called(channel, cursor, notification, frame.get("replay", False))
        if self._leaves_after:
            self._leaves_after -= 1
            if not self._leaves_after:
                self.present.clear()
                self.cut()

    def _reach(self, cursor: str | None) -> None:
        if _number(cursor) > _number(self._cursor):
            self._cursor = cursor

    async def _subscribe(self, topic: str) -> None:
        ref, since = str(next(self._refs)), self._joined[topic]
        self._asked[ref] = topic
        if since:
            self.pasts.ask(topic, cursor_of(since), time.monotonic())
        await self._try_to_say(type="subscribe", ref=ref, topic=topic, **({"since": since} if since else {}))

    async def _try_to_say(self, **frame: object) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._say(**frame)

    async def _say(self, **frame: object) -> None:
        if self._socket:
            await self._socket.send(json.dumps(frame))


def _number(cursor: str | None) -> Cursor:
    return cursor_of(cursor or "0-0")
