"""Faults of bodies: how many are listed, and that a long list is rejected before its values are looked at."""

import json
from collections.abc import Callable

import pytest

from notifier.errors import InvalidKeyRequest, MalformedJson, Problem
from notifier.protocol.faults import MOST_FAULTS, Faults
from notifier.protocol.inbox_request import MAX_MUTES, read_mutes, read_target
from notifier.protocol.key_request import read_key_request, read_rotation
from notifier.protocol.notification import Limits, parse
from notifier.protocol.request_fields import check_names, read_fields
from notifier.protocol.token_request import read_revocation, read_token_request
from tests.kit.cases import rows

READERS: dict[str, Callable[[bytes], object]] = {
    "ids": lambda body: read_target(body, 1000),
    "types": read_mutes,
    "scopes": read_key_request,
    "topics": lambda body: read_token_request(body, 60),
    "overlap": read_rotation,
    "jti": lambda body: read_revocation(body, 0),
}


@rows("number", [1, MOST_FAULTS - 1, MOST_FAULTS, MOST_FAULTS + 1])
def test_cut(number: int) -> None:
    """Some faults are listed, and an answer that may lack others says so."""
    faults = Faults(InvalidKeyRequest)
    for index in range(number):
        faults.add(f"/{index}", "unknown_field", "Not known.")
    with pytest.raises(InvalidKeyRequest) as caught:
        faults.check()
    assert len(caught.value.faults) == min(number, MOST_FAULTS)
    assert bool(caught.value.detail) is faults.is_full is (number >= MOST_FAULTS)


def test_none() -> None:
    """A body without faults is not rejected."""
    Faults(InvalidKeyRequest).check()


def test_names_end() -> None:
    """Once there are too many faults, no further name is looked at."""
    looked: list[str] = []
    check_names("users", map(str, range(1000)), lambda name: looked.append(name) or "Wrong.", Faults(InvalidKeyRequest))
    assert len(looked) == MOST_FAULTS


@rows("field", READERS)
@rows("value", ["", "{}", "\\", '"', 0, [], {}, None])
def test_long_list(field: str, value: object) -> None:
    """A list of far too many values is one fault, whatever the values are."""
    with pytest.raises(Problem) as caught:
        READERS[field](json.dumps({field: [value] * 20_000}).encode())
    assert [fault.code for fault in caught.value.faults] == ["too_many"]


@rows("field", READERS)
def test_many_fields(field: str) -> None:
    """So are far too many fields."""
    with pytest.raises(Problem) as caught:
        READERS[field](json.dumps({str(number): 0 for number in range(20_000)}).encode())
    assert [fault.code for fault in caught.value.faults] == ["too_many"]


@rows("name", ["\\" * 128, '"' * 128, "," * 128, "\\u" * 64, "é\U0001f600" * 64, '",' * 64])
def test_any_names(name: str) -> None:
    """Names of any characters are as many values as there are names."""
    names = [f"{name[:125]}{number:03}" for number in range(MAX_MUTES)]
    for text in (json.dumps({"types": names}), json.dumps({"types": names}, ensure_ascii=False)):
        assert read_mutes(text.encode()) == (names, [])


def test_one_too_many() -> None:
    """A list that is a little too long has a pointer, and its values have no faults."""
    for most in (100, 1000):
        body = json.dumps({"ids": [""] * (most + 1)}).encode()
        with pytest.raises(Problem) as caught:
            read_target(body, most)
        assert [fault.pointer for fault in caught.value.faults] == ["/ids"]
    with pytest.raises(Problem) as caught:
        read_key_request(json.dumps({"name": "a", "scopes": ["publish"], "users": [""] * 101}).encode())
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/users", "too_many")]


def test_notification() -> None:
    """Of a notification with many unknown fields, the first are listed."""
    body = json.dumps({str(number): 0 for number in range(5000)}).encode()
    with pytest.raises(Problem) as caught:
        parse(body, Limits())
    assert len(caught.value.faults) == MOST_FAULTS and caught.value.detail


@rows("body", [b"[" * 50_000, b"{]", b'"' * 3, b"\\" * 9, b""])
def test_not_json(body: bytes) -> None:
    """A body that is not JSON is rejected as such."""
    with pytest.raises(MalformedJson):
        read_fields(body, (), 0, Faults(InvalidKeyRequest))
