"""Identities: the user of a token, and what the user may read and publish.

A token is a JWT (RFC 7519). This module reads its claims; `notifier.protocol.jws` verifies its signature.
"""

import hashlib
from typing import Any, NamedTuple

import jwt
from jwt.algorithms import HMACAlgorithm

from notifier.errors import InvalidToken, TokenExpired
from notifier.protocol import channel, jws
from notifier.protocol import tenant as tenants
from notifier.protocol.jws import SECRET_ALGORITHM
from notifier.protocol.token_policy import Policy, path_of

MAX_GRANTS = 100  # patterns in a token; a backend that needs more should use wildcards
MIN_SECRET = 32  # bytes: RFC 7518 section 3.2 requires a key as long as the hash of HS256
LEEWAY = 5.0  # seconds that the clock of an issuer may differ from that of the service
_END_OF_TIME = 2**53  # seconds: a larger number is a mistake, or not exact
# Claims that say what a token is for, and the values of access tokens and ID tokens.
_PURPOSE_CLAIMS, _PURPOSES = ("typ", "token_use", "token_type"), ("access", "bearer", "id", "jwt", "at+jwt")

_ANY = Policy()
_HS256 = HMACAlgorithm(HMACAlgorithm.SHA256)
_ABSENT: Any = object()  # what a claim is that the token does not have


class Identity(NamedTuple):
    """A user and the grants of their token.

    The name of the user begins with the tenant, see `notifier.protocol.tenant`; the grants are as the token has them.
    `expires` and `issued` are in Unix seconds; `issued` is 0 if the token does not say. `id` is a digest of the
    token's `jti`, empty if it has none.
    """

    user: str
    expires: float
    topics: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    issued: float = 0
    id: bytes = b""

    def may_read(self, topic: str) -> bool:
        """Return whether the token grants a topic of the user's tenant for reading."""
        return channel.grants(self.topics, tenants.outward(topic))

    def may_publish(self, topic: str) -> bool:
        """Return whether the token grants a topic of the user's tenant for publishing."""
        return channel.grants(self.publish, tenants.outward(topic))

    def scoped(self, topic: str) -> str:
        """Return a topic that the user names as the service uses it."""
        return tenants.scoped(tenants.of(self.user), topic)


class KeysPending(Exception):
    """The keys of a token's issuer are being fetched.

    `then` takes a function that is called once, from any thread, when it makes sense to verify the token again.
    """

    def __init__(self, then: Any) -> None:
        super().__init__("the keys are being fetched")
        self.then = then


def verify(token: str, secrets: tuple[str, ...], now: float, policy: Policy = _ANY) -> Identity:
    """Return the identity of a token that one of these secrets has signed. `now` is in Unix seconds.

    Raises:
        InvalidToken: the signature matches no secret, or a claim is missing or wrong.
        TokenExpired: the token is otherwise valid.
    """
    claims = jws.read_plain(token, secrets)
    if claims is None:
        if jws.read_head(token).alg != SECRET_ALGORITHM:
            raise InvalidToken("The algorithm of the token (alg) is not that of a key of this service.")
        claims = jws.verify(token, secrets, SECRET_ALGORITHM)
    return admit(read(claims, now, policy), now)


def read(claims: dict[str, Any], now: float, policy: Policy) -> Identity:
    """Return the identity of verified claims, which may have expired: see `admit`.

    Raises:
        InvalidToken: a claim is missing or wrong.
    """
    _require_purpose(claims)
    _require_issuer(claims, policy)
    _require_audience(claims, policy)
    user = _find(claims, policy.user_claim)
    if not isinstance(user, str) or channel.fault_of_name(user):
        raise InvalidToken(f"The claim {policy.user_claim} is not a user name.")
    expires, issued = _time(claims, "exp"), _time(claims, "iat", 0)
    if max(issued, _time(claims, "nbf", 0)) > now + LEEWAY:
        raise InvalidToken("The token is not valid yet (iat, nbf): compare the clocks of its issuer and the service.")
    if expires - (issued if "iat" in claims else now) > policy.max_age:
        raise InvalidToken(f"The token is valid for longer than NOTIFIER_MAX_TOKEN_AGE, {policy.max_age:g} seconds.")
    topics, publish = _grants(claims, policy.topics_claim), _grants(claims, policy.publish_claim)
    tenant = _tenant(claims, policy)
    return Identity(
        tenants.scoped(tenant, user), expires, topics, publish, issued, _digest_of(claims.get("jti"), tenant)
    )


def admit(identity: Identity, now: float) -> Identity:
    """Return the identity of a token that is valid at `now`, in Unix seconds.

    If the token has expired within the leeway, the identity expires at the end of the leeway.

    Raises:
        TokenExpired
    """
    if identity.expires > now:
        return identity
    if identity.expires + LEEWAY > now:
        return identity._replace(expires=identity.expires + LEEWAY)
    raise TokenExpired()


