"""Idle HTTP connections, and which of them are closed for others."""

import pickle
from typing import Self

import pytest

from notifier.server.idle import IdleConnections
from notifier.telemetry import metrics
from tests.protocol.orders import outcomes

PLACES = 8
FREE = 2  # places that are kept free


class Clock:
    """A clock that is frozen until `now` is changed."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Connection:
    """A connection that waits for a request, as the worker's timeouts of heads do."""

    def __init__(self, connections: IdleConnections) -> None:
        self._connections = connections
        self.expired = 0
        connections.enter()
        connections.add(self)

    def expire(self) -> None:
        """Expire, which the worker does a moment later."""
        self.expired += 1

    def request(self) -> None:
        """Send the head of a request."""
        self._connections.discard(self)

    def close(self) -> None:
        """Close."""
        self._connections.discard(self)
        self._connections.leave()


class World:
    """Connections that come and go in any order, while time passes."""

    def __init__(self, others: int) -> None:
        self.clock = Clock()
        self.connections = IdleConnections(PLACES, self.clock)
        self.here = {f"other {number}": Connection(self.connections) for number in range(others)}
        self.since = dict.fromkeys(self.here, self.clock.now)  # of those that are idle
        self.requested: dict[str, int] = {}  # with how often it had expired before

    def connect(self, name: str) -> None:
        self.here[name] = Connection(self.connections)
        self.since[name] = self.clock.now

    def request(self, name: str) -> None:
        if name in self.since:
            del self.since[name]
            self.here[name].request()
            self.requested[name] = self.here[name].expired

    def close(self, name: str) -> None:
        self.here.pop(name).close()
        self.since.pop(name, None)

    def look(self, seconds: float) -> None:
        """Advance the clock, and look whether places are missing."""
        self.clock.now += seconds
        before = {name: each.expired for name, each in self.here.items()}
        self.connections.make_room()
        expired = [name for name, each in self.here.items() if each.expired > before[name]]
        patience = 0.25 if len(self.here) >= PLACES else 1.0
        old = [name for name, since in self.since.items() if self.clock.now - since >= patience]
        assert expired == old[: max(len(self.here) - PLACES + FREE, 0)]

    @property
    def state(self) -> bytes:
        return pickle.dumps(self)

    def copy(self) -> Self:
        copied: Self = pickle.loads(self.state)
        return copied

    def settle(self) -> None:
        assert all(self.here[name].expired == times for name, times in self.requested.items() if name in self.here)


@pytest.mark.parametrize("others", range(PLACES - 1))
def test_every_order(others: int) -> None:
    """Only the oldest idle connections are closed, as many as places are missing; never one with a request."""
    one = [("connect", "a"), ("request", "a"), ("close", "a")]
    another = [("connect", "b"), ("request", "b")]
    looks = [("look", 0.3), ("look", 0.3), ("look", 0.5)]
    assert list(outcomes(World(others), one, another, looks))


def test_all_places_taken() -> None:
    """While all places are taken, connections that have just come stay for a moment, and are closed after it."""
    clock = Clock()
    connections = IdleConnections(PLACES, clock)
    before = metrics.HTTP_EVICTED._value.get()
    all_ = [Connection(connections) for _ in range(PLACES)]
    connections.make_room()
    assert [each.expired for each in all_] == [0] * PLACES
    clock.now += 0.25
    connections.make_room()
    assert [each.expired for each in all_] == [1] * FREE + [0] * (PLACES - FREE)
    assert metrics.HTTP_EVICTED._value.get() == before + FREE


def test_peak() -> None:
    """Connections that have come and gone are in the peak, once."""
    connections = IdleConnections(PLACES)
    for connection in [Connection(connections) for _ in range(5)]:
        connection.close()
    Connection(connections)
    assert [connections.take_peak() for _ in range(2)] == [5, 1]


def test_end() -> None:
    """When the worker ends, all are closed, but for those that have just come."""
    clock = Clock()
    connections = IdleConnections(PLACES, clock)
    old = Connection(connections)
    clock.now += 1
    new = Connection(connections)
    connections.close()
    assert (old.expired, new.expired) == (1, 0)


def test_one_place() -> None:
    """A worker with a single place keeps it free for the next client."""
    clock = Clock()
    connections = IdleConnections(1, clock)
    only = Connection(connections)
    clock.now += 0.25
    connections.make_room()
    assert only.expired == 1


def test_readers() -> None:
    """Clients that read nothing make room after those that send nothing, and have more time."""
    clock = Clock()
    connections = IdleConnections(PLACES, clock)
    all_ = [Connection(connections) for _ in range(PLACES)]
    for reader in all_[1:]:
        reader.request()
        connections.stall(reader)
    connections.resume(all_[3])
    connections.stall(all_[3])  # it has read something
    for seconds, expired in ((1.9, [0]), (0.1, [0, 1])):
        clock.now += seconds
        connections.make_room()
        assert [number for number, each in enumerate(all_) if each.expired] == expired
    all_[0].close()
    connections.resume(all_[1])
    all_[1].close()
    connections.make_room()
    assert [each.expired for each in all_[2:]] == [0] * (PLACES - FREE)
