"""The list of managed API keys: their records, in the order in which they changed, and when each was last used."""

from collections.abc import Mapping
from typing import NamedTuple

import redis

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.errors import TooManyKeys
from notifier.loop import in_turns
from notifier.protocol import key_record
from notifier.protocol.key_record import KeyRecord
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

_PAGE = 200  # records of one answer, with up to some KB each


class Stored(NamedTuple):
    """A record, the text that stores it, and when the key was last used, in Unix ms; 0: never."""

    record: KeyRecord
    text: bytes
    used: int = 0


class KeyList:
    """The managed keys of all workers. Every method may raise `BrokerUnavailable`.

    There are at most `max_keys`, of which a tenth is left for the operator to create. Of each group, as many keys that
    have ended are stored as a tenth, too: so nobody removes those of others by creating and revoking keys.
    """

    def __init__(self, settings: BrokerSettings, max_keys: int, store: Store) -> None:
        self._settings = settings
        self._max_keys = max_keys
        self._store = store

    def put(self, record: KeyRecord, before: bytes = b"", *, is_operator: bool = False) -> bool:
        """Store a record that replaces the one with the text `before`; empty: a new one. `is_operator`: it is its.

        Returns whether it was stored: it was not if the record has changed in the meantime. With `min_replicas`, a
        change that too few replicas have may be lost, and is not acknowledged.

        Raises:
            TooManyKeys
        """
        tenth = self._max_keys // 10
        most = self._max_keys - (0 if is_operator else tenth)
        stored = (record.id, record.encode(), before, record.forgotten_at, key_record.KEPT)
        arguments = (*stored, most, record.group, max(tenth, 1))
        command = self._store.call("put_key", (self._store.sharded("keys"),), arguments)
        [reply] = self._store.carry_out([command], self._settings.min_replicas)
        if isinstance(reply, redis.ResponseError) and str(reply).startswith("FULL"):
            metrics.LIMITED.labels("keys").inc()
            raise TooManyKeys(f"At most {most} keys.")
        return bool(require(reply))

    def get(self, id: str) -> Stored | None:
        """Return a record."""
        text = self._store.ask("HGET", self._key("records"), id)
        return Stored(key_record.decode(text), text) if text else None

    def since(self, version: int) -> tuple[int, list[KeyRecord]]:
        """Return all that has changed since a version, and the version that the caller has then.

        A version that is lower than the caller's is that of another database, or records of later changes were removed:
        read from version 0 again.
        """
        # While all records are read, others may be removed that have changed since: so the caller has no later version.
        begun, least = version, 0 if version else int(self._store.ask("GET", self._key("version")) or 0)
        records: list[KeyRecord] = []
        while True:
            call = self._store.call("changed_keys", (self._store.sharded("keys"),), (version, _PAGE, begun))
            reached, *found = require(self._store.carry_out([call])[0])
            records += map(key_record.decode, in_turns(found))
            if reached <= version:
                return reached if begun else least, records
            version = reached

    def page(self, after: str, limit: int) -> list[Stored]:
        """Return up to `limit` records after an id, in the order of their ids."""
        begin = f"({after}" if after else "-"
        ids = self._store.ask("ZRANGEBYLEX", self._key("names"), begin, "+", "LIMIT", 0, limit)
        if not ids:
            return []
        commands = [pack("HMGET", self._key(what), *ids) for what in ("records", "used")]
        texts, used = map(require, self._store.execute(commands))
        found = in_turns(zip(texts, used, strict=True))
        return [Stored(key_record.decode(text), text, int(ms or 0)) for text, ms in found if text]

    def note_used(self, times: Mapping[str, int]) -> None:
        """Note when keys were last used, in Unix ms."""
        arguments = tuple(part for pair in times.items() for part in pair)
        require(self._store.carry_out([self._store.call("used_keys", (self._store.sharded("keys"),), arguments)])[0])

    def _key(self, what: str) -> str:
        return self._store.of("keys", what)
