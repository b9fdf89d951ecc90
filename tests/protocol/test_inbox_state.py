"""Inbox states: flags by marks and exceptions, mutes, and the replies of scripts."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_state import ACTIONS, NOTHING, InboxState, Marks, read_marks, read_state
from notifier.protocol.rank_list import pack
from tests.kit.cases import rows


def item(ms: int, channel: str = "all", type: str = "") -> Item:
    return Item(channel, Cursor(ms, 0).rank, 0, type=type)


def test_marks() -> None:
    """Items up to a mark have its flag and later ones do not, except for exceptions of the same channel and flag."""
    exceptions = {("r", "all"): [Cursor(1, 0).rank, Cursor(3, 0).rank]}
    marks = Marks(seen=Cursor(3, 0).rank, read=Cursor(2, 0).rank, exceptions=exceptions)
    for flag, flagged in [("s", [1, 2, 3]), ("r", [2, 3]), ("a", [])]:
        assert [ms for ms in range(1, 5) if marks.has(flag, item(ms))] == flagged
    assert [ms for ms in range(1, 5) if marks.has("r", item(ms, "topic:t"))] == [1, 2]


MARKS = st.builds(
    Marks,
    *(st.integers(0, 9).map(lambda ms: Cursor(ms, 0).rank) for _ in range(3)),
    st.dictionaries(
        st.tuples(st.sampled_from("sra"), st.sampled_from(["all", "topic:t"])),
        st.frozensets(st.integers(1, 9).map(lambda ms: Cursor(ms, 0).rank)).map(
            lambda ranks: array("Q", sorted(ranks))
        ),
    ),
)


@given(MARKS, MARKS)
def test_same_until(one: Marks, other: Marks) -> None:
    """Items with other flags have higher ranks."""
    same = one.same_until(other)
    assert same == other.same_until(one) and one.same_until(one) > Cursor(9, 0).rank
    differing = {
        each.rank
        for each in (item(ms, channel) for ms in range(1, 10) for channel in ("all", "topic:t"))
        if any(one.has(flag, each) != other.has(flag, each) for flag in "sra")
    }
    assert all(rank > same for rank in differing)


@rows(
    ("channel", "type", "ms", "is_muted"),
    [
        ("all", "a", 10, True),
        ("all", "a", 9, False),
        ("all", "b", 99, False),
        ("topic:t", "b", 20, True),
        ("topic:t", "b", 19, False),
        ("topic:t", "a", 10, True),
        ("topic:u", "", 99, False),
        ("user:t", "", 99, False),
    ],
)
def test_mutes(channel: str, type: str, ms: int, is_muted: bool) -> None:
    """An entry is muted from the time when its type or its topic was muted."""
    state = NOTHING._replace(mutes={"type:a": 10, "topic:t": 20, "topic:a": 0})
    assert state.mutes_entry(channel, type, ms) is is_muted
    assert state.mutes_item(item(ms, channel, type)) is is_muted
    assert not NOTHING.mutes_item(item(ms, channel, type))


def test_sources() -> None:
    """The items of `all` and of the user's topics belong to an inbox."""
    assert NOTHING.sources == ["all"]
    assert NOTHING._replace(topics={"a": BEGINNING, "b": BEGINNING}).sources == ["all", "topic:a", "topic:b"]


def test_actions() -> None:
    """Archiving implies reading and reading implies seeing; unread items are not archived."""
    assert {name: (set(action.flags), action.on) for name, action in ACTIONS.items()} == {
        "seen": ({"s"}, True),
        "read": ({"s", "r"}, True),
        "unread": ({"r", "a"}, False),
        "archive": ({"s", "r", "a"}, True),
        "unarchive": ({"a"}, False),
    }


def test_read_state() -> None:
    """A state is read from the reply of the script; an empty reply is the empty state."""
    assert read_state("alice", []) == NOTHING
    reply = [b"1", b"2", b"3", b"4", 5, 6, b"7", [b"r topic:a b", pack([2048]), b"r all", pack([4096, 6144])]]
    reply += [[b"orders", b"9-1"], [b"type:a:b", b"8"], [b"id"], b"10", 11]
    exceptions = {("r", "topic:a b"): array("Q", [2048]), ("r", "all"): array("Q", [4096, 6144])}
    assert read_state("alice", reply) == InboxState(
        Marks(1, 2, 3, exceptions),
        4,
        5,
        6,
        7,
        {"orders": Cursor(9, 1)},
        {"type:a:b": 8},
        frozenset(["id"]),
        10,
        11,
    )
    assert read_state("alice", [*reply[:-1], -1]).ends == 0
    assert read_marks([b"1", b"2", b"3", []]) == Marks(1, 2, 3)


def test_nothing() -> None:
    """Users without an inbox share one state, except for those of a tenant."""
    assert read_state("alice", []) is NOTHING
    assert read_state("acme\x1falice", []) == NOTHING._replace(everyone="all:acme\x1f")
