"""The audit log: a stream that grows at its end, and loses its oldest entries beyond a limit."""

from typing import Any

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store
from notifier.protocol import audit
from notifier.protocol.cursor import BEGINNING, Cursor


class AuditLog:
    """The audit logs of all tenants. Every method but `command` may raise `BrokerUnavailable`."""

    def __init__(self, max_entries: int, store: Store) -> None:
        self._max_entries = max_entries
        self._store = store

    def append(self, entry: bytes, tenant: str = "") -> None:
        """Append an entry."""
        self._store.tell([self.command(entry, tenant)])

    def command(self, entry: bytes, tenant: str = "") -> bytes:
        """Return the command that appends an entry, to be written together with others."""
        return pack("XADD", self._key(tenant), "MAXLEN", "~", self._max_entries, "*", "entry", entry)

    def page(self, before: Cursor | None, limit: int, tenant: str = "") -> list[dict[str, Any]]:
        """Return up to `limit` entries before one, the newest first."""
        if before == BEGINNING:
            return []
        end = f"({before}" if before else "+"
        found = self._store.ask("XREVRANGE", self._key(tenant), end, "-", "COUNT", limit)
        return [audit.document(id.decode(), fields[1]) for id, fields in found]

    def _key(self, tenant: str) -> str:
        return self._store.of(f"audit:{tenant}" if tenant else "audit", "log")
