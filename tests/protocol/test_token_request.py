"""Requests for tokens and revocations: what is accepted, and where the faults are."""

import json
from typing import Any

import pytest

from notifier.errors import InvalidTokenRequest, MalformedJson
from notifier.protocol import identity
from notifier.protocol.token_request import (
    Revocation,
    TokenRequest,
    read_revocation,
    read_token_request,
    require_sendable,
)
from tests.kit.cases import rows

NOW = 1_763_661_600.5


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def pointers(error: pytest.ExceptionInfo[InvalidTokenRequest]) -> set[str]:
    return {fault.pointer for fault in error.value.faults}


def test_token() -> None:
    """A user is enough; the default lifetime is an hour, or the greatest."""
    assert read_token_request(body(user="alice"), 9999) == TokenRequest("alice", (), (), 3600)
    assert read_token_request(body(user="alice"), 60).expires_in == 60
    asked = body(user="alice", topics=["a", "b:*", "*"], publish=["c"], expires_in=9999)
    assert read_token_request(asked, 9999) == TokenRequest("alice", ("a", "b:*", "*"), ("c",), 9999)


@rows(
    "fields, where",
    [
        ({"user": None}, "/user"),
        ({"user": "a b"}, "/user"),
        ({"user": 5}, "/user"),
        ({"topics": "a"}, "/topics"),
        ({"topics": [5]}, "/topics/0"),
        ({"topics": ["a", "b c"]}, "/topics/1"),
        ({"topics": ["a*b"]}, "/topics/0"),
        ({"topics": [""]}, "/topics/0"),
        ({"publish": ["x"] * 101}, "/publish"),
        ({"expires_in": 0}, "/expires_in"),
        ({"expires_in": 101}, "/expires_in"),
        ({"expires_in": 1.5}, "/expires_in"),
        ({"expires_in": True}, "/expires_in"),
        ({"expires_in": None}, "/expires_in"),
        ({"sub": "alice"}, "/sub"),
    ],
)
def test_bad_token(fields: dict[str, Any], where: str) -> None:
    """Each fault has a pointer."""
    with pytest.raises(InvalidTokenRequest) as caught:
        read_token_request(body(**{"user": "alice"} | fields), 100)
    assert pointers(caught) == {where}


@rows("characters", ["x", "\u6f22"])
def test_too_long(characters: str) -> None:
    """A token that no header can carry is rejected; one with a hundred topics of 60 characters is not."""
    secret, topics = "a-secret-of-the-tests-that-is-long-enough", [f"{number:03}" for number in range(100)]
    token = identity.sign("alice", secret, NOW, [name.ljust(60, "x") for name in topics])
    assert require_sendable(token) == token
    with pytest.raises(InvalidTokenRequest) as caught:
        require_sendable(identity.sign("alice", secret, NOW, [name.ljust(128, characters) for name in topics]))
    assert [fault.code for fault in caught.value.faults] == ["too_long"]


def test_revocation() -> None:
    """A user's tokens are revoked until now or another time, or one token by its id."""
    assert read_revocation(body(user="alice"), NOW) == Revocation("alice", NOW)
    assert read_revocation(body(user="alice", issued_before=5), NOW) == Revocation("alice", 5)
    assert read_revocation(body(user="alice", issued_before=NOW + 60), NOW) == Revocation("alice", NOW + 60)
    assert read_revocation(body(jti="x"), NOW) == Revocation(id="x")


@rows(
    "fields, where",
    [
        ({}, ""),
        ({"user": "alice", "jti": "x"}, ""),
        ({"user": "a b"}, "/user"),
        ({"jti": ""}, "/jti"),
        ({"jti": 5}, "/jti"),
        ({"jti": "x" * 1025}, "/jti"),
        ({"jti": "x", "issued_before": 5}, "/issued_before"),
        ({"user": "alice", "issued_before": -1}, "/issued_before"),
        ({"user": "alice", "issued_before": NOW + 61}, "/issued_before"),
        ({"user": "alice", "issued_before": "5"}, "/issued_before"),
        ({"user": "alice", "issued_before": True}, "/issued_before"),
        ({"user": "alice", "until": 5}, "/until"),
    ],
)
def test_bad_revocation(fields: dict[str, Any], where: str) -> None:
    """Each fault has a pointer."""
    with pytest.raises(InvalidTokenRequest) as caught:
        read_revocation(body(**fields), NOW)
    assert where in pointers(caught)


@rows("text", [b"", b"[]", b"{", b"null", b"\xff"])
def test_no_object(text: bytes) -> None:
    """The body is a JSON object."""
    with pytest.raises(MalformedJson):
        read_token_request(text, 100)
    with pytest.raises(MalformedJson):
        read_revocation(text, NOW)
