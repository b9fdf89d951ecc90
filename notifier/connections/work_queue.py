"""Work queues: what clients ask for on their connections, until a thread carries it out.

Users take turns, and what waits is bounded. A connection whose user has much waiting is not read until some of it is
done: its client is slowed down by its own requests, and nobody else.
"""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from notifier.connections.stream import StreamConnection
from notifier.errors import Overloaded
from notifier.telemetry import metrics

_MOST_TAKEN_BYTES = 1_048_576  # what a thread takes at once, about

Work = TypeVar("Work")


class Bounds(NamedTuple):
    """How much may wait: `requests` and `bytes` of one user, before connections are not read; `all_bytes` of a worker.

    Beyond `all_bytes` only users for whom nothing waits are served, up to twice as much.
    """

    requests: int = 32
    bytes: int = 262_144
    all_bytes: int = 33_554_432


class Taken(NamedTuple, Generic[Work]):
    """Work that a thread has taken, with the connection that asked for it."""

    connection: StreamConnection
    work: Work
    size: int


class WorkQueue(Generic[Work]):
    """The work of all users. The work of a user is carried out in order, never by two threads at once."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._users: dict[str, _Waiting[Work]] = {}  # those with work that is not done
        self._turns: deque[str] = deque()  # those with work that may be taken
        self._size = 0  # bytes that are not done
        self._filled = threading.Event()

    def put(self, connection: StreamConnection, work: Work, size: int) -> None:
        """Add work of about `size` bytes. The connection may not be read for a while.

        Raises:
            Overloaded: too much is waiting.
        """
        identity = connection.session.identity
        assert identity is not None
        waiting = self._users.get(identity.user)
        most = self.bounds.all_bytes
        if self._size > most and (waiting or self._size > 2 * most):
            metrics.OVERLOADS.inc()
            raise Overloaded("too much is waiting")
        if waiting is None:
            waiting = self._users[identity.user] = _Waiting(self.bounds)
            self._turns.append(identity.user)
        self._size += size
        waiting.add(Taken(connection, work, size))
        if not self._filled.is_set():  # to set an event is dear, to ask it is not
            self._filled.set()

    def take(self, most: int, each: int) -> list[Taken[Work]]:
        """Wait until there is work, and return `most`, about, with at most `each` of one user.

        Nothing else of these users is taken until `done` was called.
        """
        self._filled.wait()
        taken: list[Taken[Work]] = []
        size = 0
        while self._turns and len(taken) < most and size < _MOST_TAKEN_BYTES:
            part = self._users[self._turns.popleft()].take(each)
            size += sum(work.size for work in part)
            taken += part
        if not self._turns:
            self._filled.clear()
        return taken

    def done(self, taken: Iterable[Taken[Work]]) -> None:
        """Note that work was carried out, or has failed. Its users wait for their next turn."""
        users: dict[str, _Waiting[Work]] = {}
        for each in taken:
            identity = each.connection.session.identity
            assert identity is not None
            waiting = users[identity.user] = self._users[identity.user]
            waiting.finish(each)
            self._size -= each.size
        for user, waiting in users.items():
            if waiting.queue:
                self._turns.append(user)
                self._filled.set()
            else:
                del self._users[user]
                waiting.release_all()


class _Waiting(Generic[Work]):
    """The work of one user that is not done, and the connections that are not read until some of it is."""

    __slots__ = ("_bounds", "_count", "_held", "_size", "queue")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.queue: deque[Taken[Work]] = deque()
        self._held: deque[StreamConnection] | None = None  # most users never have one
        self._count = self._size = 0  # also of work that was taken

    def add(self, work: Taken[Work]) -> None:
        self.queue.append(work)
        self._count += 1
        self._size += work.size
        if self._count >= self._bounds.requests or self._size >= self._bounds.bytes:
            metrics.HELD.inc()
            self._held = self._held or deque()
            self._held.append(work.connection)
            work.connection.hold()

    def take(self, most: int) -> list[Taken[Work]]:
        return [self.queue.popleft() for _ in range(min(most, len(self.queue)))]

    def finish(self, work: Taken[Work]) -> None:
        self._count -= 1
        self._size -= work.size
        if self._held:  # one for one: all at once could bring as much again as there are connections
            self._held.popleft().release()

    def release_all(self) -> None:
        while self._held:
            self._held.popleft().release()
