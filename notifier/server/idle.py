"""Idle connections: HTTP connections whose client sends no complete head of a request, or reads nothing of an answer.

They cost an attacker nothing. While few of the worker's places are free, those that have been idle longest are closed,
so that clients with a request do not wait until a timeout of others has expired.
"""

import itertools
import time
from collections.abc import Callable
from typing import Protocol

from notifier.telemetry import metrics

_FREE = 4  # one place of so many is kept free
_PATIENCE = 1.0  # seconds: a client with a request has sent its head by then
_READING = 2.0  # seconds: a client that reads an answer, also by a slow line, has read a part of it by then
_LITTLE_PATIENCE = 0.25  # while no place is free: a client sends its head together with its part of TCP's handshake


class Idle(Protocol):
    """A connection that waits for its client."""

    def expire(self) -> None:
        """Close the connection, unless the client has done its part in the meantime."""


class IdleConnections:
    """The idle connections of a worker, which has so many places for HTTP connections."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._taken = self._peak = 0
        self._since: dict[Idle, float] = {}  # the one that has been idle longest first
        self._stalled: dict[Idle, float] = {}  # the same of those that wait for their client to read

    def __len__(self) -> int:
        return self._taken

    def enter(self) -> None:
        """Note a new connection."""
        self._taken += 1
        self._peak = max(self._peak, self._taken)

    def leave(self) -> None:
        """Note that a connection is closed, or has become a stream."""
        self._taken -= 1

    def take_peak(self) -> int:
        """Return the most connections that were open at once since this was last asked."""
        peak, self._peak = self._peak, self._taken
        return peak

    def add(self, idle: Idle) -> None:
        """Note that a connection waits for a request."""
        self._since[idle] = self._clock()

    def discard(self, idle: Idle) -> None:
        """Note that the head of the request has arrived, or that the connection is closed."""
        self._since.pop(idle, None)

    def stall(self, idle: Idle) -> None:
        """Note that a connection waits for its client to read."""
        self._stalled[idle] = self._clock()

    def resume(self, idle: Idle) -> None:
        """Note that the client has read something, or is gone."""
        self._stalled.pop(idle, None)

    def __contains__(self, idle: Idle) -> bool:
        return idle in self._since

    def make_room(self) -> None:
        """Close as many of the oldest idle connections as places are missing."""
        missing = self._taken - self._places + max(self._places // _FREE, 1)
        if missing > 0:
            patience = _LITTLE_PATIENCE if self._taken >= self._places else _PATIENCE
            evicted = self._expire(self._since, patience, missing)
            evicted += self._expire(self._stalled, _READING, missing - evicted)
            metrics.HTTP_EVICTED.inc(evicted)

    def close(self) -> None:
        """Close all that wait for a request. A client that has just connected may still send its request."""
        self._expire(self._since, _PATIENCE, len(self._since))

    def _expire(self, waiting: dict[Idle, float], patience: float, most: int) -> int:
        before = self._clock() - patience
        old = itertools.takewhile(lambda idle: waiting[idle] <= before, list(waiting))
        expired = list(itertools.islice(old, most))
        for idle in expired:
            idle.expire()
        return len(expired)
