"""Receipts of a notification, and explanations of what would happen to one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from notifier.client.inbox import read_time


class UserReceipt(NamedTuple):
    """When a notification on a user's channel was delivered, read and archived; None: not yet."""

    channel: str
    stored_at: datetime
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    archived_at: datetime | None = None


class SharedReceipt(NamedTuple):
    """How many users a notification on a topic or `all` was delivered to, and how many have read and archived it."""

    channel: str
    stored_at: datetime
    delivered: int = 0
    read: int = 0
    archived: int = 0


Receipt = UserReceipt | SharedReceipt


class Explanation(NamedTuple):
    """The expected outcome for a notification on a channel, and the reason: docs/http-api.md lists the reasons.

    For a topic, `members` has an explanation for each of its first members, by name, and `member_count` says how many
    members it has.
    """

    channel: str
    online: bool
    stored: bool
    inbox: bool
    counted: bool
    pushed: bool
    reason: str
    user: str | None = None  # set in the explanations of `members`
    member_count: int | None = None
    members: tuple["Explanation", ...] = ()


def read_receipt(document: Mapping[str, Any]) -> Receipt:
    """Return a receipt in an answer."""
    channel, stored = document["channel"], datetime.fromisoformat(document["stored_at"])
    if "delivered" in document:
        return SharedReceipt(channel, stored, document["delivered"], document["read"], document["archived"])
    times = (read_time(document[name]) for name in ("delivered_at", "read_at", "archived_at"))
    return UserReceipt(channel, stored, *times)


def read_explanation(document: Mapping[str, Any]) -> Explanation:
    """Return an explanation in an answer."""
    known = {name: document[name] for name in Explanation._fields if name in document}
    return Explanation(**known | {"members": tuple(read_explanation(member) for member in document.get("members", ()))})
