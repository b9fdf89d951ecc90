"""The answer to a batch: it is what was added, and takes little memory until it is sent."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest

from notifier.http import batch_answer
from notifier.http.batch_answer import BatchAnswer

RECEIPT = '{"channel":"user:%s","cursor":"1795247931855-%d","online":true}'


@pytest.fixture(autouse=True)
def turns(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """The turns that others have had."""
    taken: list[None] = []
    monkeypatch.setattr(batch_answer, "give_way", lambda: taken.append(None))
    return taken


def answers(lines: int, users: int) -> Iterator[bytes]:
    """Yield the answers to lines that name some users."""
    names = random.Random(1)
    for line in range(lines):
        receipts = ",".join(RECEIPT % (names.randrange(10**6), number) for number in range(users))
        yield b'{"line":%d,"status":201,"channels":[%b]}\n' % (line, receipts.encode())


@pytest.mark.parametrize(("lines", "users"), [(0, 0), (1, 1), (1, 3000), (2000, 1), (100, 1000), (3, 40_000)])
def test_parts(lines: int, users: int, turns: list[float]) -> None:
    """The parts are the lines, and none is long: others have a turn after each."""
    answer = BatchAnswer()
    for line in answers(lines, users):
        answer.add(line)
    turns.clear()
    parts = list(answer.parts())
    assert b"".join(parts) == b"".join(answers(lines, users))
    assert answer.size == sum(map(len, parts)) and len(turns) == len(parts)
    assert max(map(len, parts), default=0) <= 65536


def test_memory(turns: list[float]) -> None:
    """An answer of many megabytes needs a few, and as much as is held is released."""
    held = [0]

    def hold(size: int) -> None:
        held.append(held[-1] + size)

    lines = list(answers(300, 1000))  # made before memory is traced, which makes this slow
    tracemalloc.start()
    try:
        answer = BatchAnswer(hold)
        for line in lines:
            answer.add(line[:-1] + b"\n")  # a copy, whose memory is traced
        assert answer.size > 18_000_000
        assert tracemalloc.get_traced_memory()[0] < held[-1] + 500_000 < 6_000_000
        assert len(turns) > 200
        for _ in answer.parts():
            pass
        assert held[-1] == 0 and max(held) < 5_500_000
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_usual_batches(turns: list[float]) -> None:
    """The answer to a batch of usual size is not compressed."""
    answer = BatchAnswer()
    for line in answers(4000, 1):
        answer.add(line)
    assert turns == [] and answer.size > 400_000
