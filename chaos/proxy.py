"""A TCP proxy that misbehaves on request: between clients and service, and between service and Valkey."""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]

_READ = 65536


class Link:
    """One connection through the proxy. It passes nothing while `flows` is cleared, and nothing ever if `is_dead`."""

    def __init__(self, near: Streams) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self.is_subscriber = False
        self.is_dead = False
        self.carried, self.most = 0, math.inf  # bytes to the far side so far, and the number after which it dies
        self.swallow = 0  # number of published entries still to drop
        self.near = near
        self.far: Streams | None = None

    def die(self) -> None:
        """Pass nothing any more, without closing the connection."""
        self.is_dead = True
        self.flows.clear()

    def die_after(self, size: int) -> None:
        """Die in the middle of a write of the near side, after `size` more bytes."""
        self.most = self.carried + size

    def cut(self) -> None:
        """Abort both sides."""
        for streams in (self.near, self.far):
            if streams:
                streams[1].transport.abort()

    def half_close(self) -> None:
        """Close the near side's direction only; the far side can still write."""
        with contextlib.suppress(OSError, RuntimeError):
            if self.far:
                self.far[1].write_eof()


class Proxy:
    """Listens on a port of 127.0.0.1 and passes each connection to one that `dial` opens.

    `delay` is the longest pause before each piece in seconds, `piece` the greatest size of a piece in bytes. While
    `refuses`, new connections are accepted and dropped; while `ignores`, they are accepted and never pass anything.
    While `deafens`, connections that subscribe never pass anything from then on.
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
        """Start listening."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop, and close every connection."""
        if self._server:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def heal(self) -> None:
        """Pass everything again, first the bytes that were held back: TCP loses none in the middle of a stream."""
        self.delay, self.piece, self.refuses, self.ignores, self.deafens = 0.0, _READ, False, False, False
        for link in self.links:
            if not link.is_dead:
                link.flows.set()

    def subscribers(self) -> list[Link]:
        """Return the links of the workers' subscriber connections."""
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
            pass  # one side has closed, so the other is closed too
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
        """Pass one direction. `look` returns which bytes to pass now, and which to keep until more have arrived."""
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
    """Pass whole replies to a subscriber, without the published entries to be dropped."""
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
    """Return where a RESP2 reply ends, or None if it is incomplete."""
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
