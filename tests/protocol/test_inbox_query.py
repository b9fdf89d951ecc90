"""Queries of the inbox, the targets of actions, and mutes: what is read, and what is refused with which fault."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadRequest, InvalidInboxAction, MalformedJson, NotifierError
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_query import Place, Query, Target, read_mutes, read_query, read_target
from notifier.protocol.inbox_view import Flags

ID = "019a0000-0000-7000-8000-000000000000"


def target(most: int = 3, **members: Any) -> Target:
    return read_target(json.dumps(members).encode(), most)


def fault(body: object, read: Any = None) -> tuple[str, str]:
    """Return pointer and code of the only fault of a body."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidInboxAction) as caught:
        (read or (lambda body: read_target(body, 3)))(text)
    [found] = caught.value.faults
    return found.pointer, found.code


class TestQuery:
    def test_nothing(self) -> None:
        """Who asks for nothing in particular gets the first twenty that are not archived."""
        assert read_query([]) == Query("all", 20, None, frozenset(), frozenset(), frozenset())

    def test_everything(self) -> None:
        """Each parameter is read; types, topics and severities may be repeated; others are somebody else's."""
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

    @pytest.mark.parametrize(
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
        """A wrong parameter is refused, and named."""
        with pytest.raises(BadRequest, match=item[0]):
            read_query([item])

    def test_limits(self) -> None:
        """From 1 to 100 at once."""
        assert [read_query([("limit", text)]).limit for text in ("1", "100", "007")] == [1, 100, 7]

    @given(st.builds(Cursor, st.integers(0, 10**16 - 1), st.integers(0, 10**19 - 1)), st.text(max_size=9))
    def test_next_comes_back(self, place: Cursor, name: str) -> None:
        """What a page says comes next is what the next one is asked for, whatever the channel's name is."""
        for channel in ("all", f"user:{name}", f"topic:{name}"):
            assert read_query([("before", str(Place(place, channel)))]).before == Place(place, channel)

    def test_wants(self) -> None:
        """Items are wanted by what was done with them, their topic and their type."""
        item = Item("topic:a", "1-0", 2048, ID, type="x")
        new, read, archived = Flags(True, False, False), Flags(True, True, False), Flags(True, True, True)
        assert [Query("all").wants(item, flags) for flags in (new, read, archived)] == [True, True, False]
        assert [Query("unread").wants(item, flags) for flags in (new, read, archived)] == [True, False, False]
        assert [Query("archived").wants(item, flags) for flags in (new, read, archived)] == [False, False, True]
        assert Query(topics=frozenset("ab"), types=frozenset("xy")).wants(item, new)
        assert not Query(topics=frozenset("b")).wants(item, new)
        assert not Query(types=frozenset("y")).wants(item, new)
        assert not Query(topics=frozenset("a")).wants_channel("user:a")

    def test_wants_body(self) -> None:
        """What is not known before its body is read is told from that; what names no type has none."""
        body = b'{"id":"x","type":"x","title":"t","severity":"error","data":{"type":"y"}}'
        assert Query().wants_body(b"")
        assert Query(types=frozenset("x"), severities=frozenset(["error"])).wants_body(body)
        assert not Query(types=frozenset("y")).wants_body(body)
        assert not Query(severities=frozenset(["info"])).wants_body(body)
        assert not Query(types=frozenset("x")).wants_body(b'{"id":"x","severity":"info"}')


class TestTarget:
    def test_ids(self) -> None:
        """Notifications are named by their ids, each once, in order; none is none."""
        assert target(ids=["b", "a", "b"]) == Target(("b", "a"))
        assert target(ids=[]) == Target()

    def test_up_to(self) -> None:
        """Or all up to a cursor."""
        assert target(up_to="5-1") == Target(up_to=Cursor(5, 1))
        assert target(up_to="5-1", ids=None) == Target(up_to=Cursor(5, 1))

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, ("", "required")),
            ({"ids": None, "up_to": None}, ("", "required")),
            ({"ids": [], "up_to": "1-0"}, ("", "required")),
            ({"ids": "abc"}, ("/ids", "wrong_type")),
            ({"ids": {"0": "a"}}, ("/ids", "wrong_type")),
            ({"ids": 5}, ("/ids", "wrong_type")),
            ({"ids": ["a", 5]}, ("/ids/1", "wrong_type")),
            ({"ids": [""]}, ("/ids/0", "wrong_type")),
            ({"ids": [None]}, ("/ids/0", "wrong_type")),
            ({"ids": ["a\n"]}, ("/ids/0", "wrong_type")),
            ({"ids": ["x" * 129]}, ("/ids/0", "wrong_type")),
            ({"ids": ["a", "b", "c", "d"]}, ("/ids", "too_many")),
            ({"ids": ["a", "a", "a", "a"]}, ("/ids", "too_many")),
            ({"up_to": ""}, ("/up_to", "invalid_cursor")),
            ({"up_to": "now"}, ("/up_to", "invalid_cursor")),
            ({"up_to": 5}, ("/up_to", "invalid_cursor")),
            ({"up_to": ["1-0"]}, ("/up_to", "invalid_cursor")),
            ({"up_to": "-1-0"}, ("/up_to", "invalid_cursor")),
            ({"up_to": "1-0~all"}, ("/up_to", "invalid_cursor")),
            ({"up_to": "1" * 17 + "-0"}, ("/up_to", "invalid_cursor")),
            ({"ids": [], "a/b~c": 1}, ("/a~1b~0c", "unknown_field")),
            ({"id": "a"}, ("/id", "unknown_field")),
        ],
    )
    def test_wrong(self, body: object, expected: tuple[str, str]) -> None:
        """What is wrong is pointed at."""
        assert fault(body) == expected

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{", b"null", b'{"ids":["\\ud800"]}', b'{"ids":["\xff"]}', b"[" * 9999]
    )
    def test_no_json(self, body: bytes) -> None:
        """A body that is no JSON object is no action."""
        with pytest.raises(MalformedJson):
            read_target(body, 3)

    def test_most(self) -> None:
        """As many as the bound are taken."""
        assert len(target(3, ids=["a", "b", "c"]).ids) == 3


def mutes(**members: Any) -> tuple[list[str], list[str]]:
    return read_mutes(json.dumps(members).encode())


class TestMutes:
    def test_lists(self) -> None:
        """Types and topics are read, each once; what is not named is not muted."""
        assert mutes(types=["a", "b c", "a"], topics=["t"]) == (["a", "b c"], ["t"])
        assert mutes() == mutes(types=[]) == ([], [])

    def test_most(self) -> None:
        """A hundred together."""
        types, topics = mutes(
            types=[f"a{number}" for number in range(60)], topics=[f"b{number}" for number in range(40)]
        )
        assert len(types + topics) == 100

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"types": "a"}, ("/types", "wrong_type")),
            ({"types": None}, ("/types", "wrong_type")),
            ({"types": [5]}, ("/types", "wrong_type")),
            ({"types": [""]}, ("/types", "wrong_type")),
            ({"types": ["x" * 129]}, ("/types", "wrong_type")),
            ({"topics": ["a", "b*"]}, ("/topics/1", "invalid_name")),
            ({"topics": ["{a}"]}, ("/topics/0", "invalid_name")),
            ({"types": ["a"] * 101}, ("", "too_many")),
            ({"mutes": []}, ("/mutes", "unknown_field")),
        ],
    )
    def test_wrong(self, body: object, expected: tuple[str, str]) -> None:
        """What is wrong is pointed at."""
        assert fault(body, read_mutes) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["ids", "up_to", "types", "topics", "x"])


@given(
    st.dictionaries(NAMES, JSON, max_size=3).map(lambda members: json.dumps(members).encode()) | st.binary(max_size=20)
)
def test_any_body(body: bytes) -> None:
    """Whatever comes is read, or refused as a documented problem."""
    for read in (lambda: read_target(body, 3), lambda: read_mutes(body)):
        try:
            read()
        except NotifierError as error:
            assert isinstance(error, MalformedJson | InvalidInboxAction)
