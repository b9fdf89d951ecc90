"""Wires: connections to Redis for the hot paths.

redis-py opens them (URL, TLS, authentication); what goes over them is packed and parsed by hiredis alone, in bulk,
because a command through redis-py's client costs a hundred microseconds under gevent and its pub/sub reader ten times
what hiredis takes.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import hiredis
import redis

from notifier.errors import BrokerUnavailable

_READ = 262144  # bytes per read: a burst of publications comes in one go
_LONGEST_WRITE = 2000  # commands, about: what Redis carries out in a few dozen milliseconds
RETRY_AFTER = 2  # seconds, told to whoever met a broker out of reach


def pack(*words: str | bytes | float) -> bytes:
    """Return a command in the form in which it goes over the connection."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return packed


class RedisConnection:
    """One connection. `timeout` is in seconds; one that `listens` waits for ever, once it is open.

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
        self._reader = hiredis.Reader()

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
            BrokerUnavailable: the connection is gone; it is closed.
        """
        try:
            self._socket.sendall(b"".join(commands))
        except (OSError, AttributeError) as error:
            self.close()
            raise unavailable(error) from error

    def receive(self) -> list[Any]:
        """Wait for replies, and return all that have come, in order. An error of Redis is a reply.

        Raises:
            BrokerUnavailable: the connection is gone, or the timeout has passed; it is closed.
        """
        replies = list(self._parsed())
        while not replies:
            try:
                data = self._socket.recv(_READ)
                if not data:
                    raise ConnectionError("the connection was closed by Redis")
                self._reader.feed(data)
                replies = list(self._parsed())
            except (OSError, AttributeError, hiredis.ProtocolError) as error:
                self.close()
                raise unavailable(error) from error
        return replies

    def exchange(self, commands: list[bytes]) -> list[Any]:
        """Write packed commands and return one reply for each.

        Raises:
            BrokerUnavailable: some or all of them may not have been carried out.
        """
        self.connect()
        self.send(commands)
        replies: list[Any] = []
        while len(replies) < len(commands):
            replies += self.receive()
        return replies

    def close(self) -> None:
        """Close the connection; whoever waits for it meets `BrokerUnavailable`."""
        self._socket = None
        self._connection.disconnect()

    def _parsed(self) -> Iterator[Any]:
        while (reply := self._reader.gets()) is not False:
            yield reply


class Pipeline:
    """Lets many callers share a few connections: what gathers while Redis answers goes out in one write (group commit).

    A caller that finds a free connection leads: it carries out the jobs of all who wait, wakes them, and lets the first
    of those who came meanwhile lead next. Waiting for a common lock instead would form a convoy: those who are done
    would queue for it with those who are not, and each write would hold one job.
    """

    def __init__(self, *connections: RedisConnection) -> None:
        self._lock = threading.Lock()  # of the two below
        self._free = list(connections)
        self._waiting: deque[_Job] = deque()

    def execute(self, commands: list[bytes], trailer: bytes | None = None) -> list[Any]:
        """Carry out packed commands and return one reply for each. An error of Redis is a reply.

        A trailer is one more command, with one more reply. Jobs that go out together have one between them, so that
        a trailer that waits lets nobody wait twice. All callers of a pipeline use the same.

        Raises:
            BrokerUnavailable: some or all of them may not have been carried out.
        """
        job = _Job(commands, trailer)
        with self._lock:
            if self._free:
                job.connection = self._free.pop()
            else:
                self._waiting.append(job)
        if job.connection is None:
            job.wait()
        if job.connection is not None:
            self._lead(job, job.connection)
        if job.error:
            raise BrokerUnavailable(job.error.detail, retry_after=RETRY_AFTER) from job.error
        return job.replies

    def close(self) -> None:
        """Close the connections that nobody uses now; the next caller opens them again."""
        for connection in self._free:
            connection.close()

    def _lead(self, leader: "_Job", connection: RedisConnection) -> None:
        jobs = [leader, *self._take_waiting(_LONGEST_WRITE)]
        try:
            commands = [command for job in jobs for command in job.commands]
            trailer = next((job.trailer for job in jobs if job.trailer), None)
            replies = connection.exchange([*commands, trailer] if trailer else commands)
            ordered = iter(replies)
            for job in jobs:
                job.replies = [next(ordered) for _ in job.commands]
                if job.trailer:
                    job.replies.append(replies[-1])
        except BaseException as error:  # also the end of the leader's own thread: the others must not wait for ever
            connection.close()
            # Those who came meanwhile would only wait for the same timeout once more.
            jobs += self._take_waiting()
            for job in jobs:
                job.error = unavailable(error)
            if not isinstance(error, BrokerUnavailable):
                raise
        finally:
            self._hand_over(connection)
            for job in jobs[1:]:
                job.wake()

    def _take_waiting(self, most: float = math.inf) -> list["_Job"]:
        """Take those who wait, first come first, until their commands are so many."""
        taken: list[_Job] = []
        with self._lock:
            while self._waiting and most > 0:
                taken.append(self._waiting.popleft())
                most -= len(taken[-1].commands)
        return taken

    def _hand_over(self, connection: RedisConnection) -> None:
        """Let the first who waits lead, or leave the connection to whoever comes."""
        with self._lock:
            if not self._waiting:
                self._free.append(connection)
                return
            leader = self._waiting.popleft()
        leader.connection = connection
        leader.wake()


class _Job:
    """The commands of one caller, and what became of them. One that is given a connection leads."""

    __slots__ = ("_asleep", "commands", "error", "replies", "trailer", "connection")

    def __init__(self, commands: list[bytes], trailer: bytes | None) -> None:
        self.commands = commands
        self.trailer = trailer
        self.replies: list[Any] = []
        self.error: BrokerUnavailable | None = None
        self.connection: RedisConnection | None = None
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> None:
        """Wait until woken, which happens once."""
        self._asleep.acquire()

    def wake(self) -> None:
        """Wake who waits, or will."""
        self._asleep.release()


def unavailable(error: BaseException) -> BrokerUnavailable:
    """Return the problem that an error of the connection is to a caller."""
    if isinstance(error, BrokerUnavailable):
        return error
    return BrokerUnavailable(f"Redis: {error}", retry_after=RETRY_AFTER)
