"""Entries of the audit log."""

import json

import pytest

from notifier.errors import BadRequest
from notifier.protocol import audit
from notifier.protocol.api_key import ApiKey
from notifier.protocol.audit import Author
from notifier.protocol.cursor import Cursor
from tests.kit.cases import rows

AUTHOR = Author("key-1", "Shop", "192.0.2.7", "w-1")


def test_entry() -> None:
    """An entry contains the action and its target, author, time and address."""
    entry = audit.encode(audit.ERASED, AUTHOR, {"user": "alice"})
    assert audit.document("1800000000000-3", entry) == {
        "id": "1800000000000-3",
        "at": "2027-01-15T08:00:00.000Z",
        "action": "user.erased",
        "key": {"id": "key-1", "name": "Shop"},
        "address": "192.0.2.7",
        "request_id": "w-1",
        "target": {"user": "alice"},
    }
    assert json.loads(entry)["action"] == "user.erased"


@rows(
    ("action", "part"),
    [(audit.KEY_REVOKED, "security"), (audit.TOKENS_REVOKED, "security"), (audit.EXPORTED, "security")]
    + [(audit.BROADCAST, "others"), (audit.RECALLED, "others"), (audit.MEMBERS_CHANGED, "others")],
)
def test_parts(action: str, part: str) -> None:
    """Entries about keys, tokens and users have a part of the log, and those by limited keys, too."""
    full, limited = ApiKey("a", "", tenant="acme"), ApiKey("b", "", users=("x",), holder="c")
    entries = [audit.entry(action, AUTHOR, by, {}) for by in (full, limited)]
    assert [each[1:] for each in entries] == [(part, "a", "acme"), (f"{part}-limited", "c", "")]
    assert sum(audit.PARTS.values()) == 1 and {each.part for each in entries} <= set(audit.PARTS)


def test_names() -> None:
    """However many users a change names, its entry is short."""
    assert audit.names(["a", "b"]) == ["a", "b"]
    assert len(audit.names([str(number) for number in range(1000)])) == 10


@rows(("text", "before"), [("", None), ("5-7", Cursor(5, 7)), ("0-0", Cursor(0, 0))])
def test_before(text: str, before: Cursor | None) -> None:
    """A page begins at the newest entry, or before one."""
    assert audit.read_before(text) == before


@rows("text", ["x", "5", "+", "5-", "-", "5-7-9"])
def test_wrong_before(text: str) -> None:
    """Anything else is rejected."""
    with pytest.raises(BadRequest):
        audit.read_before(text)
