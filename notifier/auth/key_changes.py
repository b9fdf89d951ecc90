"""Changes of managed API keys: create, rotate, revoke. The text of a key is returned once, and never stored."""

import contextlib
import hashlib
import secrets
import time
from typing import NamedTuple

from notifier.auth.api_keys import ApiKeys
from notifier.broker.key_list import KeyList, Stored
from notifier.errors import (
    BrokerUnavailable,
    Forbidden,
    IdempotencyMismatch,
    KeyChanged,
    KeyRotating,
    NotFound,
    TooManyKeys,
)
from notifier.loop import in_turns
from notifier.protocol import key_text
from notifier.protocol.api_key import ApiKey
from notifier.protocol.granted_page import granted
from notifier.protocol.key_record import KeyRecord
from notifier.protocol.key_request import KeyRequest
from notifier.telemetry import metrics

_RETRIED = 600_000  # ms after which a request is no retry
_TRIES = 5
_MOST_READ, _PAGE_BYTES = 100, 1_000_000  # records of a page that are read at once, and bytes after which it ends


class Made(NamedTuple):
    """The record of a key, and its text, which nobody can look up later."""

    record: KeyRecord
    text: str


class Retry(NamedTuple):
    """The identity of a request: one with the same `key` and `body` is a retry. One with an empty key never is."""

    key: str = ""
    body: bytes = b""

    @property
    def digest(self) -> str:
        """The digest that is stored for the request; empty without a key."""
        return hashlib.sha256(self.key.encode() + b" " + self.body).hexdigest() if self.key else ""


