"""Shared reads: one read of a log serves many connections that reconnect."""

from notifier.protocol import cursor
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION, Entry, Page
from notifier.protocol.shared_reads import Read, share

A, B = "user:a", "topic:b"
MINUTE = 60_000


def next_page(read: Read) -> Page:
    """Return what a log of 50 entries has after a position, three at a time."""
    _, position = read
    times = range(position.ms + 1, 51)
    entries = [Entry(b"%d-0" % ms, b"", NOTIFICATION, b"{}") for ms in times[:3]]
    return Page(entries, len(times) < 3, BEGINNING)


def by_time(item: tuple[str, int]) -> int:
    return item[1]


def test_share() -> None:
    """A connection that is not far behind the one that is furthest behind needs no read of its own."""
    reads = [(A, Cursor(MINUTE, 0)), (B, Cursor(7, 0)), (A, Cursor(7, 0)), (A, Cursor(9, 1)), (A, Cursor(7, 0))]
    assert share(reads) == {
        (A, Cursor(7, 0)): (A, Cursor(7, 0)),
        (A, Cursor(9, 1)): (A, Cursor(7, 0)),
        (A, Cursor(MINUTE, 0)): (A, Cursor(MINUTE, 0)),
        (B, Cursor(7, 0)): (B, Cursor(7, 0)),
    }


def test_alone() -> None:
    """A read that must not be shared answers itself, and may still answer others."""
    first, second = (A, Cursor(7, 0)), (A, Cursor(9, 0))
    assert share([first, second], [second]) == {first: first, second: second}
    assert share([first, second], [first]) == {first: first, second: first}


def test_behind_each_other() -> None:
    """Of two connections, each further behind on another channel, neither waits for the other forever."""
    first = CatchUp({A: Cursor(0, 0), B: Cursor(40, 0)}, 0)
    second = CatchUp({A: Cursor(40, 0), B: Cursor(0, 0)}, 0)
    sent: dict[CatchUp, list[tuple[str, int]]] = {first: [], second: []}
    for _ in range(500):
        reads = {each: list(each.read(lambda _: BEGINNING).items()) for each in (first, second)}
        alone = [read for each, own in reads.items() if each.is_impatient for read in own]
        answers = share((read for own in reads.values() for read in own), alone)
        for each, own in reads.items():
            pages = {read[0]: next_page(answers[read]).after(read[1]) for read in own}
            if None in pages.values():
                each.retry()
                continue
            step = each.take({channel: page for channel, page in pages.items() if page})
            each.sent(step.entries)
            each.pause()
            sent[each] += [(channel, cursor.parse(found.id).ms) for channel, found in step.entries]
    assert sent[first] == sorted([(A, ms) for ms in range(1, 51)] + [(B, ms) for ms in range(41, 51)], key=by_time)
    assert sent[second] == sorted([(A, ms) for ms in range(41, 51)] + [(B, ms) for ms in range(1, 51)], key=by_time)
