"""The audit log: it grows at its end, and loses oldest entries beyond a limit.

It has parts, so that entries of one kind, or of keys that may do little, never remove others. Within a part the script
`audit/append.lua` removes the oldest entry of the key that has caused most of them.
"""

import heapq
import itertools
from typing import Any

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.protocol import audit, cursor
from notifier.protocol.audit import PARTS, Entry
from notifier.protocol.cursor import BEGINNING, Cursor


class AuditLog:
    """The audit logs of all tenants. Every method but `command` may raise `BrokerUnavailable`."""

    def __init__(self, max_entries: int, store: Store) -> None:
        self._most = {part: int(max_entries * share) for part, share in PARTS.items()}
        self._store = store

    def append(self, *entries: Entry) -> None:
        """Append entries."""
        self._store.tell([self.command(entry) for entry in entries])

    def command(self, entry: Entry) -> bytes:
        """Return the command that appends an entry, to be written together with others."""
        arguments = (entry.text, entry.part, entry.key, self._most[entry.part])
        return self._store.call("audit", (self._name(entry.tenant),), arguments)

    def page(self, before: Cursor | None, limit: int, tenant: str = "") -> list[dict[str, Any]]:
        """Return up to `limit` entries before one, the newest first."""
        if before == BEGINNING:
            return []
        end = f"({before}" if before else "+"
        reads = [pack("XREVRANGE", f"{self._name(tenant)}:{part}", end, "-", "COUNT", limit) for part in PARTS]
        parts = [[(id.decode(), fields[1]) for id, fields in require(each)] for each in self._store.execute(reads)]
        found = heapq.merge(*parts, key=lambda entry: cursor.parse(entry[0]), reverse=True)
        return [audit.document(id, text) for id, text in itertools.islice(found, limit)]

    def _name(self, tenant: str) -> str:
        return self._store.sharded(f"audit:{tenant}" if tenant else "audit")
