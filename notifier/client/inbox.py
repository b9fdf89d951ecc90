"""What the service tells of a user's inbox."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

Status = Literal["all", "unread", "archived"]  # "all" is what is not archived
Action = Literal["seen", "read", "unread", "archive", "unarchive"]
ACTIONS = get_args(Action)


class Counts(NamedTuple):
    """How an inbox stands: how many items that are not muted have not been read, and not been seen.

    `revision` rises with every change of the user's flags, mutes or memberships. At `expires_at` the next item expires,
    so the counts change by themselves then.
    """

    unread: int
    unseen: int
    revision: int
    expires_at: datetime | None = None


class Item(NamedTuple):
    """A notification in an inbox. `notification` has its members, as docs/http-api.md lists them.

    What is archived is read, and what is read is seen. What is `muted` is not counted.
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
    """A part of an inbox, the newest items first.

    `next` is what to give as `before` for the next page; None on the last one. Everything up to `cursor` was looked at:
    an action up to it spares what came later.
    """

    items: tuple[Item, ...]
    next: str | None
    cursor: str
    counts: Counts


class Marked(NamedTuple):
    """What came of an action. `unknown` are the ids that are not in this inbox."""

    counts: Counts
    changed: bool
    unknown: tuple[str, ...] = ()


class Mutes(NamedTuple):
    """The types and topics whose notifications shall neither be pushed nor counted."""

    types: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


class Change(NamedTuple):
    """What changed an inbox: one of the actions, for `ids` or for all up to a cursor, or "mutes" or "topics"."""

    revision: int
    action: str
    ids: tuple[str, ...] = ()
    up_to: str | None = None


def read_counts(document: Mapping[str, Any]) -> Counts:
    """Return how an inbox stands, as an answer or a frame tells it."""
    counts = document["counts"]
    return Counts(counts["unread"], counts["unseen"], document["revision"], read_time(document.get("expires_at")))


def read_page(document: Mapping[str, Any]) -> Page:
    """Return a page, as an answer tells it."""
    items = tuple(_item(item) for item in document["items"])
    return Page(items, document["next"], document["cursor"], read_counts(document))


def read_marked(document: Mapping[str, Any]) -> Marked:
    """Return what came of an action, as an answer tells it."""
    return Marked(read_counts(document), document["changed"], tuple(document["unknown"]))


def read_mutes(document: Mapping[str, Any]) -> Mutes:
    """Return what is muted, as an answer tells it."""
    return Mutes(tuple(document["types"]), tuple(document["topics"]))


def read_change(document: Mapping[str, Any]) -> Change:
    """Return a change, as a frame tells it."""
    ids = tuple(document.get("ids", ()))
    return Change(document["revision"], document["action"], ids, document.get("up_to"))


def read_time(text: str | None) -> datetime | None:
    """Return a time, where there is one."""
    return None if text is None else datetime.fromisoformat(text)


def _item(document: Mapping[str, Any]) -> Item:
    notification = document["notification"]
    flags = (document[name] for name in ("seen", "read", "archived", "muted"))
    return Item(notification["id"], document["channel"], document["cursor"], notification, *flags)
