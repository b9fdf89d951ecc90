"""A TCP proxy that misbehaves when it is told to: it stands before the service, and between the service and Valkey."""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]

_READ = 65536


class Link:
    """One connection through the proxy. While `flows` is cleared it is open and carries nothing; `is_dead`: ever."""

    def __init__(self, near: Streams) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self.is_subscriber = False
        self.is_dead = False
        self.carried, self.most = 0, math.inf  # bytes to the far side: how many, and after how many it dies
        self.swallow = 0  # published entries that the subscriber is still not to hear
        self.near = near
        self.far: Streams | None = None

    def die(self) -> None:
        """Carry nothing any more, and tell nobody."""
        self.is_dead = True
        self.flows.clear()

    def die_after(self, size: int) -> None:
        """Die in the middle of what the near side writes, once so many more bytes were carried."""
        self.most = self.carried + size

    def cut(self) -> None:
        """Abort both sides without goodbye."""
        for streams in (self.near, self.far):
            if streams:
                streams[1].transport.abort()

    def half_close(self) -> None:
        """End the near side's direction only; the far side may still write."""
        with contextlib.suppress(OSError, RuntimeError):
            if self.far:
                self.far[1].write_eof()


class Proxy:
    """Listens on a port of 127.0.0.1 and carries each connection to what `dial` opens.

    `delay` is the longest pause in seconds before each piece goes on, `piece` the most bytes of one. While
    `refuses`, a new connection is accepted and dropped; while `ignores`, it is accepted and carries nothing, ever. So
    it goes with `deafens` as soon as a connection subscribes.
    """

    def __init__(self, dial: Dial, rng: random.Random) -> None:
        self.links: set[Link] = set()
        self.delay = 0.0
        self.piece = _READ
        self.refuses = False
        self.ignores = False
        self.deafens = False
        self.port = 0
        self._dial = dial
        self._random = rng
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End, with every connection."""
        if self._server:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def heal(self) -> None:
        """Carry everything again. What a link held back goes on: TCP loses nothing in the middle of a stream."""
        self.delay, self.piece, self.refuses, self.ignores, self.deafens = 0.0, _READ, False, False, False
        for link in self.links:
            if not link.is_dead:
                link.flows.set()

    def subscribers(self) -> list[Link]:
        """Return the links on which a worker hears what is published."""
        return [link for link in self.links if link.is_subscriber and not link.is_dead]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        link = Link((reader, writer))
        self.links.add(link)
        try:
            if self.refuses:
                return
            if self.ignores:
                link.die()
            link.far = await self._dial()
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(link, link.near[0], link.far[1], self._watch))
                pumps.create_task(self._pump(link, link.far[0], link.near[1], _swallow))
        except* (OSError, RuntimeError):
            pass  # one side has gone: so goes the other
        except* asyncio.CancelledError:
            pass
        finally:
            link.cut()
            self.links.discard(link)
            self._tasks.discard(task)

    async def _pump(
        self,
        link: Link,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        look: Callable[[Link, bytes], tuple[bytes, bytes]],
    ) -> None:
        """Carry one direction, through a look at the bytes that returns those to pass and those to keep for later."""
        kept = b""
        while data := await source.read(self.piece):
            if self.delay:
                await asyncio.sleep(self._random.uniform(0, self.delay))
            await link.flows.wait()
            data, kept = look(link, kept + data)
            sink.write(data)
            await sink.drain()
        await link.flows.wait()
        if sink.can_write_eof():
            sink.write_eof()

    def _watch(self, link: Link, data: bytes) -> tuple[bytes, bytes]:
        link.is_subscriber = link.is_subscriber or b"SSUBSCRIBE" in data
        if link.is_subscriber and self.deafens:
            link.die()
        link.carried += len(data)
        if link.carried > link.most:
            link.die()
            data = data[: int(link.most) - link.carried]
        return data, b""


def _swallow(link: Link, data: bytes) -> tuple[bytes, bytes]:
    """Pass whole replies to a subscriber, less the published entries that it is not to hear."""
    if not link.is_subscriber:
        return data, b""
    passed, start = [], 0
    while (end := _end_of_reply(data, start)) is not None:
        reply = data[start:end]
        if link.swallow and b"\r\nsmessage\r\n" in reply[:32] and b"{nodes}" not in reply[:64]:
            link.swallow -= 1
        else:
            passed.append(reply)
        start = end
    return b"".join(passed), data[start:]


def _end_of_reply(data: bytes, start: int) -> int | None:
    """Return where a reply in RESP2 ends, or None if it is not there as a whole."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, end = data[start : start + 1], line + 2
    if kind == b"$":
        size = int(data[start + 1 : line])
        end += size + 2 if size >= 0 else 0
        return end if end <= len(data) else None
    if kind != b"*":
        return end
    for _ in range(int(data[start + 1 : line])):
        following = _end_of_reply(data, end)
        if following is None:
            return None
        end = following
    return end
