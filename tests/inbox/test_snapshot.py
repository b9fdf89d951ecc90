"""Snapshots: items in little memory."""

import itertools
import tracemalloc

from notifier.inbox.snapshot import Candidate, Snapshot
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_state import Flags
from tests.kit.cases import every

ALL_FLAGS = [Flags(*each) for each in itertools.product([False, True], repeat=4)]


def candidate(number: int) -> Candidate:
    place = Cursor(1_763_661_600_000 + number, 5000 * (number % 3))
    return Candidate(Item(f"topic:{number % 7}", place.rank, place.seq), ALL_FLAGS[number % 16])


@every(size=[1, 8, 99, 100, 101])
def test_items(size: int) -> None:
    """The items come back as they were, in order, a few at a time."""
    snapshot = Snapshot()
    for number in range(100):
        snapshot.add(candidate(number))
    pieces = list(snapshot.pieces(size))
    assert [each for piece in pieces for each in piece] == [candidate(number) for number in range(100)]
    assert {len(piece) for piece in pieces[:-1]} <= {size} and len(snapshot) == 100
    assert [each.item.entry for each in pieces[0]][:1] == ["1763661600000-0"]


def test_nothing() -> None:
    """Without items there are no pieces."""
    assert list(Snapshot().pieces(8)) == []


def test_memory() -> None:
    """Ten thousand items take little memory, and those that have been taken out none."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        snapshot = Snapshot()
        for number in range(10_000):
            snapshot.add(candidate(number))
        for _ in snapshot.pieces(8):
            pass
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 10_000 < 40  # columns have room for some more
