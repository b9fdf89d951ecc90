"""Key sets (JWKS, RFC 7517): the public keys of an issuer. A set is not trusted: it comes from a server.

Each key is pinned to one algorithm, so that a token cannot choose how its signature is verified.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from notifier.protocol import base64url
from notifier.protocol.token_policy import MAX_KID

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
MAX_BYTES = 262_144  # of a set: about ten times that of an issuer with many keys and certificates
MAX_KEYS = 100


class Key(NamedTuple):
    """A public key for one algorithm. `fields` are the text of the key: keys of two sets are equal if they are."""

    kid: str
    algorithm: str
    fields: tuple[str, ...]
    public: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self[:3] == other[:3]

    def __hash__(self) -> int:
        return hash(self[:3])


class _Jwk(msgspec.Struct):
    """The members that are read. Private members, certificates and URLs are not."""

    kty: str = ""
    kid: str = ""
    alg: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""


class _Set(msgspec.Struct):
    keys: list[msgspec.Raw]


def parse(body: bytes, algorithms: Iterable[str] = ()) -> tuple[Key, ...]:
    """Return the keys of a set that can verify tokens; others are left out.

    A key without `alg` is pinned to the first of `algorithms` that suits its type. Without `algorithms`, that is RS256
    for RSA.

    Raises:
        ValueError: it is not a key set, it is too large, it has two keys with the same id, or no key is usable.
    """
    if len(body) > MAX_BYTES:
        raise ValueError(f"the key set is larger than {MAX_BYTES} bytes")
    try:
        found = msgspec.json.decode(body, type=_Set).keys
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not a key set: {str(error)[:200]}") from error
    if len(found) > MAX_KEYS:
        raise ValueError(f"the key set has more than {MAX_KEYS} keys")
    allowed = tuple(algorithms) or ALGORITHMS
    keys = tuple(key for each in found if (key := _key(each, allowed)))
    if not keys:
        raise ValueError(f"the key set has no usable key for {', '.join(allowed)}")
    if len({(key.kid, key.algorithm) for key in keys}) < len(keys):
        raise ValueError("the key set has two keys with the same id")
    return keys


def _key(member: msgspec.Raw, allowed: tuple[str, ...]) -> Key | None:
    """Return the key of a member of a set; None: it is not for signatures, or not usable."""
    try:
        jwk = msgspec.json.decode(member, type=_Jwk)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if (
        jwk.use not in (None, "sig")
        or (jwk.key_ops is not None and "verify" not in jwk.key_ops)
        or len(jwk.kid) > MAX_KID
    ):
        return None
    suiting, fields = _kind(jwk)
    chosen = [each for each in allowed if each in suiting and jwk.alg in (None, each)]
    if not chosen:
        return None
    # Imported here because clients, which read no key sets, have no `cryptography`.
    from notifier.protocol import public_key

    try:
        return Key(jwk.kid, chosen[0], fields, public_key.make(jwk.kty, *map(base64url.decode, fields)))
    except ValueError:
        return None


def _kind(jwk: _Jwk) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which algorithms suit a key, and the fields that it is made of."""
    match jwk.kty, jwk.crv:
        case "RSA", _:
            return ("RS256", "PS256"), (jwk.n, jwk.e)
        case "EC", "P-256":
            return ("ES256",), (jwk.x, jwk.y)
        case "OKP", "Ed25519":
            return ("EdDSA",), (jwk.x,)
    return (), ()
