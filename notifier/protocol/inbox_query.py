"""Queries of the inbox: which items a request for a list wants."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from notifier.errors import BadRequest
from notifier.protocol import channel as channels
from notifier.protocol import cursor
from notifier.protocol import tenant as tenants
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_state import Flags
from notifier.protocol.notification_fields import SEVERITIES

STATUSES = ("all", "unread", "archived")
ANY = "any"  # archived items too; used by exports, not available to requests
MAX_LIMIT = 100
_DEFAULT_LIMIT = 20
_WRONG_PLACE = "before must be the `next` of the previous page."


class Place(NamedTuple):
    """A place in a list: the next page begins with the item before this one."""

    cursor: Cursor
    channel: str

    @property
    def key(self) -> tuple[int, str]:
        """The sort key of a list, the highest first."""
        return self.cursor.rank, self.channel

    @property
    def public(self) -> str:
        """The place as text, with the channel as its tenant knows it."""
        return f"{self.cursor}~{tenants.public(self.channel)}"


class Query(NamedTuple):
    """Which items a list contains. An empty set of types, topics or severities means any."""

    status: str = "all"
    limit: int = _DEFAULT_LIMIT
    before: Place | None = None
    types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()

    @property
    def needs_bodies(self) -> bool:
        """Whether notifications have to be read to decide if they are wanted."""
        return bool(self.types or self.severities)

    def scoped(self, tenant: str) -> "Query":
        """Return the query for an inbox of a tenant."""
        if not tenant:
            return self
        before = self.before and self.before._replace(channel=tenants.scoped_channel(tenant, self.before.channel))
        topics = frozenset(tenants.scoped(tenant, topic) for topic in self.topics)
        return self._replace(before=before, topics=topics)

    def wants_channel(self, channel: str) -> bool:
        """Return whether items of a channel may be wanted."""
        return not self.topics or channels.topic_of(channel) in self.topics

    def wants(self, item: Item, flags: Flags) -> bool:
        """Return whether an item may be wanted, as far as can be decided without its notification."""
        is_listed = self.status == ANY or flags.archived == (self.status == "archived")
        if not is_listed or (self.status == "unread" and flags.read):
            return False
        return self.wants_channel(item.channel) and (not self.types or item.type in self.types)

    def wants_body(self, body: bytes) -> bool:
        """Return whether a notification is wanted; its channel and flags have been checked."""
        if not self.needs_bodies:
            return True
        try:
            kind = _decode_kind(body)
        except (msgspec.DecodeError, RecursionError):  # stored by an older service, which checked less
            return False
        return (not self.types or kind.type in self.types) and (not self.severities or kind.severity in self.severities)


def read_query(items: Iterable[tuple[str, str]]) -> Query:
    """Return the query that a request's query string asks for; unknown names are ignored.

    Raises:
        BadRequest
    """
    query = Query()
    types, topics, severities = set[str](), set[str](), set[str]()
    for name, value in items:
        match name:
            case "status":
                query = query._replace(status=_one_of(name, value, STATUSES))
            case "limit":
                query = query._replace(limit=read_limit(value, MAX_LIMIT))
            case "before":
                query = query._replace(before=_place(value))
            case "type":
                types.add(value)
            case "topic":
                topics.add(value)
            case "severity":
                severities.add(_one_of(name, value, SEVERITIES))
    return query._replace(types=frozenset(types), topics=frozenset(topics), severities=frozenset(severities))


def read_limit(text: str, most: int) -> int:
    """Return a page size.

    Raises:
        BadRequest
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise BadRequest(f"limit must be a whole number from 1 to {most}.")
    return int(text)


class _Kind(msgspec.Struct):
    type: str = ""
    severity: str = "info"


_decode_kind = msgspec.json.Decoder(_Kind).decode


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise BadRequest(f"{name} must be one of {', '.join(choices)}.")
    return value


def _place(text: str) -> Place:
    entry, _, channel = text.partition("~")
    try:
        place = cursor.parse(entry)
    except ValueError:
        raise BadRequest(_WRONG_PLACE) from None
    if not (channel == channels.ALL or channel.startswith(("user:", "topic:"))):
        raise BadRequest(_WRONG_PLACE)
    return Place(place, channel)
