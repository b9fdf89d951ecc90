"""Slices: a few commands of many are packed at a time, so that the memory and time of long writes have a limit."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from notifier.broker.redis_errors import RETRY_AFTER
from notifier.errors import BrokerUnavailable
from notifier.loop import give_way

SMALL = 65536  # bytes of commands that take no turn: about as many as the body of their request, which is counted
SLICE = 1 << 20  # bytes of a slice, about
COMMANDS = 512  # of a slice: a few milliseconds, and a batch of 256 lines with their records
_AT_ONCE = 2  # slices: one is packed while Redis executes the other


class Writer(Protocol):
    """Writes commands to Redis: the store."""

    def carry_out(self, commands: list[bytes], replicas: int) -> list[Any]:
        """Execute commands, wait until `replicas` replicas have them, and return one reply for each."""


class Slices:
    """Carries out commands of callers that may have megabytes of them. Callers take turns, one slice each."""

    def __init__(self, store: Writer) -> None:
        self._store = store
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._failures = 0
        self._detail = ""  # of the last failure

    def carry_out(self, commands: Iterable[bytes], size: int, replicas: int = 0) -> Iterator[Any]:
        """Yield the replies to commands, which are packed when they are asked for; `size` is about that of all.

        Raises:
            BrokerUnavailable: commands of the slice and of later ones may not have been executed.
        """
        if size <= SMALL:
            yield from self._store.carry_out(list(commands), replicas)
            return
        rest = iter(commands)
        while replies := self._next(rest, replicas):
            yield from replies
            give_way()  # those that wait go first: the lock is not given to them while this greenlet goes on

    def _next(self, commands: Iterator[bytes], replicas: int) -> list[Any]:
        """Return the replies to the next slice; none: there are no more commands."""
        failures = self._failures
        with self._turns:
            if self._failures != failures:  # callers that waited meanwhile would only wait for the same timeout
                raise BrokerUnavailable(self._detail, retry_after=RETRY_AFTER)
            try:
                return self._store.carry_out(_slice(commands), replicas)
            except BrokerUnavailable as error:
                self._failures += 1
                self._detail = error.detail
                raise


def _slice(commands: Iterator[bytes]) -> list[bytes]:
    taken: list[bytes] = []
    size = 0
    for command in commands:
        taken.append(command)
        size += len(command)
        if size >= SLICE or len(taken) == COMMANDS:
            break
    return taken
