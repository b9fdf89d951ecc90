"""Requests to the inbox: which items an action changes, and what a user wants to mute."""

from notifier.errors import InvalidInboxAction
from notifier.protocol import channel as channels
from notifier.protocol.faults import Faults
from notifier.protocol.inbox_target import Target, aim
from notifier.protocol.request_fields import check_names, read_fields, read_lists

MAX_MUTES = 100


def read_target(body: bytes, most: int) -> Target:
    """Return the target in the body of a request; it may name up to `most` notifications.

    Raises:
        MalformedJson, InvalidInboxAction
    """
    faults = Faults(InvalidInboxAction)
    fields = read_fields(body, ("ids", "up_to"), most, faults)
    faults.check()
    return aim(fields.get("ids"), fields.get("up_to"), most)


def read_mutes(body: bytes) -> tuple[list[str], list[str]]:
    """Return the types and topics to mute from the body of a request.

    Raises:
        MalformedJson, InvalidInboxAction
    """
    faults = Faults(InvalidInboxAction)
    fields = read_fields(body, ("types", "topics"), MAX_MUTES, faults)
    types, topics = read_lists(fields, ("types", "topics"), MAX_MUTES, faults)
    check_names("types", types, _fault_of_type, faults)
    check_names("topics", topics, channels.fault_of_topic, faults)
    faults.check()
    return list(dict.fromkeys(types)), list(dict.fromkeys(topics))


def _fault_of_type(name: str) -> str | None:
    if 0 < len(name) <= 128 and name.isprintable():
        return None
    return "A type has 1 to 128 characters, no control characters and no line breaks."