def sign(
    user: str,
    secret: str,
    expires: float,
    topics: tuple[str, ...] = (),
    publish: tuple[str, ...] = (),
    *,
    issued: float | None = None,
    id: str | None = None,
    tenant: str | None = None,
    policy: Policy = _ANY,
) -> str:
    """Return a token for a user that is valid until `expires`, as the policy requires it.

    `issued` is now, in Unix seconds like `expires`. A token without it is covered by every revocation of its user.
    Without a `tenant`, the token is for the default one.
    """
    claims: dict[str, Any] = {"exp": int(expires)}
    if policy.issuer:
        claims["iss"] = policy.issuer
    if policy.audience:
        _place(claims, policy.audience_claim, policy.audience[0])
    if issued is not None:
        claims["iat"] = round(issued, 3)  # a fraction: a login right after a revocation is later than it
    if id is not None:
        claims["jti"] = id
    _place(claims, policy.user_claim, user)
    _place(claims, policy.topics_claim, list(topics))
    _place(claims, policy.publish_claim, list(publish))
    if tenant is not None:
        _place(claims, policy.tenant_claim, tenant)  # last: no other claim replaces it, whatever the settings are
    return jwt.encode(claims, secret, algorithm=SECRET_ALGORITHM)


def digest_of(id: str, tenant: str = "") -> bytes:
    """Return the digest of a `jti`. It is as long for each: issuers choose ids of any length."""
    return hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=12, key=tenant.encode()).digest()


def parse_secrets(text: str) -> tuple[str, ...]:
    """Return the secrets of a setting, which are separated by commas.

    Raises:
        ValueError: the text ends a sentence that begins with the name of the setting. It contains no secret.
    """
    secrets = tuple(word.strip() for word in text.split(",") if word.strip())
    if any(len(secret.encode()) < MIN_SECRET for secret in secrets):
        raise ValueError(f"has a secret of less than {MIN_SECRET} bytes")
    if any(_is_key(secret) for secret in secrets):
        raise ValueError("has a key of another algorithm instead of a secret: NOTIFIER_TOKEN_ISSUERS takes public keys")
    return secrets


def _is_key(secret: str) -> bool:
    """Return whether a secret is a key in PEM or of SSH: who has the public key could sign tokens, so PyJWT refuses."""
    try:
        _HS256.prepare_key(secret)
    except jwt.InvalidKeyError:
        return True
    return False


def _require_purpose(claims: dict[str, Any]) -> None:
    """Reject tokens that were issued for something else, such as refresh tokens and logout tokens."""
    for name in _PURPOSE_CLAIMS:
        purpose = claims.get(name, "access")
        if not isinstance(purpose, str) or purpose.lower() not in _PURPOSES:
            raise InvalidToken(f"The token is for another purpose: see its claim {name}.")
    if claims.get("type") == "refresh" or "events" in claims:
        raise InvalidToken("The token is for another purpose: it is a refresh token or a security event.")
    if "cnf" in claims:
        raise InvalidToken("The token is bound to a key of its client (cnf), which is not supported.")


def _require_issuer(claims: dict[str, Any], policy: Policy) -> None:
    if policy.issuer and claims.get("iss") != policy.issuer:
        raise InvalidToken(f"The issuer of the token (iss) is not {policy.issuer}.")


def _require_audience(claims: dict[str, Any], policy: Policy) -> None:
    """Reject tokens for another audience. If the policy has another claim, `aud` is checked too (RFC 7519 4.1.3)."""
    for name in {policy.audience_claim, "aud"}:
        given = _find(claims, name, _ABSENT)
        if given is _ABSENT and (name != policy.audience_claim or not policy.audience):
            continue
        if not policy.audience:
            raise InvalidToken(f"The token is for an audience ({name}), and no audience is set for this service.")
        audience = given if isinstance(given, list) else [given]
        if not any(each in policy.audience for each in audience if isinstance(each, str)):
            raise InvalidToken(f"The token is for another audience ({name}) than {', '.join(policy.audience)}.")


def _time(claims: dict[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value < _END_OF_TIME:
        raise InvalidToken(f"The claim {name} is not a time in seconds.")
    return float(max(value, -_END_OF_TIME))


def _grants(claims: dict[str, Any], name: str) -> tuple[str, ...]:
    patterns = _find(claims, name, [])
    if isinstance(patterns, list) and len(patterns) > MAX_GRANTS:
        raise InvalidToken(f"The claim {name} has more than {MAX_GRANTS} names.")
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise InvalidToken(f"The claim {name} is not a list of names.")
    return tuple(patterns)


def _tenant(claims: dict[str, Any], policy: Policy) -> str:
    """Return the tenant that a token is confined to: that of its issuer, or for tokens of secrets, one that they name.

    Raises:
        InvalidToken
    """
    if policy.tenant or not policy.tenant_claim:
        return policy.tenant
    tenant: Any = _find(claims, policy.tenant_claim, _ABSENT)
    if tenant is _ABSENT:
        return ""
    if not isinstance(tenant, str) or tenants.fault_of(tenant):
        raise InvalidToken(f"The claim {policy.tenant_claim} is not the name of a tenant.")
    return tenant


def _digest_of(id: Any, tenant: str) -> bytes:
    if id is None:
        return b""
    if not isinstance(id, str):
        raise InvalidToken("The claim jti is not text.")
    return digest_of(id, tenant)


def _find(claims: dict[str, Any], name: str, default: Any = None) -> Any:
    found: Any = claims
    for part in path_of(name):
        if not isinstance(found, dict) or part not in found:
            return default
        found = found[part]
    return found


def _place(claims: dict[str, Any], name: str, value: Any) -> None:
    *above, last = path_of(name)
    for part in above:
        claims = claims.setdefault(part, {})
    claims[last] = value
