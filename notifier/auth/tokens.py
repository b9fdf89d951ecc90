"""Tokens of users: which key verifies a token, and whether it has been revoked.

A token signed with HS256 is verified with the secrets of the settings. All others are verified with the keys of the
issuer that they name, and with no other keys. Verified tokens of issuers are remembered, because their signatures take
several times as long as HS256.
"""

import hashlib
import threading
import time
from typing import Any, NamedTuple

from notifier.auth import jwks
from notifier.auth.key_set import KeySet
from notifier.auth.revocations import Revocations
from notifier.errors import BrokerUnavailable, InvalidToken, IssuerUnavailable
from notifier.protocol import identity, jws
from notifier.protocol.identity import Identity, KeysPending
from notifier.protocol.jwk import Key
from notifier.settings import AuthSettings

_MOST_CACHED = 10_000  # tokens, at about 600 bytes; one with many grants takes up to 10 KB
_LONGEST_CACHED = 4096  # characters of a token: what is remembered of it grows with them
_PATIENCE = 5.0  # seconds that a request waits for the keys of an issuer


class _Verified(NamedTuple):
    """A token that was verified, with the key that must still be in the set when it is used again."""

    identity: Identity
    keys: KeySet
    key: Key


class Tokens:
    """Verifies tokens."""

    def __init__(self, settings: AuthSettings, revocations: Revocations) -> None:
        self._secrets = settings.token_secrets
        self._policy = settings.policy
        self._revocations = revocations
        self._cache: dict[bytes, _Verified] = {}
        self._key_sets = {
            issuer.name: KeySet(
                issuer._replace(policy=issuer.policy._replace(max_age=settings.max_token_age)),
                jwks.fetch,
                settings.jwks_refresh,
                settings.jwks_max_age,
            )
            for issuer in settings.token_issuers
        }

    def start(self) -> None:
        """Begin to fetch the keys of issuers."""
        for keys in self._key_sets.values():
            keys.start()

    def stop(self) -> None:
        """Stop fetching keys."""
        for keys in self._key_sets.values():
            keys.stop()

    @property
    def key_sets(self) -> list[KeySet]:
        """The keys of all issuers."""
        return list(self._key_sets.values())

    def verify(self, token: str, now: float) -> Identity:
        """Return the identity of a token. `now` is in Unix seconds. This does not wait.

        Raises:
            InvalidToken, TokenExpired
            KeysPending: the keys of the issuer are being fetched.
            IssuerUnavailable: they cannot be fetched now.
        """
        if not self._key_sets:
            return self._revocations.check(identity.verify(token, self._secrets, now, self._policy))
        return self._revocations.check(identity.admit(self._identity(token, now), now))

    def admit(self, token: str) -> Identity:
        """Return the identity of the token of a request. This waits while the keys of the issuer are being fetched.

        Raises:
            InvalidToken, TokenExpired, IssuerUnavailable
            BrokerUnavailable: this worker has just started, and has not read the revocations yet.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            is_loaded = self._revocations.is_loaded  # before the token is verified: both change in other threads
            try:
                who = self.verify(token, time.time())
            except KeysPending as pending:
                fetched = threading.Event()
                pending.then(fetched.set)
                if not fetched.wait(max(end - time.monotonic(), 0)):
                    raise IssuerUnavailable(retry_after=1) from None
                continue
            if not is_loaded:
                raise BrokerUnavailable("This worker has not read the revocations of tokens yet.", retry_after=1)
            return who

    def _identity(self, token: str, now: float) -> Identity:
        claims = jws.read_plain(token, self._secrets)
        if claims is not None:
            return self._of_secret(claims, now)
        digest = hashlib.blake2b(token.encode(errors="surrogatepass"), digest_size=16).digest()
        known = self._cache.get(digest)
        if known and known.keys.has(known.key):
            return known.identity
        head = jws.read_head(token)
        if head.alg == jws.SECRET_ALGORITHM:
            return self._of_secret(jws.verify(token, self._secrets, jws.SECRET_ALGORITHM), now)
        verified = self._signed_by_issuer(token, head, now)
        if len(token) <= _LONGEST_CACHED:
            self._remember(digest, verified)
        return verified.identity

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._cache[digest] = verified
        if len(self._cache) > _MOST_CACHED:
            del self._cache[next(iter(self._cache))]

    def _of_secret(self, claims: dict[str, Any], now: float) -> Identity:
        issuer = claims.get("iss")
        if isinstance(issuer, str) and issuer in self._key_sets:
            raise InvalidToken("The issuer of the token (iss) signs with public keys, not with a secret.")
        return identity.read(claims, now, self._policy)

    def _signed_by_issuer(self, token: str, head: jws.Head, now: float) -> _Verified:
        keys = self._key_sets.get(jws.read_issuer(token))
        if keys is None:
            raise InvalidToken("The issuer of the token (iss) is not one of NOTIFIER_TOKEN_ISSUERS.")
        key = keys.find(head.kid, head.alg)
        claims = jws.verify(token, (key.public,), key.algorithm)
        return _Verified(identity.read(claims, now, keys.issuer.policy), keys, key)
