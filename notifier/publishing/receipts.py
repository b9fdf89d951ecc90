"""Receipts: whether a notification was delivered, read and archived."""

from collections.abc import Sequence
from typing import Any

from notifier.broker.store import Store, require
from notifier.protocol import channel as channels
from notifier.protocol import cursor, notification
from notifier.protocol import tenant as tenants


class Receipts:
    """The receipts of all notifications."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, id: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the receipts of a notification on those of its channels that still store it.

        Raises:
            BrokerUnavailable
        """
        commands = [self._store.call("find", (self._store.sharded(name),), (id,)) for name in names]
        found = zip(names, self._store.carry_out(commands, pipeline=self._store.reading), strict=True)
        return [_receipt(name, *reply) for name, reply in ((name, require(reply)) for name, reply in found) if reply]


def _receipt(channel: str, entry: bytes, kind: bytes, delivered: bytes, read: bytes, archived: bytes) -> dict[str, Any]:
    """Return a receipt: times on a user's channel, counts of users on a topic or `all`."""
    stored = notification.rfc3339(cursor.parse(entry).ms / 1000)
    marks = {"delivered": delivered, "read": read, "archived": archived}
    receipt = {"channel": tenants.public(channel), "stored_at": stored}
    if channels.is_user(channel):
        return receipt | {f"{name}_at": _time(ms) for name, ms in marks.items()}
    return receipt | {name: int(count or 0) for name, count in marks.items()}


def _time(ms: bytes) -> str | None:
    return notification.rfc3339(int(ms) / 1000) if ms else None
