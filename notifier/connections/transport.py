"""Transports: sockets that were taken over from gunicorn, on gevent's event loop.

`delivery/encoding.py` makes the bytes of notifications; a transport writes them.

A transport owns a non-blocking descriptor and one watcher. While nothing happens it has no greenlet, no buffer and no
parser. All of its methods return at once and may be called from the loop's own callbacks, which must never wait.
"""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import gevent

from notifier.connections.states import TRANSPORT, TransportState, TransportTrigger, next_state

_READ_BYTES = 32768
_READ, _WRITE = 1, 2  # events of libev
_OPEN, _BLOCKED, _FINISHING = TransportState.OPEN, TransportState.BLOCKED, TransportState.FINISHING
_HALF_CLOSED, _CLOSED = TransportState.HALF_CLOSED, TransportState.CLOSED


class Owner(Protocol):
    """The callbacks of a transport. The loop runs them: they must neither wait nor raise."""

    def on_bytes(self, data: bytes) -> None:
        """Take bytes of the peer."""

    def on_drained(self) -> None:
        """Note that the backlog is written."""

    def on_end(self) -> None:
        """Note that the peer has gone; the transport is closed."""


class Transport:
    """One socket. `limit` is how many bytes may wait for the peer to read; they are the backlog."""

    __slots__ = ("_backlog", "_fd", "_limit", "_owner", "_reader", "_waiting", "_writer", "blocked_since", "state")

    def __init__(self, fd: int, limit: int) -> None:
        self.state = _OPEN
        self._fd = fd
        self._limit = limit
        self._owner: Owner | None = None
        self._reader: Any = gevent.get_hub().loop.io(fd, _READ)
        self._writer: Any = None  # while there is a backlog
        self._backlog: deque[bytes | memoryview] | None = None  # while something waits
        self._waiting = 0  # bytes
        self.blocked_since = 0.0  # Unix seconds, while something waits; the last progress of the peer

    @property
    def is_open(self) -> bool:
        """Whether the descriptor is still open."""
        return self.state is not _CLOSED

    @property
    def is_blocked(self) -> bool:
        """Whether something waits for the peer to read."""
        return self.state is _BLOCKED or self.state is _FINISHING

    def start(self, owner: Owner, early: bytes) -> None:
        """Begin to read. `early` are bytes that came with the handshake.

        Raises:
            RuntimeError: the transport was started before, or is closed.
        """
        if self._owner is not None or not self.is_open:
            raise RuntimeError("A transport is started once, while it is open.")
        self._owner = owner
        self._reader.start(self._readable)
        if early:
            call_soon(self._early, early)

    def write(self, data: bytes) -> bool:
        """Write `data`, or add to the backlog what the kernel does not take.

        Returns False if the limit is reached: then nothing of `data` was taken. Only what the kernel has begun to take
        may exceed the limit. After `finish`, and after the peer has gone, `data` is dropped and the answer is True: the
        owner knows, or is about to be notified.
        """
        if self.state is not _OPEN:
            return self._queue(data)
        try:
            taken = os.write(self._fd, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._move(TransportTrigger.BREAK)
            call_soon(self._end)
            return True
        if taken == len(data):
            return True
        is_refused = not taken and len(data) > self._limit
        # A view, because all connections that are sent the same share its bytes.
        self._block(b"" if is_refused else memoryview(data)[taken:])
        return not is_refused

    def finish(self) -> None:
        """End the writing side once the backlog is written; the peer then closes, or the owner aborts."""
        if self._move(TransportTrigger.FINISH) and self.state is _HALF_CLOSED:
            self._half_close()

    def pause(self) -> None:
        """Stop reading: the peer has to wait."""
        if self.is_open:
            self._reader.stop()

    def resume(self) -> None:
        """Read again."""
        if self.is_open:
            self._reader.start(self._readable)

    def abort(self) -> None:
        """Close at once. The owner is not called any more."""
        if not self._move(TransportTrigger.ABORT):
            return
        self._owner = None
        self._reader.stop()
        self._reader.close()
        self._reader = None
        self._unblock()
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _move(self, trigger: TransportTrigger) -> bool:
        """Change the state; return whether the trigger counts in the present one."""
        before, self.state = self.state, next_state(TRANSPORT, self.state, trigger)
        return self.state is not before

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

    def _queue(self, data: bytes) -> bool:
        if self.state is not _BLOCKED:
            return True
        assert self._backlog is not None
        if self._waiting + len(data) > self._limit:
            return False
        self._backlog.append(data)
        self._waiting += len(data)
        return True

    def _block(self, data: bytes | memoryview) -> None:
        self._move(TransportTrigger.BLOCK)
        self._backlog = deque((data,))
        self._waiting = len(data)
        self.blocked_since = time.time()
        self._writer = gevent.get_hub().loop.io(self._fd, _WRITE)
        self._writer.start(self._writable)

    def _unblock(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
        self._writer = self._backlog = None
        self._waiting = 0
        self.blocked_since = 0.0

    def _writable(self) -> None:
        backlog = self._backlog
        while backlog:
            try:
                taken = os.write(self._fd, backlog[0])
            except BlockingIOError:
                return
            except OSError:
                self._end()
                return
            self._waiting -= taken
            self.blocked_since = time.time()  # the peer reads: it is slow, but alive
            if taken < len(backlog[0]):
                backlog[0] = memoryview(backlog[0])[taken:]
                return
            backlog.popleft()
        self._drained()

    def _drained(self) -> None:
        self._unblock()
        self._move(TransportTrigger.DRAIN)
        if self.state is _HALF_CLOSED:
            self._half_close()
        elif self._owner:
            self._owner.on_drained()

    def _half_close(self) -> None:
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

    With `patience`, a peer counts as gone if it does not confirm for so many seconds what was sent: for protocols in
    which the peer sends nothing.
    """
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * patience))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    return Transport(sock.detach(), limit)


def call_soon(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function from the loop, after what runs now."""
    gevent.get_hub().loop.run_callback(function, *arguments)


def after_io(function: Callable[[], None]) -> None:
    """Call a function from the loop once it has looked at all sockets.

    Functions of `call_soon` may run for five milliseconds before gevent looks at any socket.
    """
    gevent.get_hub().loop.timer(0).start(function)
