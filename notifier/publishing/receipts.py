"""Receipts: whether a notification was delivered, read and archived."""

from collections.abc import Callable, Sequence
from typing import Any

from notifier.broker.store import Store, require
from notifier.protocol import channel as channels
from notifier.protocol import cursor, notification
from notifier.protocol import tenant as tenants

_AT_ONCE = 16  # logs that are searched in one write
_READ = 1 << 20  # bytes of a log that are searched at once, about


class Receipts:
    """The receipts of all notifications."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(
        self, id: str, names: Sequence[str], count: Callable[[int], object] = lambda number: None
    ) -> list[dict[str, Any]]:
        """Return the receipts of a notification on those of its channels that still store it.

        `count` is called with the number of logs before they are read; one that is long counts again for each megabyte.

        Raises:
            BrokerUnavailable, or what `count` raises
        """
        found: dict[str, dict[str, Any]] = {}
        behind = [(name, "") for name in names]
        while behind:
            some, behind = behind[:_AT_ONCE], behind[_AT_ONCE:]
            count(len(some))
            for (name, _), reply in zip(some, self._find(id, some), strict=True):
                if len(reply) == 1:
                    behind.append((name, reply[0].decode()))
                elif reply:
                    found[name] = _receipt(name, *reply)
        return [found[name] for name in names if name in found]

    def _find(self, id: str, places: list[tuple[str, str]]) -> list[Any]:
        """Search logs from their places on."""
        commands = [
            self._store.call("find", (self._store.sharded(name),), (id, place, _READ)) for name, place in places
        ]
        return [require(reply) for reply in self._store.carry_out(commands, pipeline=self._store.reading)]


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
