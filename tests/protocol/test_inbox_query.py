"""Queries of the inbox: which are accepted, which are rejected, and which items match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadRequest
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_query import Place, Query, read_query
from notifier.protocol.inbox_state import Flags
from tests.kit.cases import rows

ID = "019a0000-0000-7000-8000-000000000000"

NAMES = st.text(st.characters(exclude_categories=["C"]), max_size=9)


class TestQuery:
    def test_nothing(self) -> None:
        """The default query lists the first twenty items that are not archived."""
        assert read_query([]) == Query("all", 20, None, frozenset(), frozenset(), frozenset())

    def test_everything(self) -> None:
        """Each parameter is read; types, topics and severities may be repeated; unknown names are ignored."""
        items = [("status", "unread"), ("limit", "7"), ("before", "5-1~topic:a~b"), ("type", "x"), ("type", "y")]
        items += [("topic", "a"), ("severity", "error"), ("severity", "info"), ("utm", "z")]
        assert read_query(items) == Query(
            "unread",
            7,
            Place(Cursor(5, 1), "topic:a~b"),
            frozenset("xy"),
            frozenset("a"),
            frozenset(["error", "info"]),
        )

    @rows(
        "item",
        [
            ("status", ""),
            ("status", "read"),
            ("status", "Unread"),
            *(("limit", text) for text in ("", "0", "-1", "101", "1e1", "1.0", " 1", "١", "9" * 20)),
            *(("before", text) for text in ("", "now", "5-1", "5-1~", "5-1~orders", "~all", "5~all", "-1-0~all")),
            ("severity", "loud"),
            ("severity", ""),
        ],
    )
    def test_wrong(self, item: tuple[str, str]) -> None:
        """A wrong parameter is rejected, and the error names it."""
        with pytest.raises(BadRequest, match=item[0]):
            read_query([item])

    def test_many(self) -> None:
        """All types of a long URL are read."""
        query = read_query(("type", str(number)) for number in range(20_000))
        assert len(query.types) == 20_000

    def test_limits(self) -> None:
        """A page has 1 to 100 items."""
        assert [read_query([("limit", text)]).limit for text in ("1", "100", "007")] == [1, 100, 7]

    @given(st.builds(Cursor, st.integers(0, 10**16 - 1), st.integers(0, 10**19 - 1)), NAMES)
    def test_next_comes_back(self, place: Cursor, name: str) -> None:
        """The `next` of a page is accepted as `before`, whatever the channel's name is."""
        for channel in ("all", f"user:{name}", f"topic:{name}"):
            assert read_query([("before", Place(place, channel).public)]).before == Place(place, channel)

    def test_wants(self) -> None:
        """Items match by flags, topic and type."""
        item = Item("topic:a", 2048, 0, type="x")
        new, read, archived = Flags(True, False, False), Flags(True, True, False), Flags(True, True, True)
        assert [Query("all").wants(item, flags) for flags in (new, read, archived)] == [True, True, False]
        assert [Query("unread").wants(item, flags) for flags in (new, read, archived)] == [True, False, False]
        assert [Query("archived").wants(item, flags) for flags in (new, read, archived)] == [False, False, True]
        assert Query(topics=frozenset("ab"), types=frozenset("xy")).wants(item, new)
        assert not Query(topics=frozenset("b")).wants(item, new)
        assert not Query(types=frozenset("y")).wants(item, new)
        assert not Query(topics=frozenset("a")).wants_channel("user:a")

    def test_unreadable_body(self) -> None:
        """A notification that cannot be read, from a service that checked less, is not wanted, and harms no other."""
        body = b'{"data":%b1%b,"type":"x"}' % (50_000 * b"[", 50_000 * b"]")
        assert not Query(types=frozenset("x")).wants_body(body)

    def test_wants_body(self) -> None:
        """Type and severity are also read from the body; a body without a type matches no type."""
        body = b'{"id":"x","type":"x","title":"t","severity":"error","data":{"type":"y"}}'
        assert Query().wants_body(b"")
        assert Query(types=frozenset("x"), severities=frozenset(["error"])).wants_body(body)
        assert not Query(types=frozenset("y")).wants_body(body)
        assert not Query(severities=frozenset(["info"])).wants_body(body)
        assert not Query(types=frozenset("x")).wants_body(b'{"id":"x","severity":"info"}')
