"""Connections to Redis for the hot paths.

redis-py opens them (URL, TLS, authentication). Commands and replies are packed and parsed by hiredis alone, in bulk: a
command through redis-py's client costs about 110 us under gevent, and its pub/sub reader takes ten times as long.
"""

import mmap
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import hiredis
import redis

from notifier.broker.redis_errors import unavailable

_READ = 262144  # bytes per read: a burst of publications is one read
_UNREADABLE = (hiredis.ProtocolError, TypeError, ValueError)  # of a reply, such as a map with a list as key
_IDLE = 1.0  # seconds after which Redis may have closed the connection, for example by its `timeout`


def pack(*words: str | bytes | float) -> bytes:
    """Return a command as it is sent."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return packed


class RedisConnection:
    """One connection. `timeout` is in seconds; a connection that `listens` has none once it is open.

    `greet` is called with each new connection before anything else uses it.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        greet: Callable[["RedisConnection"], object] | None = None,
        *,
        listens: bool = False,
    ) -> None:
        pool = redis.ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            client_name="notifier",
        )
        self._connection: Any = pool.make_connection()
        self._greet = greet
        self._listens = listens
        self._socket: Any = None
        self._used_at = 0.0  # monotonic seconds
        self._reader = hiredis.Reader()
        # In pages of its own. A large object for each read would be taken from the heap, and what is kept of the read
        # would be placed behind it: freed objects would leave holes there that are too small for the next reads.
        self._received = mmap.mmap(-1, _READ, mmap.MAP_PRIVATE)

    def connect(self) -> None:
        """Open the connection, if it is not open.

        Raises:
            BrokerUnavailable: Redis cannot be reached.
        """
        if self._socket is not None:
            return
        try:
            self._connection.connect()
        except (redis.RedisError, OSError) as error:
            raise unavailable(error) from error
        # redis-py has no public way to the socket that it opened.
        self._socket = self._connection._sock
        if self._listens:
            self._socket.settimeout(None)
        self._reader = hiredis.Reader(replyError=redis.ResponseError)
        if self._greet:
            self._greet(self)

    def send(self, commands: Iterable[bytes]) -> None:
        """Write packed commands.

        Raises:
            BrokerUnavailable: the connection was lost; it is closed now.
        """
        try:
            self._socket.sendall(b"".join(commands))
        except (OSError, AttributeError) as error:
            self.close()
            raise unavailable(error) from error

    def receive(self) -> list[Any]:
        """Wait for replies, and return all that have arrived, in order. An error of Redis is a reply.

        Raises:
            BrokerUnavailable: the connection was lost or the timeout has passed; it is closed now.
        """
        while True:
            try:
                replies = list(self._parsed())
                if replies:
                    return replies
                size = self._socket.recv_into(self._received)
                if not size:
                    raise ConnectionError("the connection was closed by Redis")
                self._reader.feed(self._received, 0, size)  # type: ignore[arg-type]
            except (OSError, AttributeError, *_UNREADABLE) as error:
                self.close()
                raise unavailable(error) from error

    def exchange(self, commands: list[bytes]) -> list[Any]:
        """Write packed commands and return one reply for each.

        Raises:
            BrokerUnavailable: some or all of the commands may not have been executed.
        """
        if time.monotonic() - self._used_at > _IDLE and self._was_closed():
            self.close()  # and not after the commands were sent: then nobody would know which were executed
        self.connect()
        self.send(commands)
        replies: list[Any] = []
        while len(replies) < len(commands):
            replies += self.receive()
        self._used_at = time.monotonic()
        return replies

    def close(self) -> None:
        """Close the connection. Calls that wait for it raise `BrokerUnavailable`."""
        self._socket = None
        self._connection.disconnect()

    def _was_closed(self) -> bool:
        """Return whether Redis has closed an idle connection."""
        if self._socket is None:
            return False
        with socket.socket(fileno=os.dup(self._socket.fileno())) as peek:
            peek.settimeout(0)
            try:
                return not peek.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except OSError:
                return True

    def _parsed(self) -> Iterator[Any]:
        while (reply := self._reader.gets()) is not False:
            yield reply
