"""Digests: the items of a shared channel."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from notifier.protocol import cursor
from notifier.protocol.digest import Digest, Item
from notifier.protocol.entry import Row
from notifier.protocol.notification_id import key_of
from tests.kit.cases import rows
from tests.kit.ids import id_of, name_of

CHANNEL = "topic:orders"


def entry(ms: int, seq: int = 0) -> bytes:
    return b"%d-%d" % (ms, seq)


def row(ms: int, id: str = "", kind: bytes = b"i", seq: int = 0, expires: int = 0, key: str = "", **more: str) -> Row:
    return Row(
        entry(ms, seq),
        kind,
        id_of(id or f"{ms}-{seq}").encode(),
        str(expires or "").encode(),
        key.encode(),
        more.get("type", "").encode(),
        more.get("copy", "").encode(),
    )


def digest(*rows: Row, first: int = 1) -> Digest:
    subject = Digest(CHANNEL)
    subject.follow(entry(first), rows)
    return subject


def places(subject: Digest) -> list[str]:
    return [item.entry for item in subject.between(-1, 1 << 62)]


def test_items() -> None:
    """Notifications for the inbox are items with all their fields; those for the history are not items."""
    subject = digest(row(1, "a", type="x", copy="1", expires=50), row(2, kind=b"h"), row(3, "b", seq=7))
    first, second = subject.between(-1, 1 << 62)
    assert (first.channel, first.entry, first.id, first.expires, first.type, first.is_copy) == (
        CHANNEL,
        "1-0",
        id_of("a"),
        50,
        "x",
        True,
    )
    assert (second.entry, second.cursor, second.expires, second.is_copy) == ("3-7", cursor.parse("3-7"), 0, False)
    assert (subject.copies, subject.last) == ({key_of(first.id)}, cursor.parse("3-7"))


def test_the_same_rows_again() -> None:
    """Entries that another reader has already brought are taken once."""
    rows = [row(1, "a"), row(2, "b"), row(3, "a", b"r")]
    subject = digest(*rows)
    subject.follow(entry(1), rows)
    subject.follow(entry(1), rows[:1])
    assert places(subject) == ["2-0"]


def test_recall() -> None:
    """A recalled notification is not an item, whether it was read before its recall or together with it."""
    subject = digest(row(1, "a"), row(2, "b"))
    subject.follow(entry(1), [row(3, "a", b"r"), row(4, "unknown", b"r"), row(5, "c"), row(6, "c", b"r")])
    assert places(subject) == ["2-0"]
    assert subject.find([key_of(id_of("a"))]) == []


def test_collapse() -> None:
    """The last entry with a collapse key is the item; an entry for the history removes the item too."""
    subject = digest(row(1, key="k"), row(2, key="other"), row(3, key="k"))
    assert places(subject) == ["2-0", "3-0"]
    subject.follow(entry(1), [row(4, kind=b"h", key="k"), row(5, key="k"), row(6, "5-0", b"r"), row(7, key="k")])
    assert places(subject) == ["2-0", "7-0"]


def test_trimmed() -> None:
    """Entries that were trimmed from the log are not items; without a log there are no items."""
    subject = digest(*(row(ms) for ms in range(1, 9)))
    subject.follow(entry(4), [])
    assert places(subject) == ["4-0", "5-0", "6-0", "7-0", "8-0"]
    subject.follow(b"", [])
    assert places(subject) == []
    subject.follow(entry(9), [row(9)])
    assert places(subject) == ["9-0"]


def test_expiry() -> None:
    """Items are removed when they expire; the time of the next expiry is known."""
    subject = digest(row(1, expires=30), row(2, expires=10), row(3), row(4, expires=20))
    seen = []
    while subject.next_expiry:
        seen.append((subject.next_expiry, places(subject)))
        subject.pass_time(subject.next_expiry - 1)
        assert places(subject) == seen[-1][1]
        subject.pass_time(subject.next_expiry)
    assert seen == [
        (10, ["1-0", "2-0", "3-0", "4-0"]),
        (20, ["1-0", "3-0", "4-0"]),
        (30, ["1-0", "3-0"]),
    ]
    assert places(subject) == ["3-0"]
    subject.follow(b"1-0", [row(5, "e", expires=50), row(6, expires=60), row(7, "e", b"r")])
    assert subject.next_expiry == 60  # a recalled item no longer expires


def test_ranges() -> None:
    """Items are counted after a rank, and found between two ranks."""
    subject = digest(*(row(5, seq=seq) for seq in range(3)), row(6))
    rank = cursor.parse("5-1").rank
    assert subject.behind(rank) == 2
    assert [item.entry for item in subject.between(rank, cursor.parse("6-0").rank)] == ["5-2", "6-0"]
    assert [item.entry for item in subject.between(-1, rank)] == ["5-0", "5-1"]
    assert [item.entry for item in subject.newest(rank, cursor.parse("6-0").rank)] == ["6-0", "5-2"]


@rows("others", [0, 100])
def test_find(others: int) -> None:
    """Items are found by ids, few or many, and by the keys of copies."""
    subject = digest(row(1, "a", copy="1"), row(2, "b"), row(3, "c"), row(4, "c", b"r"))
    unknown = [id_of(f"unknown {number}") for number in range(others)]
    found = subject.find([key_of(id) for id in (id_of("b"), id_of("c"), *unknown, id_of("a"))])
    assert [name_of(item.id) for item in found] == ["b", "a"]
    assert [subject.copy(key_of(id_of(name))) for name in "abc"] == [found[1], None, None]


@rows("id", ["", "a", "01a1fd1d", "0" * 32, "A1A1A1A1-A1A1-A1A1-A1A1-A1A1A1A1A1A1", f"{id_of('a')}\n", "é" * 36])
def test_no_ids(id: str) -> None:
    """A text that is not an id finds nothing and removes nothing."""
    subject = digest(row(1, "a"), Row(entry(2), b"r", id.encode(), b"", b"", b"", b""))
    assert len(subject) == 1
    assert key_of(id) == b""


def test_keys_across_items() -> None:
    """A key is found only where an item begins: the bytes of two neighbours may spell it, too."""
    both = id_of("b" * 8 + "c" * 8)
    subject = digest(row(1, "a" * 8 + "b" * 8), row(2, "c" * 8 + "d" * 8))
    assert subject.find([key_of(both)]) == []
    subject.follow(entry(1), [row(3, "b" * 8 + "c" * 8)])
    assert [item.entry for item in subject.find([key_of(both)])] == ["3-0"]


def test_many_entries_of_a_millisecond() -> None:
    """Entries with equal ranks keep their own cursors, and are trimmed one by one."""
    subject = digest(*(row(1, seq=seq) for seq in range(2045, 2050)))
    assert places(subject) == ["1-2045", "1-2046", "1-2047", "1-2048", "1-2049"]
    subject.follow(entry(1, 2048), [])
    assert places(subject) == ["1-2048", "1-2049"]


def test_many_types() -> None:
    """Types that no item has any more cost no memory."""
    subject = Digest(CHANNEL)
    for ms in range(1, 200):
        subject.follow(entry(max(ms - 3, 1)), [row(ms, type=f"type {ms}")])
        assert [item.type for item in subject.between(-1, 1 << 62)][-1] == f"type {ms}"
    assert list(subject.types()) == [f"type {ms}" for ms in range(196, 200)]
    assert len(subject._types._names) < 70


def test_reset() -> None:
    """A digest is empty after a reset."""
    subject = digest(row(1, copy="1", key="k", expires=9))
    subject.reset()
    assert (places(subject), subject.copies, subject.next_expiry, subject.behind(-1)) == ([], set(), 0, 0)
    assert subject.last == cursor.BEGINNING


def test_changes_while_it_is_read() -> None:
    """Items that come and go while a reader goes through a digest neither hide others nor bring any twice."""
    for newest in (False, True):
        for removed in range(10):
            digest = Digest("topic:t")
            keys = [f"{number:08x}-0000-7000-8000-000000000000" for number in range(10)]
            rows = [Row(b"%d-0" % (n + 1), b"i", key.encode(), b"", b"", b"", b"") for n, key in enumerate(keys)]
            digest.follow(b"1-0", rows)
            reader = digest.newest(-1, 1 << 60) if newest else digest.between(-1, 1 << 60)
            seen = [next(reader).id for _ in range(5)]
            digest.follow(b"1-0", [Row(b"11-0", b"r", keys[removed].encode(), b"", b"", b"", b"")])
            seen += [item.id for item in reader]
            wanted = keys[::-1] if newest else keys
            assert seen == [key for key in wanted if key != keys[removed] or key in wanted[:5]]


class TestTurns:
    """Digests that change while others have their turn."""

    def test_follow(self) -> None:
        """Between two entries a digest is that of a shorter log, also if items expire meanwhile."""
        subject, seen = Digest(CHANNEL), list[list[str]]()

        def turns(rows: Iterable[Row]) -> Iterator[Row]:
            for each in rows:
                yield each
                subject.pass_time(each.entry == b"3-0" and 15 or 0)
                seen.append(places(subject))

        subject.follow(entry(1), [row(1, expires=10), row(2), row(3, expires=20), row(4)], turns)
        assert seen == [["1-0"], ["1-0", "2-0"], ["2-0", "3-0"], ["2-0", "3-0", "4-0"]]

    def test_trimmed(self) -> None:
        """Entries that have left the log are forgotten some at a time, also if others expire meanwhile."""
        subject = digest(*(row(ms, expires=ms) for ms in range(1, 2001)))
        sizes: list[int] = []

        def turns(items: Iterable[int]) -> Iterator[int]:
            for each in items:
                yield each
                sizes.append(len(subject))
                subject.pass_time(1000)

        subject.follow(entry(1901), [], turns)
        assert sizes == [1500, 500, 100, 100] and places(subject)[0] == "1901-0"

    def test_expiry(self) -> None:
        """Items that expire together are removed one by one; others may remove them, or more, meanwhile."""
        subject = digest(*(row(ms, expires=50) for ms in range(1, 5)), row(5, expires=60), row(6))
        seen = list[int]()

        def turns(items: Iterable[Any]) -> Iterator[Any]:
            for each in items:
                yield each
                seen.append(len(subject))
                if len(seen) == 2:
                    subject.pass_time(60)

        subject.pass_time(50, turns)
        assert seen == [5, 4, 1, 1] and places(subject) == ["6-0"]
        assert subject.next_expiry == 0

    @rows("changes", [0, 1, 2, 9])
    def test_types(self, changes: int) -> None:
        """The items of each type are found, however often the digest changes meanwhile."""
        subject = digest(*(row(ms, type=f"t{ms % 2}") for ms in range(1, 1001)))
        later = iter(range(1001, 1001 + changes))

        def turns(items: Iterable[Any]) -> Iterator[Any]:
            for each in items:
                yield each
                for ms in itertools.islice(later, 1):
                    subject.follow(entry(ms - 999), [row(ms, type="t0")])

        found = subject.types(turns)
        assert found == subject.types() == Digest.types(digest(*map(_again, subject.between(-1, 1 << 62))))

    def test_types_of_later_items(self) -> None:
        """Items that are added and removed later are found by their types, too."""
        subject = digest(row(1, type="a"))
        assert {name: len(ranks) for name, ranks in subject.types().items()} == {"a": 1}
        subject.follow(entry(1), [row(2, type="b"), row(3, type="a")])
        assert {name: len(ranks) for name, ranks in subject.types().items()} == {"a": 2, "b": 1}
        subject.follow(entry(2), [])
        assert {name: len(ranks) for name, ranks in subject.types().items()} == {"a": 1, "b": 1}


def _again(item: Item) -> Row:
    return Row(item.entry.encode(), b"i", item.id.encode(), b"", b"", item.type.encode(), b"")
