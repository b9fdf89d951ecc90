"""The audit log: a stream that grows at its end, and loses its oldest entries beyond a limit."""

from typing import Any

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store
from notifier.protocol import audit
from notifier.protocol.cursor import BEGINNING, Cursor


class AuditLog:
    """The audit log of all workers. Every method but `command` may raise `BrokerUnavailable`."""

    def __init__(self, max_entries: int, store: Store) -> None:
        self._max_entries = max_entries
        self._store = store

    def append(self, entry: bytes) -> None:
        """Append an entry."""
        self._store.tell([self.command(entry)])

    def command(self, entry: bytes) -> bytes:
        """Return the command that appends an entry, to be written together with others."""
        return pack("XADD", self._key, "MAXLEN", "~", self._max_entries, "*", "entry", entry)

    def page(self, before: Cursor | None, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` entries before one, the newest first."""
        if before == BEGINNING:
            return []
        end = f"({before}" if before else "+"
        found = self._store.ask("XREVRANGE", self._key, end, "-", "COUNT", limit)
        return [audit.document(id.decode(), fields[1]) for id, fields in found]

    @property
    def _key(self) -> str:
        return self._store.of("audit", "log")
