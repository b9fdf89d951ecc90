"""The audit log: who did what, when and from where. No entry has a secret, or contents of a notification."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from notifier.errors import BadRequest
from notifier.protocol import cursor, notification
from notifier.protocol.api_key import ApiKey
from notifier.protocol.cursor import Cursor

BROADCAST, RECALLED = "notification.broadcast", "notification.recalled"
MEMBERS_CHANGED = "members.changed"
EXPORTED, ERASED, DISCONNECTED = "user.exported", "user.erased", "user.disconnected"
TOKENS_REVOKED = "tokens.revoked"
KEY_CREATED, KEY_ROTATED, KEY_REVOKED = "key.created", "key.rotated", "key.revoked"
_SECURITY = ("key.", "tokens.", "user.")  # the beginnings of actions
# The parts of the log, and how much of its room each has: entries about keys, tokens and users, and other ones, both by
# unlimited keys and by limited ones. No part takes the room of another.
PARTS = {"security": 0.4, "others": 0.4, "security-limited": 0.1, "others-limited": 0.1}
MAX_LIMIT = 1000  # entries of a page
_MOST_NAMES = 10  # of an entry

_encode = msgspec.json.Encoder().encode


class Author(NamedTuple):
    """The API key that sent a request, by its id and name, the address of its client, and the id of the request."""

    key: str
    name: str
    address: str
    request_id: str


class Entry(NamedTuple):
    """An entry as it is stored: in which part of the log of a tenant, and for which key it counts there."""

    text: bytes
    part: str
    key: str
    tenant: str = ""


def entry(action: str, author: Author, by: ApiKey, target: dict[str, Any]) -> Entry:
    """Return an entry about what a key does to a target."""
    share = by.share
    part = ("security" if action.startswith(_SECURITY) else "others") + ("-limited" if share.key else "")
    return Entry(encode(action, author, target), part, by.account, by.tenant)


def encode(action: str, author: Author, target: dict[str, Any]) -> bytes:
    """Return the text of an entry. `target` is what the action was done to."""
    return _encode(
        {
            "action": action,
            "key": {"id": author.key, "name": author.name},
            "address": author.address,
            "request_id": author.request_id,
            "target": target,
        }
    )


def document(id: str, entry: bytes) -> dict[str, Any]:
    """Return a stored entry as it is shown. `id` is that of the stream, which has the time."""
    at = notification.rfc3339(cursor.parse(id).ms / 1000)
    return {"id": id, "at": at} | msgspec.json.decode(entry, type=dict[str, Any])


def names(users: Sequence[str]) -> list[str]:
    """Return some of many users: an entry has a bounded length."""
    return list(users[:_MOST_NAMES])


def read_before(text: str) -> Cursor | None:
    """Return before which entry a page ends; None: it begins with the newest.

    Raises:
        BadRequest
    """
    try:
        return cursor.parse(text) if text else None
    except ValueError:
        raise BadRequest("before must be the id of an entry.") from None
