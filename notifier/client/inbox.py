"""A user's inbox, as answers and `state` frames of the service describe it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

Status = Literal["all", "unread", "archived"]  # "all" excludes archived items
Action = Literal["seen", "read", "unread", "archive", "unarchive"]
ACTIONS = get_args(Action)


class Counts(NamedTuple):
    """How many items of an inbox are unread, and unseen; muted items do not count.

    `revision` increases with every change to the user's flags, mutes or memberships. At `expires_at` the next item
    expires, which changes the counts without a change to the revision.
    """

    unread: int
    unseen: int
    revision: int
    expires_at: datetime | None = None


class Item(NamedTuple):
    """A notification in an inbox. `notification` has its fields, see docs/http-api.md.

    Archived items are read, and read items are seen. Items that are `muted` are not counted.
    """

    id: str
    channel: str
    cursor: str
    notification: dict[str, Any]
    seen: bool
    read: bool
    archived: bool
    muted: bool


class Page(NamedTuple):
    """A page of an inbox, the newest items first.

    Pass `next` as `before` to get the next page; it is None on the last page. The page was read at `cursor`: an action
    up to it does not include items that arrived later.
    """

    items: tuple[Item, ...]
    next: str | None
    cursor: str
    counts: Counts


class Marked(NamedTuple):
    """The result of an action. `unknown` are the ids that are not in this inbox."""

    counts: Counts
    changed: bool
    unknown: tuple[str, ...] = ()


class Mutes(NamedTuple):
    """The types and topics whose notifications are neither pushed nor counted."""

    types: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


class Change(NamedTuple):
    """A change to an inbox: an action on `ids` or on all items up to a cursor, or "mutes" or "topics"."""

    revision: int
    action: str
    ids: tuple[str, ...] = ()
    up_to: str | None = None


def read_counts(document: Mapping[str, Any]) -> Counts:
    """Return the counts in an answer or a frame."""
    counts = document["counts"]
    return Counts(counts["unread"], counts["unseen"], document["revision"], read_time(document.get("expires_at")))


def read_page(document: Mapping[str, Any]) -> Page:
    """Return the page in an answer."""
    items = tuple(_item(item) for item in document["items"])
    return Page(items, document["next"], document["cursor"], read_counts(document))


def read_marked(document: Mapping[str, Any]) -> Marked:
    """Return the result of an action in an answer."""
    return Marked(read_counts(document), document["changed"], tuple(document["unknown"]))


def read_mutes(document: Mapping[str, Any]) -> Mutes:
    """Return the mutes in an answer."""
    return Mutes(tuple(document["types"]), tuple(document["topics"]))


def read_change(document: Mapping[str, Any]) -> Change:
    """Return a change in a frame."""
    ids = tuple(document.get("ids", ()))
    return Change(document["revision"], document["action"], ids, document.get("up_to"))


def read_time(text: str | None) -> datetime | None:
    """Return a time; None if there is none."""
    return None if text is None else datetime.fromisoformat(text)


def _item(document: Mapping[str, Any]) -> Item:
    notification = document["notification"]
    flags = (document[name] for name in ("seen", "read", "archived", "muted"))
    return Item(notification["id"], document["channel"], document["cursor"], notification, *flags)
