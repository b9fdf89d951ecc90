"""What became of a notification with those it was for, and what would become of one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from notifier.client.inbox import read_time


class UserReceipt(NamedTuple):
    """What a user did with a notification on the own channel, and when; None where that did not happen yet."""

    channel: str
    stored_at: datetime
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    archived_at: datetime | None = None


class SharedReceipt(NamedTuple):
    """How many users were delivered a notification to a topic or to all, have read it, and archived it."""

    channel: str
    stored_at: datetime
    delivered: int = 0
    read: int = 0
    archived: int = 0


Receipt = UserReceipt | SharedReceipt


class Explanation(NamedTuple):
    """What would happen with a notification on a channel, and why: docs/http-api.md has the reasons.

    Of a topic, `members` tells it for the first of its members, by name, and `member_count` says how many there are.
    """

    channel: str
    online: bool
    stored: bool
    inbox: bool
    counted: bool
    pushed: bool
    reason: str
    user: str | None = None  # of a member of a topic
    member_count: int | None = None
    members: tuple["Explanation", ...] = ()


def read_receipt(document: Mapping[str, Any]) -> Receipt:
    """Return a receipt, as an answer tells it."""
    channel, stored = document["channel"], datetime.fromisoformat(document["stored_at"])
    if "delivered" in document:
        return SharedReceipt(channel, stored, document["delivered"], document["read"], document["archived"])
    times = (read_time(document[name]) for name in ("delivered_at", "read_at", "archived_at"))
    return UserReceipt(channel, stored, *times)


def read_explanation(document: Mapping[str, Any]) -> Explanation:
    """Return an explanation, as an answer tells it."""
    known = {name: document[name] for name in Explanation._fields if name in document}
    return Explanation(**known | {"members": tuple(read_explanation(member) for member in document.get("members", ()))})
