"""Requests to the inbox: which items an action changes, and what a user wants to mute."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from notifier.errors import Fault, InvalidInboxAction, MalformedJson
from notifier.protocol import channel as channels
from notifier.protocol import cursor, json_text
from notifier.protocol.cursor import Cursor
from notifier.protocol.notification_fields import pointer
from notifier.protocol.notification_id import canonical_id

MAX_MUTES = 100


class Target(NamedTuple):
    """The items that an action changes: those of these notifications, or all up to an entry."""

    ids: tuple[str, ...] = ()
    up_to: Cursor | None = None


def read_target(body: bytes, most: int) -> Target:
    """Return the target in the body of a request; it may name up to `most` notifications.

    Raises:
        MalformedJson, InvalidInboxAction
    """
    fields = read_object(body)
    faults = unknown_fields(fields, ("ids", "up_to"))
    if faults:
        raise InvalidInboxAction(faults=faults)
    return aim(fields.get("ids"), fields.get("up_to"), most)


def aim(ids: Any, up_to: Any, most: int) -> Target:
    """Return the target that these fields of a request or a frame describe. Exactly one of them must be given.

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
        raise _fault("/ids", "too_many", f"At most {most} ids in one request.")
    for index, id in enumerate(ids):
        # Any text that can be returned as an unknown id is accepted.
        if not isinstance(id, str) or not 0 < len(id) <= 128 or not id.isprintable():
            raise _fault(f"/ids/{index}", "wrong_type", "Expected the id of a notification.")
    return Target(ids=tuple(dict.fromkeys(map(canonical_id, ids))))


def read_cursor(value: Any, pointer: str) -> Cursor:
    """Return the cursor in a field; `pointer` is the JSON Pointer of the field.

    Raises:
        InvalidInboxAction
    """
    try:
        place = cursor.parse(value)
    except (ValueError, TypeError, AttributeError):
        raise _fault(pointer, "invalid_cursor", "A cursor is <milliseconds>-<sequence>.") from None
    return place


def read_mutes(body: bytes) -> tuple[list[str], list[str]]:
    """Return the types and topics to mute from the body of a request.

    Raises:
        MalformedJson, InvalidInboxAction
    """
    fields = read_object(body)
    faults = unknown_fields(fields, ("types", "topics"))
    lists = {name: fields.get(name, []) for name in ("types", "topics")}
    for name, values in lists.items():
        if not isinstance(values, list) or not all(map(_is_name, values)):
            faults.append(Fault(f"/{name}", "wrong_type", "Expected a list of names with at most 128 characters each."))
        elif name == "topics":
            named = ((index, channels.fault_of_topic(value)) for index, value in enumerate(values))
            faults += [Fault(f"/topics/{index}", "invalid_name", fault) for index, fault in named if fault]
    if not faults and sum(map(len, lists.values())) > MAX_MUTES:
        faults.append(Fault("", "too_many", f"At most {MAX_MUTES} types and topics together."))
    if faults:
        raise InvalidInboxAction(faults=faults[:50])
    return list(dict.fromkeys(lists["types"])), list(dict.fromkeys(lists["topics"]))


def read_object(body: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        MalformedJson
    """
    try:
        return _decode_object(json_text.utf8_of(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedJson(str(error)) from error


def unknown_fields(names: Iterable[str], known: tuple[str, ...]) -> list[Fault]:
    """Return a fault for each unknown field, at most 50."""
    unknown = [name for name in names if name not in known][:50]
    return [Fault(pointer(name), "unknown_field", f"The known fields are {', '.join(known)}.") for name in unknown]


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def _fault(pointer: str, code: str, detail: str) -> InvalidInboxAction:
    return InvalidInboxAction(faults=[Fault(pointer, code, detail)])


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable()
