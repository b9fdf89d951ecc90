"""Arguments before a request is sent. Checks raise the problems that the service would answer with."""

import uuid
from collections.abc import Iterable

from notifier.client.errors import ProblemError
from notifier.protocol import channel as channels

Names = str | Iterable[str]  # one name, or several

_MAX_KEY = 255  # characters of an idempotency key


def names_of(names: Names) -> list[str]:
    """Return one name or several as a list."""
    return [names] if isinstance(names, str) else list(names)


def checked_user(name: str) -> str:
    """Return the name of a user.

    Raises:
        ProblemError: no user can have this name.
    """
    return _checked("user", name, channels.fault_of_name(name))


def checked_topic(name: str) -> str:
    """Return the name of a topic.

    Raises:
        ProblemError: no topic can have this name.
    """
    return _checked("topic", name, channels.fault_of_topic(name))


def new_key() -> str:
    """Return a random idempotency key."""
    return uuid.uuid4().hex


def key_or_new(key: str | None) -> str:
    """Return an idempotency key, or a random one for None.

    Raises:
        ProblemError: the key is empty, too long, or not printable ASCII.
    """
    if key is None:
        return new_key()
    if 0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable():
        return key
    title, detail = "The idempotency key is not valid.", f"From 1 to {_MAX_KEY} printable ASCII characters."
    raise ProblemError({"status": 422, "code": "invalid_idempotency_key", "title": title, "detail": detail})


def key_header(key: str) -> str:
    """Return the value of `Idempotency-Key` for a key.

    Spaces at the ends of a header are lost, and a quote begins a quoted string: such a key is sent as a quoted string
    (RFC 8941 section 3.3.3).
    """
    if key == key.strip() and not key.startswith('"'):
        return key
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _checked(kind: str, name: str, fault: str | None) -> str:
    if fault:
        title = "The request is malformed."
        raise ProblemError({"status": 400, "code": "bad_request", "title": title, "detail": f"{kind}: {fault}"})
    return name
