"""Requests for API keys: what may be requested, and the errors for mistakes."""

import json
from typing import Any

import pytest

from notifier.errors import InvalidKeyRequest, MalformedJson
from notifier.protocol.key_request import DEFAULT_OVERLAP, KeyRequest, read_key_request, read_rotation
from tests.kit.cases import rows

LEAST = {"name": "Shop", "scopes": ["publish"]}


def pointers(fields: Any) -> list[str]:
    """Return the pointers to the faults of a request."""
    with pytest.raises(InvalidKeyRequest) as caught:
        read_key_request(json.dumps(fields).encode())
    return [fault.pointer for fault in caught.value.faults]


def test_least() -> None:
    """A key has a name and scopes; it reaches all topics and users, and does not expire."""
    assert read_key_request(json.dumps(LEAST).encode()) == KeyRequest("Shop", ("publish",))


def test_all() -> None:
    """All other fields can be requested; scopes are in order, and duplicates are removed."""
    asked = LEAST | {
        "scopes": ["admin", "publish", "admin"],
        "topics": ["orders", "project:*", "orders"],
        "users": ["acme:*", "*", "a b"[0]],
        "expires_in": 60,
        "test": True,
        "tenant": "acme",
    }
    assert read_key_request(json.dumps(asked).encode()) == KeyRequest(
        "Shop", ("publish", "admin"), ("orders", "project:*"), ("acme:*", "*", "a"), 60, True, "acme"
    )


def test_nothing_granted() -> None:
    """An empty list grants nothing."""
    asked = read_key_request(json.dumps(LEAST | {"topics": [], "users": []}).encode())
    assert (asked.topics, asked.users) == ((), ())


@rows(
    ("fields", "found"),
    [
        ({}, ["/name", "/scopes"]),
        (LEAST | {"name": ""}, ["/name"]),
        (LEAST | {"name": " "}, ["/name"]),
        (LEAST | {"name": "a\nb"}, ["/name"]),
        (LEAST | {"name": "x" * 129}, ["/name"]),
        (LEAST | {"name": 5}, ["/name"]),
        (LEAST | {"scopes": []}, ["/scopes"]),
        (LEAST | {"scopes": "publish"}, ["/scopes"]),
        (LEAST | {"scopes": ["publish", "everything", 5, []]}, ["/scopes/1", "/scopes/2", "/scopes/3"]),
        (LEAST | {"scopes": ["publish"] * 101}, ["/scopes"]),
        (LEAST | {"topics": "orders"}, ["/topics"]),
        (LEAST | {"topics": None}, ["/topics"]),
        (LEAST | {"topics": ["a", "b c", "a*b"]}, ["/topics/1", "/topics/2"]),
        (LEAST | {"users": ["a", "", "*a", "{a}"]}, ["/users/1", "/users/2", "/users/3"]),
        (LEAST | {"users": [str(number) for number in range(101)]}, ["/users"]),
        (LEAST | {"users": [["a"]]}, ["/users/0"]),
        (LEAST | {"expires_in": 0}, ["/expires_in"]),
        (LEAST | {"expires_in": 10**9}, ["/expires_in"]),
        (LEAST | {"expires_in": 1.5}, ["/expires_in"]),
        (LEAST | {"expires_in": True}, ["/expires_in"]),
        (LEAST | {"expires_in": "60"}, ["/expires_in"]),
        (LEAST | {"test": "yes"}, ["/test"]),
        (LEAST | {"tenant": "A b"}, ["/tenant"]),
        (LEAST | {"tenant": ""}, ["/tenant"]),
        (LEAST | {"tenant": 5}, ["/tenant"]),
        (LEAST | {"secret": "mine", "user": "a"}, ["/secret", "/user"]),
    ],
)
def test_faults(fields: Any, found: list[str]) -> None:
    """Each mistake is named."""
    assert pointers(fields) == found


def test_many_faults() -> None:
    """A long list of mistakes is cut."""
    assert len(pointers(LEAST | {"scopes": ["x"] * 90, "users": ["{}"] * 90})) == 50


@rows("body", [b"", b"[]", b"{", b"\xff", b'"x"'])
def test_no_object(body: bytes) -> None:
    """The body is a JSON object."""
    with pytest.raises(MalformedJson):
        read_key_request(body)


@rows(
    ("body", "overlap"),
    [(b"", DEFAULT_OVERLAP), (b"{}", DEFAULT_OVERLAP), (b'{"overlap":0}', 0), (b'{"overlap":2592000}', 2592000)],
)
def test_rotation(body: bytes, overlap: int) -> None:
    """The old secret is accepted for a day, or for the requested time."""
    assert read_rotation(body) == overlap


@rows("body", [b'{"overlap":-1}', b'{"overlap":null}', b'{"overlap":2592001}', b'{"over":1}'])
def test_wrong_rotation(body: bytes) -> None:
    """A mistake must not end the old secret."""
    with pytest.raises(InvalidKeyRequest):
        read_rotation(body)
