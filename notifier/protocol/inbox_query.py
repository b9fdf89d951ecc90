"""Queries of the inbox: what a request for a list asks for, and at which items an action is aimed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from notifier.errors import BadRequest, Fault, InvalidInboxAction, MalformedJson
from notifier.protocol import channel as channels
from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_view import Flags
from notifier.protocol.notification import SEVERITIES, pointer

STATUSES = ("all", "unread", "archived")
ANY = "any"  # what is archived, too; no request can ask for it
MAX_LIMIT = 100
MAX_MUTES = 100
_DEFAULT_LIMIT = 20


class Place(NamedTuple):
    """A place in a list: it goes on with what comes before this item."""

    cursor: Cursor
    channel: str

    @property
    def key(self) -> tuple[int, str]:
        """By what a list is sorted, the highest first."""
        return self.cursor.rank, self.channel

    def __str__(self) -> str:
        return f"{self.cursor}~{self.channel}"


class Query(NamedTuple):
    """Which items a list has. Where nothing is named, all of them are wanted."""

    status: str = "all"
    limit: int = _DEFAULT_LIMIT
    before: Place | None = None
    types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()

    @property
    def needs_bodies(self) -> bool:
        """Whether only the notification itself tells if it is wanted."""
        return bool(self.types or self.severities)

    def wants_channel(self, channel: str) -> bool:
        """Tell whether items of a channel may be wanted."""
        return not self.topics or channels.topic_of(channel) in self.topics

    def wants(self, item: Item, flags: Flags) -> bool:
        """Tell whether an item may be wanted, whose body is not known yet."""
        is_there = self.status == ANY or flags.archived == (self.status == "archived")
        if not is_there or (self.status == "unread" and flags.read):
            return False
        return self.wants_channel(item.channel) and (not self.types or item.type in self.types)

    def wants_body(self, body: bytes) -> bool:
        """Tell whether a notification is wanted, which is on a channel that may be."""
        if not self.needs_bodies:
            return True
        kind = _decode_kind(body)
        return (not self.types or kind.type in self.types) and (not self.severities or kind.severity in self.severities)


class Target(NamedTuple):
    """At which items an action is aimed: those of these notifications, or all up to an entry."""

    ids: tuple[str, ...] = ()
    up_to: Cursor | None = None


def read_query(items: Iterable[tuple[str, str]]) -> Query:
    """Return what the items of a query ask for; other items are somebody else's.

    Raises:
        BadRequest
    """
    query = Query()
    for name, value in items:
        match name:
            case "status":
                query = query._replace(status=_one_of(name, value, STATUSES))
            case "limit":
                query = query._replace(limit=read_limit(value, MAX_LIMIT))
            case "before":
                query = query._replace(before=_place(value))
            case "type":
                query = query._replace(types=query.types | {value})
            case "topic":
                query = query._replace(topics=query.topics | {value})
            case "severity":
                query = query._replace(severities=query.severities | {_one_of(name, value, SEVERITIES)})
    return query


def read_limit(text: str, most: int) -> int:
    """Return how long a page shall be.

    Raises:
        BadRequest
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise BadRequest(f"limit: a whole number from 1 to {most}.")
    return int(text)


def read_target(body: bytes, most: int) -> Target:
    """Return at what the body of a request is aimed, which names at most so many notifications.

    Raises:
        MalformedJson, InvalidInboxAction
    """
    members = read_object(body)
    faults = unknown_fields(members, ("ids", "up_to"))
    if faults:
        raise InvalidInboxAction(faults=faults)
    return aim(members.get("ids"), members.get("up_to"), most)


def aim(ids: Any, up_to: Any, most: int) -> Target:
    """Return the target that these members of a request or a frame describe, exactly one of which is given.

    Raises:
        InvalidInboxAction
    """
    if (ids is None) == (up_to is None):
        raise _fault("", "required", "Name either ids or up_to.")
    if up_to is not None:
        return Target(up_to=read_cursor(up_to, "/up_to"))
    if not isinstance(ids, list | tuple):
        raise _fault("/ids", "wrong_type", "Expected a list of ids.")
    if len(ids) > most:
        raise _fault("/ids", "too_many", f"At most {most} at once.")
    for index, id in enumerate(ids):
        # What cannot be an id is not one of this inbox; it only has to be text that can be sent back.
        if not isinstance(id, str) or not 0 < len(id) <= 128 or not id.isprintable():
            raise _fault(f"/ids/{index}", "wrong_type", "Expected the id of a notification.")
    return Target(ids=tuple(dict.fromkeys(ids)))


def read_cursor(value: Any, pointer: str) -> Cursor:
    """Return the cursor that a member is.

    Raises:
        InvalidInboxAction
    """
    try:
        place = cursor.parse(value)
    except (ValueError, TypeError, AttributeError):
        raise _fault(pointer, "invalid_cursor", "A cursor is <milliseconds>-<sequence>.") from None
    return place


def read_mutes(body: bytes) -> tuple[list[str], list[str]]:
    """Return the types and topics that a user wants to be spared.

    Raises:
        MalformedJson, InvalidInboxAction
    """
    members = read_object(body)
    faults = unknown_fields(members, ("types", "topics"))
    lists = {name: members.get(name, []) for name in ("types", "topics")}
    for name, values in lists.items():
        if not isinstance(values, list) or not all(map(_is_name, values)):
            faults.append(Fault(f"/{name}", "wrong_type", "Expected a list of names, of at most 128 characters each."))
        elif name == "topics":
            named = ((index, channels.fault_of_topic(value)) for index, value in enumerate(values))
            faults += [Fault(f"/topics/{index}", "invalid_name", fault) for index, fault in named if fault]
    if not faults and sum(map(len, lists.values())) > MAX_MUTES:
        faults.append(Fault("", "too_many", f"At most {MAX_MUTES} types and topics together."))
    if faults:
        raise InvalidInboxAction(faults=faults[:50])
    return list(dict.fromkeys(lists["types"])), list(dict.fromkeys(lists["topics"]))


def read_object(body: bytes) -> dict[str, Any]:
    """Return the members of a JSON object.

    Raises:
        MalformedJson
    """
    try:
        return _decode_object(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedJson(str(error)) from error


def unknown_fields(members: Iterable[str], known: tuple[str, ...]) -> list[Fault]:
    """Return a fault for each member that is not known, but no endless list of them."""
    unknown = [name for name in members if name not in known][:50]
    return [Fault(pointer(name), "unknown_field", f"Known are {', '.join(known)}.") for name in unknown]


class _Kind(msgspec.Struct):
    type: str = ""
    severity: str = "info"


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def _fault(pointer: str, code: str, detail: str) -> InvalidInboxAction:
    return InvalidInboxAction(faults=[Fault(pointer, code, detail)])


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable()


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise BadRequest(f"{name}: one of {', '.join(choices)}.")
    return value


def _place(text: str) -> Place:
    entry, _, channel = text.partition("~")
    try:
        place = cursor.parse(entry)
    except ValueError:
        raise BadRequest("before: what `next` of the page before was.") from None
    if not (channel == channels.ALL or channel.startswith(("user:", "topic:"))):
        raise BadRequest("before: what `next` of the page before was.")
    return Place(place, channel)
