"""The items of an inbox that an action changes, as fields of a request or a frame name them."""

from typing import Any, NamedTuple

from notifier.errors import Fault, InvalidInboxAction
from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor
from notifier.protocol.notification_id import canonical_id


class Target(NamedTuple):
    """The items that an action changes: those of these notifications, or all up to an entry."""

    ids: tuple[str, ...] = ()
    up_to: Cursor | None = None


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


def _fault(pointer: str, code: str, detail: str) -> InvalidInboxAction:
    return InvalidInboxAction(faults=[Fault(pointer, code, detail)])
