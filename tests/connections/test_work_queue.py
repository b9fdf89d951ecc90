"""Work queues: turns of users, bounds, and connections that are not read for a while."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.connections import work_queue as module
from notifier.connections.work_queue import Bounds, WorkQueue
from notifier.errors import Overloaded
from tests.kit.recorded_connection import RecordedConnection

BOUNDS = Bounds(8, 10_000, 100_000)
Queue = Any  # a work queue whose connections are recorded


@pytest.fixture
def queue() -> Queue:
    return WorkQueue(BOUNDS)


def drain(queue: Queue) -> Iterator[list[Any]]:
    """Take and finish one piece of work after the other."""
    while queue._filled.is_set():
        taken = queue.take(1, 1)
        yield [each.work for each in taken]
        queue.done(taken)


def test_turns(queue: Queue) -> None:
    """Users take turns; the work of one user keeps its order."""
    for name in ("ada 1", "ada 2", "ada 3", "bob 1", "cy 1", "cy 2"):
        queue.put(RecordedConnection(name.split()[0]), name, 1)
    assert list(drain(queue)) == [["ada 1"], ["bob 1"], ["cy 1"], ["ada 2"], ["cy 2"], ["ada 3"]]


def test_one_thread_for_a_user(queue: Queue) -> None:
    """The work of a user is not taken while a thread works for that user."""
    ada = RecordedConnection("ada")
    queue.put(ada, 1, 1)
    taken = queue.take(1, 1)
    queue.put(ada, 2, 1)
    queue.put(RecordedConnection("bob"), 3, 1)
    others = queue.take(9, 9)
    assert [each.work for each in others] == [3]
    assert not queue._filled.is_set()
    queue.done(others)
    queue.done(taken)
    assert [each.work for each in queue.take(9, 9)] == [2]


def test_most(queue: Queue) -> None:
    """A thread takes about as much as it asked for, and not too many bytes."""
    for number in range(100):
        queue.put(RecordedConnection(f"user-{number}"), number, 1)
    assert len(queue.take(10, 9)) == 10
    big = WorkQueue[Any](Bounds())
    for number in range(100):
        big.put(RecordedConnection(f"user-{number}"), number, 100_000)  # type: ignore[arg-type]
    assert len(big.take(100, 9)) == 11


@pytest.mark.parametrize(("count", "size"), [(BOUNDS.requests, 1), (2, BOUNDS.bytes // 2)])
def test_hold(queue: Queue, count: int, size: int) -> None:
    """The connection with which too much waits for a user is not read, until something is done."""
    phone, page, other = RecordedConnection("ada"), RecordedConnection("ada"), RecordedConnection("bob")
    for number in range(count):
        assert not page.is_held
        queue.put(phone if not number else page, number, size)
    queue.put(other, "x", size)
    assert (phone.is_held, page.is_held, other.is_held) == (False, True, False)
    queue.done(queue.take(1, 1))
    assert not page.is_held


def test_released_one_by_one(queue: Queue) -> None:
    """Many connections of a user are not released at once: each may bring as much again."""
    connections = [RecordedConnection("ada") for _ in range(200)]
    for connection in connections:
        queue.put(connection, "x", 1)
    held = [sum(each.is_held for each in connections)]
    for _ in drain(queue):
        held.append(sum(each.is_held for each in connections))
    assert held[0] == 200 - BOUNDS.requests + 1
    assert all(before - after <= 1 for before, after in zip(held, held[1:], strict=False))
    assert not any(each.is_held for each in connections)


def test_full(queue: Queue) -> None:
    """If too much waits, only users for whom nothing waits are served, up to twice as much."""
    metric = module.metrics.OVERLOADS._value  # type: ignore[attr-defined]
    before = metric.get()
    queue.put(RecordedConnection("ada"), "x", BOUNDS.all_bytes + 1)
    with pytest.raises(Overloaded):
        queue.put(RecordedConnection("ada"), "x", 1)
    queue.put(RecordedConnection("bob"), "x", BOUNDS.all_bytes)
    with pytest.raises(Overloaded):
        queue.put(RecordedConnection("cy"), "x", 1)
    assert metric.get() == before + 2
    for _ in drain(queue):
        pass
    queue.put(RecordedConnection("ada"), "x", 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100_000)), max_size=100), st.integers(1, 40))
def test_everything_is_done_once(works: list[tuple[str, int]], each: int) -> None:
    """In any order of puts and takes, all work is done, in the order of each user, and none is left over."""
    queue: Queue = WorkQueue(Bounds())
    connections = {name: RecordedConnection(name) for name in "abc"}
    done: dict[str, list[int]] = {name: [] for name in "abc"}
    for number, (name, size) in enumerate(works):
        queue.put(connections[name], number, size)
        if not number % 7:
            queue.done(taken := queue.take(2, each))
            for work in taken:
                done[work.connection.session.identity.user].append(work.work)
    while queue._filled.is_set():
        queue.done(taken := queue.take(2, each))
        for work in taken:
            done[work.connection.session.identity.user].append(work.work)
    assert done == {name: [number for number, (user, _) in enumerate(works) if user == name] for name in "abc"}
    assert (queue._users, queue._size, len(queue._turns)) == ({}, 0, 0)
    assert not any(connection.is_held for connection in connections.values())
