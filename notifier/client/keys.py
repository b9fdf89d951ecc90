"""API keys and entries of the audit log, as a client sees them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from notifier.client.inbox import read_time


class Key(NamedTuple):
    """An API key. `topics` and `users` are names or patterns; times are None if there is none.

    `tenant` is None for the default one. Keys in the settings of the service have no `created_at`, and cannot be
    changed by requests.
    `old_secret_until` is set during a rotation: until then the secret before is accepted, too. `last_used_at` is known
    to some minutes.
    """

    id: str
    name: str
    tenant: str | None
    scopes: tuple[str, ...]
    topics: tuple[str, ...]
    users: tuple[str, ...]
    test: bool
    created_at: datetime | None
    created_by: str
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    old_secret_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class NewKey(NamedTuple):
    """A key with a new secret. Nobody can look up its `text` later, so store it now."""

    text: str
    key: Key

    def __repr__(self) -> str:
        return f"NewKey(text=..., key={self.key!r})"


class AuditEntry(NamedTuple):
    """An action, the API key and the address that it came from, and its target: docs/http-api.md has the actions."""

    id: str
    at: datetime
    action: str
    key_id: str
    key_name: str
    address: str
    request_id: str
    target: dict[str, Any]


def read_key(document: Mapping[str, Any]) -> Key:
    """Return a key in an answer."""
    values = {name: document[name] for name in Key._fields if name in document}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif name.endswith(("_at", "_until")):
            values[name] = read_time(value)
    return Key(**values)


def read_new_key(document: Mapping[str, Any]) -> NewKey:
    """Return a key with its text."""
    return NewKey(document["key"], read_key(document))


def read_entry(document: Mapping[str, Any]) -> AuditEntry:
    """Return an entry of the audit log."""
    key = document["key"]
    return AuditEntry(
        document["id"],
        datetime.fromisoformat(document["at"]),
        document["action"],
        key["id"],
        key["name"],
        document["address"],
        document["request_id"],
        document["target"],
    )
