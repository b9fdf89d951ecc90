"""API keys: those of the settings, and managed ones, which every worker holds in memory.

Checking a key takes no request to Redis. Each worker asks Redis twice a second for keys that have changed, so that no
message can be missed. A worker that loses Redis keeps the keys that it has.
"""

import hmac
import threading
import time
from collections.abc import Iterable

from notifier.broker.key_list import KeyList
from notifier.errors import BrokerUnavailable, InvalidApiKey
from notifier.loop import Loop, in_turns
from notifier.protocol import key_text
from notifier.protocol.api_key import CHALLENGE, ApiKey
from notifier.protocol.ended_keys import EndedKeys
from notifier.protocol.key_record import KeyRecord

_REJECTED = "The API key is unknown, was revoked, or has expired."
_INTERVAL = 0.5  # seconds
_SWEEP = 60.0  # seconds between two removals of what has ended
_COARSE = 300.0  # seconds: how exactly it is known when a key was last used


class _Known:
    """A managed key as this worker checks it. Times are in Unix seconds."""

    __slots__ = ("digest", "expires", "key", "old_digest", "old_until", "record", "used")

    def __init__(self, record: KeyRecord) -> None:
        self.record = record
        self.key = record.api_key
        self.digest = bytes.fromhex(record.digest)
        self.old_digest = bytes.fromhex(record.old_digest)
        self.old_until = record.old_until / 1000
        self.expires = record.expires / 1000
        self.used = 0.0

    def has_ended(self, now: float) -> bool:
        """Return whether the key was revoked, or has expired at `now`."""
        return self.record.revoked > 0 or 0 < self.expires <= now

    def accepts(self, digest: bytes, now: float) -> bool:
        """Return whether this is the digest of a secret that is accepted at `now`."""
        return hmac.compare_digest(self.digest, digest) or (
            self.old_until > now and hmac.compare_digest(self.old_digest, digest)
        )


class ApiKeys:
    """All API keys of one service, as this worker knows them."""

    def __init__(self, of_settings: Iterable[ApiKey], stored: KeyList) -> None:
        self.of_settings = tuple(of_settings)
        self._secrets = [(key.secret.encode(), key) for key in self.of_settings]
        self._stored = stored
        self._known: dict[str, _Known] = {}  # by id
        self._ended = EndedKeys()
        self._version = 0
        self.is_loaded = False  # whether the managed keys are known
        self._used: dict[str, int] = {}  # by id: when it was last used, Unix ms, not stored yet
        self._read_at = 0.0
        self._has_failed = False  # the last time that this was read
        self._swept_at = time.monotonic()
        self._updating = threading.Lock()
        self._loop = Loop("API keys", self._step)

    def start(self) -> None:
        """Begin to ask for changes."""
        self._loop.start()

    def stop(self) -> None:
        """Stop asking for changes."""
        self._loop.stop()

    def find(self, text: str) -> ApiKey:
        """Return the key with this text.

        Raises:
            InvalidApiKey: it is unknown, was revoked, or has expired.
            BrokerUnavailable: this worker does not know the key, and cannot ask Redis for new ones.
        """
        id = key_text.id_of(text)
        known = self._known.get(id) if id else None
        if known is None:
            return self._of_settings(text, id)
        return self._accepted(known, text) or self._after_update(known.key.id, text)

    def update(self) -> None:
        """Learn what has changed until now. Callers that wait for another one share what that reads, or its failure.

        Raises:
            BrokerUnavailable
        """
        asked = time.monotonic()
        with self._updating:
            if self._read_at <= asked:
                self._read_at, self._has_failed = time.monotonic(), True
                self._read()
                self._has_failed = False
            elif self._has_failed:
                raise BrokerUnavailable("API keys cannot be looked up now.")

    def count(self, group: str) -> int:
        """Return how many managed keys of a group have not ended."""
        now = time.time()
        known = in_turns(list(self._known.values()))
        return sum(each.record.group == group and not each.has_ended(now) for each in known)

    def sweep(self, now: float) -> None:
        """Forget the records of keys that have ended at `now`, in Unix seconds, and the ids of older ones."""
        for known in [known for known in list(self._known.values()) if known.has_ended(now)]:
            self._end(known.record)
        self._ended.sweep(int(1000 * now))

    def note_used(self) -> None:
        """Store when keys were last used.

        Raises:
            BrokerUnavailable
        """
        if self._used:
            used, self._used = self._used, {}
            try:
                self._stored.note_used(used)
            except BrokerUnavailable:
                self._used = used | self._used
                raise

    def _read(self) -> None:
        # If this fails, all keys are read next time: another server may come, which has lost the last changes.
        start, self._version = self._version, 0
        version, records = self._stored.since(start)
        if version < start:
            start = 0
            version, records = self._stored.since(0)
        self._learn(records, is_all=start == 0)
        self._version = version
        self.is_loaded = True

    def _accepted(self, known: _Known, text: str) -> ApiKey | None:
        """Return a key if a text is accepted for it. None: another worker may have given it a new secret.

        Raises:
            InvalidApiKey: the key has ended.
        """
        now = time.time()
        if known.has_ended(now):
            raise InvalidApiKey(_REJECTED, headers=CHALLENGE)
        if not known.accepts(key_text.digest_of(text), now):
            return None
        if now - known.used > _COARSE:
            known.used = now
            self._used[known.key.id] = int(1000 * now)
        return known.key

    def _of_settings(self, text: str, id: str | None) -> ApiKey:
        """Return the key of the settings with a text, or a managed key that another worker has just made."""
        secret, found = text.encode(), None
        for known, key in self._secrets:
            # All are compared, so that the time taken does not reveal how much of a guess was right.
            if hmac.compare_digest(known, secret):
                found = key
        if found is not None:
            return found
        if id is None:
            raise InvalidApiKey("Send Authorization: Bearer <api key>.", headers=CHALLENGE)
        return self._after_update(id, text)

    def _after_update(self, id: str, text: str) -> ApiKey:
        if not key_text.is_intact(text):
            raise InvalidApiKey("The checksum of the API key is wrong: it was mistyped or cut off.", headers=CHALLENGE)
        if id not in self._ended:
            self.update()
        known = self._known.get(id)
        found = self._accepted(known, text) if known else None
        if found is None:
            raise InvalidApiKey(_REJECTED, headers=CHALLENGE)
        return found

    def _learn(self, records: list[KeyRecord], *, is_all: bool) -> None:
        """Note records; `is_all`: there are no others. A key that was revoked stays revoked, also if Redis forgot."""
        now = time.time()
        fresh: dict[str, _Known] = {} if is_all else self._known
        for record in in_turns(records):
            before, known = self._known.get(record.id), _Known(record)
            if known.has_ended(now):
                fresh.pop(record.id, None)  # it ended while the keys were read, and an earlier page has it
                self._end(record)
            elif not self._ended.is_revoked(record.id):
                fresh[record.id] = known
                self._ended.forget(record.id)
                known.used = before.used if before else 0.0
        self._known = fresh

    def _end(self, record: KeyRecord) -> None:
        """Remember of a key that has ended no more than its id, and whether it was revoked."""
        self._ended.add(record.id, record.group, record.forgotten_at, is_revoked=record.revoked > 0)
        self._known.pop(record.id, None)

    def _step(self) -> None:
        self.update()
        self.note_used()
        if time.monotonic() - self._swept_at > _SWEEP:
            self._swept_at = time.monotonic()
            self.sweep(time.time())
        time.sleep(_INTERVAL)