class KeyChanges:
    """The changes that one worker makes to managed keys. Every method may raise `BrokerUnavailable`.

    A key with the `admin` scope makes and changes only keys of its tenant whose topics and users it grants itself: with
    the secret of another key it could do more than it may. An unlimited key of the default tenant is the operator's: it
    makes and changes the keys of all tenants. A tenant has at most about `max_of_tenant` keys, and a limited key has
    created no more: workers that create keys at the same time do not count each other's.
    """

    def __init__(self, stored: KeyList, keys: ApiKeys, max_of_tenant: int) -> None:
        self._stored = stored
        self._keys = keys
        self._max_of_tenant = max_of_tenant

    def new_id(self, retry: Retry) -> str:
        """Return the id of a key to create. It is the same for a retry."""
        digest = hashlib.sha256(retry.key.encode()).digest()[: key_text.ID_BYTES]
        return key_text.new_id(digest if retry.key else secrets.token_bytes(key_text.ID_BYTES))

    def require_covered(self, by: ApiKey, request: KeyRequest) -> None:
        """Reject a request for a key that could reach more than the one that asks for it.

        Raises:
            Forbidden
        """
        if not _covers(by, _tenant_of(by, request), request.topics, request.users):
            raise Forbidden(f"The key {by.id} does not grant the tenant, or all of these topics and users.")

    def create(self, by: ApiKey, id: str, request: KeyRequest, retry: Retry) -> Made:
        """Create a key. If an answer was lost, a retry returns the same key with another secret.

        Raises:
            TooManyKeys, IdempotencyMismatch, KeyChanged
        """
        now, text = _now(), _new_text(id, request.is_test)
        expires = now + 1000 * request.expires_in if request.expires_in else 0
        record = KeyRecord(
            id,
            request.name,
            request.scopes,
            request.topics,
            request.users,
            created=now,
            created_by=by.id,
            digest=_digest(text),
            expires=expires,
            is_test=request.is_test,
            request=retry.digest,
            tenant=_tenant_of(by, request),
            holder=by.share.key,
        )
        self._require_room(record)
        if self._stored.put(record, is_operator=by.share.is_operator):
            self._learn()
            return Made(record, text)
        first = self.find(by, id)
        is_retry = first.record.request == retry.digest and now - first.record.created <= _RETRIED
        if not is_retry or first.record.revoked:
            raise IdempotencyMismatch()
        return self.rotate(first, Made(first.record.replace_secret(_digest(text)), text))

    def find(self, by: ApiKey, id: str) -> Stored:
        """Return the record of a key that `by` may change.

        Raises:
            NotFound: also if `by` may not know of it.
        """
        found = self._stored.get(id)
        if found is None or not covers(by, found.record.api_key):
            raise NotFound("There is no such key.")
        return found

    def page(self, by: ApiKey, after: str, limit: int) -> tuple[list[Stored], str | None]:
        """Return keys after an id that `by` may change, and the id after which the next page begins: one of theirs.

        A page ends after some bytes: records may be long.
        """
        found = granted(
            self._stored.page,
            name_of=lambda each: each.record.id,
            granted_of=lambda read: (each for each in in_turns(read) if covers(by, each.record.api_key)),
            after=after,
            first=limit + 1,  # one more shows whether there is another page
            most_read=_MOST_READ,
        )
        shown: list[Stored] = []
        size = 0
        for each in found:
            if len(shown) == limit or size > _PAGE_BYTES:
                return shown, shown[-1].record.id
            shown.append(each)
            size += len(each.text)
        return shown, None

    def new_secret(self, found: Stored, overlap: int, retry: Retry) -> Made:
        """Return a key with a new secret, to be stored with `rotate`. This waits for nothing.

        The secret before is accepted for `overlap` more seconds.

        Raises:
            NotFound, KeyRotating
        """
        record, now = found.record, _now()
        if record.revoked or 0 < record.expires <= now:
            raise NotFound("The key was revoked or has expired.")
        text = _new_text(record.id, record.is_test)
        if record.request and record.request == retry.digest and now - record.rotated < _RETRIED:
            return Made(record.replace_secret(_digest(text)), text)
        if overlap and record.is_rotating(now):
            raise KeyRotating()
        return Made(record.rotate(_digest(text), now, 1000 * overlap, retry.digest), text)

    def rotate(self, found: Stored, made: Made) -> Made:
        """Store a key with a new secret.

        Raises:
            KeyChanged
        """
        if not self._stored.put(made.record, found.text):
            raise KeyChanged()
        self._learn()
        return made

    def revoke(self, found: Stored) -> None:
        """Revoke a key on all workers. A key that was revoked stays so.

        Raises:
            KeyChanged: others change it all the time.
        """
        for _ in range(_TRIES):
            if found.record.revoked or self._stored.put(found.record.revoke(_now()), found.text):
                self._learn()
                return
            again = self._stored.get(found.record.id)
            if again is None:
                return
            found = again
        raise KeyChanged()

    def _require_room(self, record: KeyRecord) -> None:
        """Reject a new key of a tenant, or of a limited key, that has too many: it would take the room of others."""
        most, is_limited = self._max_of_tenant, bool(record.tenant or record.holder)
        if is_limited and self._keys.count(record.group) >= most and self._stored.get(record.id) is None:
            metrics.LIMITED.labels("keys").inc()
            raise TooManyKeys(f"A tenant, or a key with limited grants, has at most {most} keys.")

    def _learn(self) -> None:
        """Load a change into this worker at once."""
        with contextlib.suppress(BrokerUnavailable):  # the change is stored, and this worker loads it soon
            self._keys.update()


def covers(by: ApiKey, key: ApiKey) -> bool:
    """Return whether one key may change another: it could do as much itself, or is the operator's."""
    return _covers(by, key.tenant, key.topics, key.users)


def _covers(by: ApiKey, tenant: str, topics: tuple[str, ...], users: tuple[str, ...]) -> bool:
    return by.governs(tenant) and by.covers(topics, users)


def _tenant_of(by: ApiKey, request: KeyRequest) -> str:
    """Return the tenant of a key that is asked for: that of the key which asks for it, unless another is named."""
    return by.tenant if request.tenant is None else request.tenant


def _new_text(id: str, is_test: bool) -> str:
    return key_text.new_text(id, secrets.token_bytes(key_text.SECRET_BYTES), is_test=is_test)


def _digest(text: str) -> str:
    return key_text.digest_of(text).hex()


def _now() -> int:
    return int(1000 * time.time())
