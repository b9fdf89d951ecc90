"""API keys and the audit log of recording clients."""

import time
from typing import Any

import msgspec

from notifier.errors import BadRequest, KeyRotating, NotFound
from notifier.protocol import audit, key_text
from notifier.protocol import cursor as cursors
from notifier.protocol import tenant as tenants
from notifier.protocol.audit import Author
from notifier.protocol.inbox_query import read_limit
from notifier.protocol.key_record import KeyRecord
from notifier.protocol.key_request import read_key_request, read_rotation

_AUTHOR = Author("recorded", "", "127.0.0.1", "")


class KeyMemory:
    """All recorded keys, and the entries of the audit log. Secrets are numbered, so that tests can foresee them."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}  # by id
        self.entries: list[dict[str, Any]] = []  # the newest last
        self._secrets = 0

    def note(self, action: str, **target: Any) -> None:
        """Append an entry to the audit log."""
        id = f"{_now()}-{len(self.entries)}"
        self.entries.append(audit.document(id, audit.encode(action, _AUTHOR, target)))

    def page(self) -> dict[str, Any]:
        """Return all keys."""
        return {"keys": [record.document(_now()) for _, record in sorted(self.records.items())], "next": None}

    def audit_page(self, query: dict[str, str]) -> dict[str, Any]:
        """Return entries of the audit log. All are those of the default tenant, to which the client belongs."""
        if fault := tenants.fault_of(query["tenant"]) if query.get("tenant") else None:
            raise BadRequest(f"tenant: {fault}")
        limit, before = (
            read_limit(query.get("limit", "100"), audit.MAX_LIMIT),
            audit.read_before(query.get("before", "")),
        )
        entries = [] if query.get("tenant") else self.entries[::-1]
        page = [entry for entry in entries if not before or cursors.parse(entry["id"]) < before][:limit]
        return {"entries": page, "next": page[-1]["id"] if len(page) == limit else None}

    def create(self, body: bytes) -> dict[str, Any]:
        """Create a key."""
        asked, now = read_key_request(body), _now()
        id = key_text.new_id((len(self.records) + 1).to_bytes(key_text.ID_BYTES))
        self.note(audit.KEY_CREATED, key=id, name=asked.name, scopes=asked.scopes)
        expires = now + 1000 * asked.expires_in if asked.expires_in else 0
        rights = (asked.scopes, asked.topics, asked.users)
        record = KeyRecord(id, asked.name, *rights, now, _AUTHOR.key, "", expires=expires, is_test=asked.is_test)
        record = msgspec.structs.replace(record, tenant=asked.tenant or "")
        return self._made(record)

    def rotate(self, id: str, body: bytes) -> dict[str, Any]:
        """Give a key a new secret."""
        record, overlap = self._find(id), read_rotation(body)
        if record.revoked:
            raise NotFound("The key was revoked or has expired.")
        if overlap and record.is_rotating(_now()):
            raise KeyRotating()
        self.note(audit.KEY_ROTATED, key=id, name=record.name, overlap=overlap)
        return self._made(record.rotate("", _now(), 1000 * overlap, ""))

    def revoke(self, id: str) -> dict[str, Any]:
        """Revoke a key."""
        record = self._find(id)
        self.note(audit.KEY_REVOKED, key=id, name=record.name)
        self.records[id] = record.revoke(_now())
        return {}

    def _find(self, id: str) -> KeyRecord:
        if id not in self.records:
            raise NotFound("There is no such key.")
        return self.records[id]

    def _made(self, record: KeyRecord) -> dict[str, Any]:
        self.records[record.id] = record
        self._secrets += 1
        secret = self._secrets.to_bytes(key_text.SECRET_BYTES)
        return {"key": key_text.new_text(record.id, secret, is_test=record.is_test)} | record.document(_now())


def _now() -> int:
    return int(1000 * time.time())
