"""Requests to the inbox: which are accepted, and which are rejected with which fault."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import InvalidInboxAction, MalformedJson, Problem
from notifier.protocol.cursor import Cursor
from notifier.protocol.inbox_request import read_mutes, read_target
from notifier.protocol.inbox_target import Target
from tests.kit.cases import rows


def target(most: int = 3, **members: Any) -> Target:
    return read_target(json.dumps(members).encode(), most)


def fault(body: object, read: Any = None) -> tuple[str, str]:
    """Return the pointer and the code of the only fault of a body."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidInboxAction) as caught:
        (read or (lambda body: read_target(body, 3)))(text)
    [found] = caught.value.faults
    return found.pointer, found.code


class TestTarget:
    def test_ids(self) -> None:
        """A target may name notifications by id; duplicates are dropped, the order is kept, and it may be empty."""
        assert target(ids=["b", "a", "b"]) == Target(("b", "a"))
        assert target(ids=[]) == Target()
        id = "019a0000-0000-7000-8000-00000000000a"
        assert target(ids=[id.upper(), id, "B"]) == Target((id, "B"))

    def test_up_to(self) -> None:
        """A target may be all items up to a cursor."""
        assert target(up_to="5-1") == Target(up_to=Cursor(5, 1))
        assert target(up_to="5-1", ids=None) == Target(up_to=Cursor(5, 1))

    @rows(
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
        """A fault has a pointer to the wrong field."""
        assert fault(body) == expected

    @rows("body", [b"", b"[]", b"{", b"null", b'{"ids":["\\ud800"]}', b'{"ids":["\xff"]}', b"[" * 9999])
    def test_no_json(self, body: bytes) -> None:
        """A body that is not a JSON object is rejected."""
        with pytest.raises(MalformedJson):
            read_target(body, 3)

    def test_most(self) -> None:
        """The greatest number of ids is accepted, one more is rejected."""
        assert len(target(3, ids=["a", "b", "c"]).ids) == 3


def mutes(**members: Any) -> tuple[list[str], list[str]]:
    return read_mutes(json.dumps(members).encode())


class TestMutes:
    def test_lists(self) -> None:
        """Types and topics are read without duplicates; both are optional."""
        assert mutes(types=["a", "b c", "a"], topics=["t"]) == (["a", "b c"], ["t"])
        assert mutes() == mutes(types=[]) == ([], [])

    def test_most(self) -> None:
        """At most a hundred types and topics are accepted together."""
        types, topics = mutes(
            types=[f"a{number}" for number in range(60)], topics=[f"b{number}" for number in range(40)]
        )
        assert len(types + topics) == 100

    @rows(
        ("body", "expected"),
        [
            ({"types": "a"}, ("/types", "wrong_type")),
            ({"types": None}, ("/types", "wrong_type")),
            ({"types": [5]}, ("/types/0", "invalid_name")),
            ({"types": [""]}, ("/types/0", "invalid_name")),
            ({"types": ["x" * 129]}, ("/types/0", "invalid_name")),
            ({"types": ["a\tb"]}, ("/types/0", "invalid_name")),
            ({"types": ["a\u2028"]}, ("/types/0", "invalid_name")),
            ({"topics": ["a", "b*"]}, ("/topics/1", "invalid_name")),
            ({"topics": ["{a}"]}, ("/topics/0", "invalid_name")),
            ({"types": ["a"] * 101}, ("", "too_many")),
            ({"mutes": []}, ("/mutes", "unknown_field")),
        ],
    )
    def test_wrong(self, body: object, expected: tuple[str, str]) -> None:
        """A fault has a pointer to the wrong field."""
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
    """Any body is either accepted, or rejected with a documented problem."""
    for read in (lambda: read_target(body, 3), lambda: read_mutes(body)):
        try:
            read()
        except Problem as error:
            assert isinstance(error, MalformedJson | InvalidInboxAction)
