"""Slices: which commands are packed at a time, and who writes the next ones."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from notifier.broker import slices
from notifier.broker.slices import COMMANDS, SLICE, SMALL, Slices
from notifier.errors import BrokerUnavailable
from tests.kit.waiting import DEADLINE, eventually

LARGE = SMALL + 1


class Store:
    """Answers each command with itself. `written` are the writes; the next ones wait while `closed`."""

    def __init__(self) -> None:
        self.written: list[list[bytes]] = []
        self.replicas: list[int] = []
        self.failing = range(0)  # the numbers of the writes that fail, from 1
        self.open = threading.Event()
        self.open.set()

    def carry_out(self, commands: list[bytes], replicas: int) -> list[Any]:
        if commands:
            self.written.append(commands)
            self.replicas.append(replicas)
            fails = len(self.written) in self.failing
            assert self.open.wait(DEADLINE)
            if fails:
                raise BrokerUnavailable("gone")
        return commands


class Turns(threading.BoundedSemaphore):
    """Counts who has asked for a turn."""

    asked = 0

    def __enter__(self) -> bool:
        self.asked += 1
        return super().__enter__()


@pytest.fixture
def store() -> Store:
    """A store without a server."""
    return Store()


def commands(number: int, size: int, packed: list[bytes]) -> Iterator[bytes]:
    """Yield so many different commands of a size, and note which are packed."""
    for index in range(number):
        packed.append(b"%d" % index)
        yield (b"%d " % index).ljust(size, b"x")


@pytest.mark.parametrize(
    ("number", "size", "first"),
    [(10, SLICE // 4, 4), (3, 2 * SLICE, 1), (2 * COMMANDS + 1, 10, COMMANDS), (COMMANDS, 10, COMMANDS)],
)
def test_slices(store: Store, number: int, size: int, first: int) -> None:
    """No more than a slice is packed before its replies are taken, and all replies are returned in order."""
    packed: list[bytes] = []
    replies = Slices(store).carry_out(commands(number, size, packed), LARGE, 2)
    found = [next(replies)]
    assert len(packed) == first
    found += replies
    assert found == [command for write in store.written for command in write] == list(commands(number, size, []))
    assert {len(write) for write in store.written[:-1]} <= {first}
    assert set(store.replicas) == {2}


def test_small(store: Store) -> None:
    """Commands that are few bytes together are one write, and wait for no slice of others."""
    store.open.clear()
    shared = Slices(store)
    threads = [
        threading.Thread(target=lambda: list(shared.carry_out(commands(3, SLICE, []), LARGE)), daemon=True)
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: len(store.written) == 2)  # the others have packed nothing
    small = threading.Thread(target=lambda: list(shared.carry_out(commands(2000, 1, []), SMALL)), daemon=True)
    small.start()
    eventually(lambda: len(store.written) == 3)
    assert len(store.written[2]) == 2000
    store.open.set()
    for thread in [*threads, small]:
        thread.join(DEADLINE)
    assert sorted(map(len, store.written)) == [1] * 15 + [2000]


def test_turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two slices others have their turn."""
    turns: list[int] = []
    monkeypatch.setattr(slices, "give_way", lambda: turns.append(len(store.written)))
    list(Slices(store).carry_out(commands(3, SLICE, []), LARGE))
    assert turns == [1, 2, 3]


def test_failure(store: Store) -> None:
    """A slice that fails ends its write, and those of callers that wait; a later caller begins again."""
    store.failing = range(2, 3)
    shared = Slices(store)
    packed: list[bytes] = []
    with pytest.raises(BrokerUnavailable):
        list(shared.carry_out(commands(5, SLICE, packed), LARGE))
    assert len(packed) == 2
    turns = shared._turns = Turns(2)
    store.open.clear()
    store.failing = range(3, 5)
    errors: list[BrokerUnavailable] = []

    def write() -> None:
        try:
            list(shared.carry_out(commands(1, SLICE, []), LARGE))
        except BrokerUnavailable as error:
            errors.append(error)

    threads = [threading.Thread(target=write, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(store.written) == 4 and turns.asked == 6)
    store.open.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(store.written) == 4 and len(set(map(id, errors))) == 6
    assert {error.detail for error in errors} == {"gone"}
    assert list(shared.carry_out(commands(1, SLICE, []), LARGE)) == list(commands(1, SLICE, []))
