"""Revocations: tokens that are rejected although they have not expired. Every worker holds all of them in memory.

Each worker asks Redis twice a second for those that are new, so that no message can be missed. A worker that loses
Redis keeps what it knows.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from notifier.broker.revocation_list import RevocationList, Revoked
from notifier.errors import BrokerUnavailable, InvalidToken
from notifier.loop import Loop
from notifier.protocol.identity import LEEWAY, Identity, digest_of
from notifier.protocol.share import DEFAULT, Share

_INTERVAL = 0.5  # seconds
_SWEEP = 60.0  # seconds between two removals of what has expired
_MARGIN = 60.0  # seconds: clocks of workers and of Redis may differ


class Revocations:
    """The revocations of one service. `max_age` is the greatest lifetime of a token, in seconds.

    `changed` is called after new ones have arrived, in the thread that has asked for them.
    """

    def __init__(self, stored: RevocationList, max_age: float, changed: Callable[[], None]) -> None:
        self._stored = stored
        self._kept = max_age + LEEWAY + _MARGIN
        self._changed = changed
        self._version = 0
        self.is_loaded = False  # whether those from before this worker started are known
        self._swept_at = time.monotonic()
        self._users: dict[str, tuple[float, float]] = {}  # issued before, until: Unix seconds
        self._ids: dict[bytes, float] = {}  # by digest of the jti: until
        self._updating = threading.Lock()
        self._loop = Loop("revocations", self._step)

    def start(self) -> None:
        """Begin to ask for new revocations."""
        self._loop.start()

    def stop(self) -> None:
        """Stop asking for revocations."""
        self._loop.stop()

    def covers(self, identity: Identity) -> bool:
        """Return whether a token has been revoked."""
        found = self._users.get(identity.user)
        return (found is not None and identity.issued < found[0]) or (identity.id != b"" and identity.id in self._ids)

    def check(self, identity: Identity) -> Identity:
        """Return the identity of a token that has not been revoked.

        Raises:
            InvalidToken
        """
        if self.covers(identity):
            raise InvalidToken("The token has been revoked.")
        return identity

    def revoke_user(self, user: str, issued_before: float, share: Share = DEFAULT) -> None:
        """Revoke the tokens of a user that were issued before a time in Unix seconds, or do not say when.

        `share` is that of the key that asks for it, which needs room.

        Raises:
            TooManyRevocations, BrokerUnavailable
        """
        kept = max(issued_before - time.time(), 0) + self._kept
        self._stored.add(f"user:{user}", issued_before, kept, share)
        self.update()

    def revoke_id(self, id: str, share: Share = DEFAULT) -> None:
        """Revoke the token with this `jti`, of the tenant of a share.

        Raises:
            TooManyRevocations, BrokerUnavailable
        """
        self._stored.add(f"id:{digest_of(id, share.tenant).hex()}", 0, self._kept, share)
        self.update()

    def update(self) -> None:
        """Learn the revocations that are new.

        Raises:
            BrokerUnavailable
        """
        with self._updating:
            try:
                is_news = self._read()
            except BrokerUnavailable:
                # Another server may come, which has lost the last changes and counts others with their numbers.
                self._version = 0
                raise
        self.is_loaded = True
        if is_news:
            self._changed()

    def sweep(self, now: float) -> None:
        """Forget what has expired at `now`, in Unix seconds."""
        _drop(self._users, lambda found: found[1] < now)
        _drop(self._ids, lambda until: until < now)

    def _read(self) -> bool:
        """Read what is new, and return whether anything is."""
        is_news = False
        while True:
            self._version, found = self._stored.since(self._version)
            for revoked in found:
                self._learn(revoked)
            if not found:
                return is_news
            is_news = True

    def _learn(self, revoked: Revoked) -> None:
        """Note a revocation. One that is known is never weakened, also if Redis has lost it."""
        kind, _, name = revoked.name.partition(":")
        if kind == "user":
            before, until = self._users.get(name, (0.0, 0.0))
            self._users[name] = max(before, revoked.before), max(until, revoked.until)
        else:
            id = bytes.fromhex(name)
            self._ids[id] = max(self._ids.get(id, 0.0), revoked.until)

    def _step(self) -> None:
        self.update()
        if time.monotonic() - self._swept_at > _SWEEP:
            self._swept_at = time.monotonic()
            self.sweep(time.time())
        time.sleep(_INTERVAL)


def _drop(known: dict[Any, Any], is_over: Callable[[Any], bool]) -> None:
    for name in [name for name, value in known.items() if is_over(value)]:
        del known[name]
