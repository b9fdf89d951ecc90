"""The rules of an operator's calls about API keys and the audit log."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.client import ConfigurationError, Key, ProblemError, TooOld
from notifier.client.calls import Calls, Pause
from notifier.client.key_calls import KeyCalls
from tests.kit.cases import rows
from tests.kit.play import URL, Clock, Play, problem, reason, refused, reply

AT = "2026-11-21T08:00:00.000Z"
TIME = datetime(2026, 11, 21, 8, tzinfo=UTC)
KEY: dict[str, Any] = {
    "id": "key-1",
    "name": "Shop",
    "tenant": None,
    "scopes": ["publish"],
    "topics": ["*"],
    "users": [],
    "test": False,
    "created_at": AT,
    "created_by": "root",
    "expires_at": None,
    "rotated_at": None,
    "old_secret_until": None,
    "revoked_at": None,
    "last_used_at": AT,
    "later": "unknown",
}
READ = Key("key-1", "Shop", None, ("publish",), ("*",), (), False, TIME, "root", last_used_at=TIME)


def keys(api_key: str | None = "the-key") -> KeyCalls:
    """Return the calls of an operator."""
    return KeyCalls(Calls(URL, api_key, clock=Clock(), random=lambda: 1.0))


def test_create() -> None:
    """Arguments that are not given are not sent; each attempt has the same idempotency key."""
    play = Play(keys().create("Shop", "publish", None, None, None, False, None, None))
    first = play.step.request
    assert (first.method, first.path) == ("POST", "/v1/keys")
    assert json.loads(first.body) == {"name": "Shop", "scopes": ["publish"], "test": False}
    assert first.headers["Idempotency-Key"]
    assert isinstance(play.answer(refused()), Pause)
    assert play.answer().request == first
    play.answer(reply(201, KEY | {"key": "nk_live_x"}))
    assert (play.result.text, play.result.key) == ("nk_live_x", READ)
    assert "nk_live_x" not in repr(play.result)


def test_create_with_all() -> None:
    """All fields can be requested; one name is a list of one, and an empty list stays one."""
    play = Play(keys().create("Shop", ["publish", "recall"], "orders", (), 60, True, "acme", None))
    assert json.loads(play.step.request.body) == {
        "name": "Shop",
        "scopes": ["publish", "recall"],
        "topics": ["orders"],
        "users": [],
        "expires_in": 60,
        "test": True,
        "tenant": "acme",
    }


def test_page() -> None:
    """A page is asked for after the last key of the one before."""
    play = Play(keys().page(None, None))
    assert (play.step.request.method, play.step.request.path) == ("GET", "/v1/keys?limit=1000")
    in_settings = KEY | {"created_at": None, "last_used_at": None}
    play.answer(reply(200, {"keys": [in_settings, KEY], "next": "key-1"}))
    assert play.result.keys == (READ._replace(created_at=None, last_used_at=None), READ)
    assert Play(keys().page("key-1", None)).step.request.path == "/v1/keys?limit=1000&after=key-1"


@rows(("overlap", "sent"), [(None, {}), (0, {"overlap": 0}), (60, {"overlap": 60})])
def test_rotate(overlap: int | None, sent: dict[str, int]) -> None:
    """The overlap is that of the service, unless it is given."""
    play = Play(keys().rotate("a/b", overlap, None))
    assert (play.step.request.path, json.loads(play.step.request.body)) == ("/v1/keys/a%2Fb/rotate", sent)
    assert play.step.request.headers["Idempotency-Key"]
    play.answer(reply(200, KEY | {"key": "nk_live_y", "old_secret_until": AT}))
    assert play.result == ("nk_live_y", READ._replace(old_secret_until=TIME))


def test_revoke() -> None:
    """A key is revoked by its id. One that is unknown is a problem, and no old service."""
    play = Play(keys().revoke("key-1", None))
    assert (play.step.request.method, play.step.request.path) == ("DELETE", "/v1/keys/key-1")
    assert play.answer(reply(204)._replace(body=b"")) is None
    for steps in (keys().revoke("key-1", None), keys().rotate("key-1", None, None)):
        with pytest.raises(ProblemError, match="not_found"):
            Play(steps).answer(problem(404, "not_found"))


def test_audit() -> None:
    """Entries come in pages, the newest first."""
    play = Play(keys().audit("5-0", None, None))
    assert play.step.request.path == "/v1/audit?limit=1000&before=5-0"
    entry = {"id": "4-0", "at": AT, "action": "user.erased", "key": {"id": "key-1", "name": "Shop"}}
    entry |= {"address": "192.0.2.7", "request_id": "r-1", "target": {"user": "alice"}, "later": 1}
    play.answer(reply(200, {"entries": [entry], "next": "4-0"}))
    [read] = play.result.entries
    assert read == ("4-0", TIME, "user.erased", "key-1", "Shop", "192.0.2.7", "r-1", {"user": "alice"})
    assert play.result.next == "4-0"


PARTS = [
    (lambda: keys().create("Shop", "publish", None, None, None, False, None, None), "API keys"),
    (lambda: keys().page("key-1", None), "API keys"),
    (lambda: keys().audit(None, None, None), "audit log"),
]


@rows(("steps", "part"), PARTS)
def test_older_service(steps: Any, part: str) -> None:
    """The error for an older service names what is missing."""
    error = reason(steps(), 405)
    assert isinstance(error, TooOld) and f"which has no {part} yet" in str(error)


@rows("steps", [steps for steps, _ in PARTS])
def test_wrong_path(steps: Any) -> None:
    """A URL with a wrong path is no older service: nothing is found there."""
    error = reason(steps(), 404)
    assert isinstance(error, ProblemError) and (error.status, error.code) == (404, "not_found")


def test_no_api_key() -> None:
    """Without an API key nothing is sent."""
    with pytest.raises(ConfigurationError, match="NOTIFIER_API_KEY"):
        Play(keys(None).revoke("key-1", None))
