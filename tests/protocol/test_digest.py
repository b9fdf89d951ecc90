"""Digests: the items of a shared channel."""

from notifier.protocol import cursor
from notifier.protocol.digest import Digest, Row

CHANNEL = "topic:orders"


def entry(ms: int, seq: int = 0) -> bytes:
    return b"%d-%d" % (ms, seq)


def row(ms: int, id: str = "", kind: bytes = b"i", seq: int = 0, expires: int = 0, key: str = "", **more: str) -> Row:
    return Row(
        entry(ms, seq),
        kind,
        (id or f"id-{ms}-{seq}").encode(),
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
    """Notifications for the inbox are items with all their fields; those for the history are none."""
    subject = digest(row(1, "a", type="x", copy="1", expires=50), row(2, kind=b"h"), row(3, "b", seq=7))
    first, second = subject.between(-1, 1 << 62)
    assert (first.channel, first.entry, first.id, first.expires, first.type, first.is_copy) == (
        CHANNEL,
        "1-0",
        "a",
        50,
        "x",
        True,
    )
    assert (second.entry, second.cursor, second.expires, second.is_copy) == ("3-7", cursor.parse("3-7"), 0, False)
    assert (subject.copies, subject.last) == ({"a"}, cursor.parse("3-7"))


def test_the_same_rows_again() -> None:
    """Entries that another reader has already brought are taken once."""
    rows = [row(1, "a"), row(2, "b"), row(3, "a", b"r")]
    subject = digest(*rows)
    subject.follow(entry(1), rows)
    subject.follow(entry(1), rows[:1])
    assert places(subject) == ["2-0"]


def test_recall() -> None:
    """A recalled notification is no item, whether it was read before its recall or together with it."""
    subject = digest(row(1, "a"), row(2, "b"))
    subject.follow(entry(1), [row(3, "a", b"r"), row(4, "unknown", b"r"), row(5, "c"), row(6, "c", b"r")])
    assert places(subject) == ["2-0"]
    assert subject.at("1-0") is None


def test_collapse() -> None:
    """The last entry with a collapse key is the item; an entry for the history removes the item too."""
    subject = digest(row(1, key="k"), row(2, key="other"), row(3, key="k"))
    assert places(subject) == ["2-0", "3-0"]
    subject.follow(entry(1), [row(4, kind=b"h", key="k"), row(5, key="k"), row(6, "id-5-0", b"r"), row(7, key="k")])
    assert places(subject) == ["2-0", "7-0"]


def test_trimmed() -> None:
    """Entries that have left the log are no items; without a log there are none."""
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
    found = subject.at("5-2")
    assert found is not None and found.id == "id-5-2"
    assert subject.at("5-3") is None


def test_reset() -> None:
    """A digest is empty after a reset."""
    subject = digest(row(1, copy="1", key="k", expires=9))
    subject.reset()
    assert (places(subject), subject.copies, subject.next_expiry, subject.behind(-1)) == ([], set(), 0, 0)
    assert subject.at("1-0") is None
    assert subject.last == cursor.BEGINNING
