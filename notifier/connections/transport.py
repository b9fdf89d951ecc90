"""Transports: handed-off sockets on gevent's event loop.

A transport owns a non-blocking descriptor and one watcher. At rest it has no greenlet, no buffer and no parser. All
of its methods return at once and may be called from the loop's own callbacks, which must never wait.
"""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import gevent

_READ_BYTES = 32768
_READ, _WRITE = 1, 2  # events of libev


class Owner(Protocol):
    """Who is told what happens on a transport. Called from the loop: must neither wait nor raise."""

    def on_bytes(self, data: bytes) -> None:
        """Take bytes of the peer."""

    def on_drained(self) -> None:
        """Note that everything written has gone out, after some of it had to wait."""

    def on_end(self) -> None:
        """Note that the peer has gone; the transport is closed."""


class Transport:
    """One socket. `limit` is how many bytes may wait for the peer to read."""

    __slots__ = ("_backlog", "_fd", "_finished", "_limit", "_owner", "_reader", "_waiting", "_writer", "blocked_since")

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._owner: Owner | None = None
        self._reader: Any = gevent.get_hub().loop.io(fd, _READ)
        self._writer: Any = None
        self._backlog: deque[bytes] | None = None  # None: nothing waits, and `write` may go straight to the kernel
        self._finished = False
        self._waiting = 0  # bytes
        self.blocked_since = 0.0  # Unix seconds; 0: nothing waits

    @property
    def is_open(self) -> bool:
        """Whether the descriptor is still open."""
        return self._fd >= 0

    def start(self, owner: Owner, early: bytes) -> None:
        """Begin to read. `early` are bytes that came with the handshake."""
        self._owner = owner
        self._reader.start(self._readable)
        if early:
            call_soon(self._early, early)

    def write(self, data: bytes) -> bool:
        """Write, or keep what the kernel does not take. False: the limit is reached and nothing of `data` was kept.

        After `finish`, and after the peer has gone, it writes nothing: its owner knows or is about to be told.
        """
        if self._backlog is not None:
            return self._queue(self._backlog, data)
        try:
            taken = os.write(self._fd, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            call_soon(self._end)
            return True
        if taken < len(data):
            self._keep(data[taken:])
        return True

    def finish(self) -> None:
        """End the writing side as soon as nothing waits; the peer then closes, or its owner aborts."""
        self._finished = True
        if self._backlog is None:
            self._backlog = deque()
            self._half_close()

    def pause(self) -> None:
        """Read no more for now: the peer has to wait."""
        if self._reader is not None:
            self._reader.stop()

    def resume(self) -> None:
        """Read again."""
        if self._reader is not None:
            self._reader.start(self._readable)

    def abort(self) -> None:
        """Close at once. Nothing is called back any more."""
        if self._fd < 0:
            return
        self._owner = None
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._writer = None
        self._backlog = deque()
        self._finished = True
        self.blocked_since = 0.0
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return  # a spurious wake-up
        except OSError:
            data = b""
        if not data:
            self._end()
        elif self._owner:
            self._owner.on_bytes(data)

    def _early(self, data: bytes) -> None:
        if self._owner:
            self._owner.on_bytes(data)

    def _queue(self, backlog: deque[bytes], data: bytes) -> bool:
        if self._finished:
            return True
        if self._waiting + len(data) > self._limit:
            return False
        backlog.append(data)
        self._waiting += len(data)
        return True

    def _keep(self, data: bytes) -> None:
        self._backlog = deque((data,))
        self._waiting = len(data)
        self.blocked_since = time.time()
        self._writer = gevent.get_hub().loop.io(self._fd, _WRITE)
        self._writer.start(self._writable)

    def _writable(self) -> None:
        backlog = self._backlog
        assert backlog is not None
        while backlog:
            data = backlog[0]
            try:
                taken = os.write(self._fd, data)
            except BlockingIOError:
                return
            except OSError:
                self._end()
                return
            self._waiting -= taken
            self.blocked_since = time.time()  # the peer reads: it is slow, but alive
            if taken < len(data):
                backlog[0] = data[taken:]
                return
            backlog.popleft()
        self._writer.stop()
        self._writer.close()
        self._writer = None
        self.blocked_since = 0.0
        if self._finished:
            self._half_close()
            return
        self._backlog = None
        if self._owner:
            self._owner.on_drained()

    def _half_close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                borrowed = socket.socket(fileno=os.dup(self._fd))
                borrowed.shutdown(socket.SHUT_WR)
                borrowed.close()

    def _end(self) -> None:
        owner = self._owner
        self.abort()
        if owner:
            owner.on_end()


def take_over(sock: Any, send_buffer: int, limit: int, patience: float = 0) -> Transport:
    """Return a transport that owns the descriptor of a gevent socket; its former owner closes nothing any more.

    With `patience`, a peer that does not confirm for so many seconds what was sent counts as gone: for protocols in
    which it has nothing to say.
    """
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * patience))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    return Transport(sock.detach(), limit)


def call_soon(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function from the loop, after what runs now."""
    gevent.get_hub().loop.run_callback(function, *arguments)
