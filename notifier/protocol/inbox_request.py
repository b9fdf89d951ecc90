"""Requests to the inbox: which items an action changes, and what a user wants to mute."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from notifier.errors import Fault, InvalidInboxAction, MalformedJson
from notifier.protocol import channel as channels
from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor
from notifier.protocol.notification import pointer

MAX_MUTES = 100


class Target(NamedTuple):
    """At which items an action is aimed: those of these notifications, or all up to an entry."""

    ids: tuple[str, ...] = ()
    up_to: Cursor | None = None


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


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def _fault(pointer: str, code: str, detail: str) -> InvalidInboxAction:
    return InvalidInboxAction(faults=[Fault(pointer, code, detail)])


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable()
