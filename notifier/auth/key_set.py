"""Key sets: the keys of one issuer as this worker knows them, refreshed in the background.

A set that was fetched is used until it is replaced, or too old. A token with an unknown key id has the set fetched
again, but not more often than every 30 seconds: anybody can send such tokens.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable

from notifier.auth.jwks import FetchError
from notifier.errors import InvalidToken, IssuerUnavailable
from notifier.loop import Loop
from notifier.protocol import jwk
from notifier.protocol.identity import KeysPending
from notifier.protocol.issuer import Issuer
from notifier.protocol.jwk import Key
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

UNKNOWN_PAUSE = 30.0  # seconds between two requests because of unknown key ids
_PATIENCE = 5.0  # seconds that a token may wait for a request that has not begun
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two requests that failed
_MOST_UNKNOWN = 100  # key ids that are remembered


class KeySet:
    """The keys of an issuer. `refresh` and `max_age` are in seconds, as is the monotonic `clock`."""

    def __init__(
        self,
        issuer: Issuer,
        fetch: Callable[[str], bytes],
        refresh: float,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._fetch = fetch
        self._refresh = refresh
        self._max_age = max_age if issuer.url else math.inf
        self._clock = clock
        self._keys = {(key.kid, key.algorithm): key for key in issuer.keys}
        self._fetched_at = -math.inf if issuer.url else math.inf  # when the request for the present keys began
        self._failed_at = -math.inf  # when the last request that failed began
        self._asked_at = -math.inf  # when the last request because of an unknown key id was asked for
        self.due = -math.inf if issuer.url else math.inf  # when the next request begins
        self._pause = _FIRST_PAUSE
        self._is_fetching = False
        self._unknown: dict[str, float] = {}  # key ids, and when they were first seen
        self._waiting: list[Callable[[], object]] = []
        self._wake = threading.Event()
        self._loop = Loop("key set", self._step)

    def start(self) -> None:
        """Begin to fetch the keys."""
        if self.issuer.url:
            self._loop.start()

    def stop(self) -> None:
        """Stop fetching the keys."""
        self._loop.stop()
        self._wake.set()

    @property
    def keys(self) -> int:
        """How many keys can be used."""
        return len(self._keys) if self._is_fresh else 0

    @property
    def age(self) -> float | None:
        """How old the keys are, in seconds; None: there are none, or they are fixed."""
        age = self._clock() - self._fetched_at
        return age if 0 <= age < math.inf else None

    def find(self, kid: str, algorithm: str) -> Key:
        """Return the key that may verify a token with this header.

        Raises:
            InvalidToken: there is no such key.
            KeysPending: there may be one, and the keys are being fetched.
            IssuerUnavailable: there may be one, and the keys cannot be fetched now.
        """
        if not self._is_fresh:
            raise self._pending(self._fetched_at)
        key = self._keys.get((kid, algorithm)) if kid else self._only(algorithm)
        if key:
            return key
        if not kid or any(known == kid for known, _ in self._keys):
            raise InvalidToken("The token names no key of its issuer with its algorithm (kid, alg).")
        raise self._unknown_kid(kid)

    def has(self, key: Key) -> bool:
        """Return whether a key that verified a token may still be used."""
        return self._is_fresh and self._keys.get((key.kid, key.algorithm)) == key

    def refresh(self) -> None:
        """Fetch the keys once. If that fails, the keys of before stay."""
        began, self._is_fetching = self._clock(), True
        try:
            keys = jwk.parse(self._fetch(self.issuer.url), self.issuer.algorithms)
        except (FetchError, ValueError) as error:
            self._fail(began, error)
        else:
            self._keys = {(key.kid, key.algorithm): key for key in keys}
            self._fetched_at, self._pause = began, _FIRST_PAUSE
            self.due = self._clock() + self._refresh * random.uniform(0.9, 1)
        finally:
            self._is_fetching = False
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    @property
    def _is_fresh(self) -> bool:
        return self._clock() - self._fetched_at < self._max_age

    def _only(self, algorithm: str) -> Key | None:
        """Return the key of an algorithm if there is only one: a token without a key id may use it."""
        found = [key for key in self._keys.values() if key.algorithm == algorithm]
        return found[0] if len(found) == 1 else None

    def _unknown_kid(self, kid: str) -> Exception:
        """Return the error for a key id that is not in the set, and have the set fetched again if that may help."""
        now = self._clock()
        asked = self._unknown.setdefault(kid, now)
        if len(self._unknown) > _MOST_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]
        if asked < self._fetched_at:
            if now - asked < UNKNOWN_PAUSE or not self.issuer.url:
                return InvalidToken("The token is signed with an unknown key.")
            self._unknown[kid] = asked = now
        if self._is_fetching or self.due <= now:
            return self._pending(asked)
        # One request that was asked for may be ahead.
        self._asked_at = max(now, self._asked_at if self._asked_at > now else self._asked_at + UNKNOWN_PAUSE)
        self.due = min(self.due, self._asked_at)
        self._wake.set()
        if self._asked_at - now > _PATIENCE:
            return IssuerUnavailable(retry_after=math.ceil(self._asked_at - now))
        return self._pending(asked)

    def _pending(self, since: float) -> Exception:
        """Return that the keys are being fetched, or that they cannot be: a request since then has failed."""
        if self._failed_at > since:
            return IssuerUnavailable(retry_after=math.ceil(self._pause))
        return KeysPending(self._then)

    def _then(self, call: Callable[[], object]) -> None:
        self._waiting.append(call)

    def _fail(self, began: float, error: Exception) -> None:
        metrics.JWKS_FAILURES.inc()
        self._failed_at = began
        self.due = self._clock() + random.uniform(self._pause / 2, self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        logger.warning("The keys of %s cannot be fetched from %s: %s", self.issuer.name, self.issuer.url, error)

    def _step(self) -> None:
        wait = self.due - self._clock()
        if wait > 0:
            self._wake.wait(min(wait, 3600))
            self._wake.clear()
        else:
            self.refresh()
