"""Group commit: many callers share a few connections to Redis."""

import math
import threading
from collections import deque
from typing import Any

from notifier.broker.redis_connection import RedisConnection
from notifier.broker.redis_errors import RETRY_AFTER, unavailable
from notifier.errors import BrokerUnavailable

_LONGEST_WRITE = 2000  # commands, about: Redis executes them in a few dozen milliseconds
_COMMAND = (
    512  # bytes that count as one more command: a write is one piece of memory, of a megabyte beside the leader's
)


class Pipeline:
    """Shares a few connections between many callers: jobs that gather while Redis answers share a write (group commit).

    A caller that finds a free connection leads: it executes the jobs of all callers that wait, wakes them, and hands
    the connection to the first caller that arrived meanwhile. A common lock instead would form a convoy: callers that
    are done would queue behind those that are not, and each write would hold one job.
    """

    def __init__(self, *connections: RedisConnection) -> None:
        self._lock = threading.Lock()  # of the two below
        self._free = list(connections)
        self._waiting: deque[_Job] = deque()

    def execute(self, commands: list[bytes], trailer: bytes | None = None) -> list[Any]:
        """Execute packed commands and return one reply for each. An error of Redis is a reply.

        A trailer is one more command, with one more reply. Jobs of one write share it, so that they wait once for a
        trailer that blocks. All callers of a pipeline use the same trailer.

        Raises:
            BrokerUnavailable: some or all of the commands may not have been executed.
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
        """Close the connections that are free; the next caller opens them again."""
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
        except BaseException as error:  # also a kill of the leader's greenlet: the others must not wait forever
            connection.close()
            # Callers that arrived meanwhile would only wait for the same timeout.
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
        """Return the callers that wait, in order, until they have about `most` commands together."""
        taken: list[_Job] = []
        with self._lock:
            while self._waiting and most > 0:
                taken.append(self._waiting.popleft())
                most -= _weight(taken[-1].commands)
        return taken

    def _hand_over(self, connection: RedisConnection) -> None:
        """Give the connection to the first caller that waits, or set it free."""
        with self._lock:
            if not self._waiting:
                self._free.append(connection)
                return
            leader = self._waiting.popleft()
        leader.connection = connection
        leader.wake()


def _weight(commands: list[bytes]) -> int:
    return len(commands) + sum(map(len, commands)) // _COMMAND


class _Job:
    """The commands of one caller, and their replies. The caller leads if the job has a connection."""

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
        """Wait until `wake` is called, which happens once."""
        self._asleep.acquire()

    def wake(self) -> None:
        """Wake the caller, also if it does not wait yet."""
        self._asleep.release()
