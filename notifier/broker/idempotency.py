"""Idempotency keys: which request has which key, under which id it publishes, and how it was answered."""

import zlib
from typing import Any, NamedTuple

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.settings import BrokerSettings

_SIZE, _SIZE_OF_CHANNEL = 1024, 256  # bytes of Redis for a key, about: for its hash, for a channel's receipt and mark
_LONG = 2048  # bytes of an answer; one that names a few channels has some hundreds


class Claim(NamedTuple):
    """The outcome of claiming a key.

    `claimed`: publish under `id` and `created`. `answered`: `answer` is that of the first request. `running`: the first
    request has not ended. `mismatch`: the first request was a different one.
    """

    outcome: str
    id: str = ""
    created: float = 0
    answer: bytes = b""


class IdempotencyKeys:
    """The keys of all publishers. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: BrokerSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.lease = settings.idempotency_lease  # seconds for which a running request holds a key

    def claim(self, keys: list[tuple[str, str, str, float]]) -> list[Claim]:
        """Claim keys: each with its name, the fingerprint of the request, and the id and time to use if it is free."""
        lease, age = 1000 * self.lease, 1000 * self._settings.idempotency_age
        commands = [
            self._store.call("claim", (self._key(name),), (fingerprint, id, created, lease, age))
            for name, fingerprint, id, created in keys
        ]
        return [_claim(reply) for reply in self._store.carry_out(commands)]

    def answer(self, answers: list[tuple[str, bytes]]) -> None:
        """Store the answers of requests, by the names of their keys."""
        self._store.tell([pack("HSET", self._key(name), *_stored(text)) for name, text in answers])

    def release(self, names: list[str]) -> None:
        """End the leases of requests that failed, so that they can be retried at once."""
        self._store.tell([pack("HSET", self._key(name), "lease", 0) for name in names])

    def forget(self, names: list[str]) -> None:
        """Delete keys that this worker has just claimed first, for requests that were rejected."""
        left = 1000 * (self._settings.idempotency_age - self.lease)
        self._store.tell([self._store.call("forget", (self._key(name),), (left,)) for name in names])

    def _key(self, name: str) -> str:
        return self._store.key("idempotency", name)


def size_of(name: str, channels: int) -> int:
    """Return about how many bytes of Redis a key takes until it is forgotten."""
    return len(name) + _SIZE + _SIZE_OF_CHANNEL * channels


def _stored(answer: bytes) -> tuple[str, bytes]:
    """Return the field of an answer, and its value. Answers that name many channels are compressed to about a tenth."""
    if len(answer) < _LONG:
        return "answer", answer
    return "packed", zlib.compress(answer, 1)  # a worker of an older version does not take it for an answer


def _claim(reply: Any) -> Claim:
    outcome, *rest = require(reply)
    if outcome == b"packed":
        return Claim("answered", answer=zlib.decompress(rest[0]))
    if outcome == b"claimed":
        return Claim("claimed", rest[0].decode(), float(rest[1]))
    return Claim(outcome.decode(), answer=rest[0] if rest else b"")
