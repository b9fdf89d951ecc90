"""Signed tokens in the compact form (JWS, RFC 7515): their header, their unverified issuer, and their signature."""

import functools
import hmac
from collections.abc import Iterable
from typing import Any, Literal

import jwt
import msgspec

from notifier.errors.problems import InvalidToken
from notifier.protocol import base64url
from notifier.protocol.token_policy import MAX_KID

SECRET_ALGORITHM = "HS256"
MAX_TOKEN = 65_536  # characters
MAX_HEADER = 4096  # characters, with a chain of certificates; PyJWT reads it slowly, before it checks the signature
_LONGEST_PLAIN_HEADER = 512  # characters
_TYPES = ("jwt", "at+jwt")  # RFC 7519 and RFC 9068; other types are for other purposes, such as logout+jwt
# The claims are checked by `notifier.protocol.identity`: PyJWT would read the clock.
_UNCHECKED: Any = {
    "require": [],
    **dict.fromkeys((f"verify_{name}" for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")), False),
}


class Head(msgspec.Struct, frozen=True):
    """The header of a token. None of it is verified yet."""

    alg: str
    kid: str = ""
    typ: str | None = None
    crit: Any = None
    b64: Any = None


class _Body(msgspec.Struct):
    iss: str = ""


class _PlainHead(msgspec.Struct, forbid_unknown_fields=True):
    """The header that most libraries write."""

    alg: Literal["HS256"]
    typ: Literal["JWT"] = "JWT"
    kid: str = ""


_decode_claims = msgspec.json.Decoder(dict[str, Any]).decode


def read_head(token: str) -> Head:
    """Return the header of a token.

    Raises:
        InvalidToken: the text is not a JWT, or a JWT of a kind that is not accepted.
    """
    if len(token) > MAX_TOKEN:
        raise InvalidToken(f"The token is longer than {MAX_TOKEN} characters.")
    parts = token.split(".", 5)
    if len(parts) == 5:
        raise InvalidToken("The token is encrypted (JWE), which is not supported.")
    if len(parts) != 3:
        raise InvalidToken("This is not a JWT: a JWT has three parts, separated by dots.")
    if len(parts[0]) > MAX_HEADER:
        raise InvalidToken(f"The header of the token is longer than {MAX_HEADER} characters.")
    head: Head = _decode(parts[0], Head, "header")
    if head.crit is not None or head.b64 is not None:
        raise InvalidToken("The token requires extensions (crit, b64), which are not supported.")
    if head.typ is not None and head.typ.lower().removeprefix("application/") not in _TYPES:
        raise InvalidToken("The token is for another purpose: its header has another typ than JWT or at+jwt.")
    if len(head.kid) > MAX_KID:
        raise InvalidToken("The key id (kid) of the token is too long.")
    return head


def read_issuer(token: str) -> str:
    """Return the issuer that a token names, which is not verified yet. `read_head` has accepted the token.

    Raises:
        InvalidToken: the payload is not a JSON object, or names no issuer.
    """
    issuer: str = _decode(token.split(".", 2)[1], _Body, "payload").iss
    if not issuer:
        raise InvalidToken("The token names no issuer (iss).")
    return issuer


def verify(token: str, keys: Iterable[Any], algorithm: str) -> dict[str, Any]:
    """Return the claims of a token that one of the keys has signed with this algorithm.

    The keys are secrets for `HS256`, and public keys for all others.

    Raises:
        InvalidToken
    """
    for key in keys:
        try:
            return jwt.decode(token, key, algorithms=[algorithm], options=_UNCHECKED)
        except jwt.InvalidSignatureError:
            continue  # signed with an older or newer key
        except (jwt.InvalidTokenError, UnicodeEncodeError, RecursionError) as error:
            raise InvalidToken("This is not a JWT: it cannot be decoded.") from error
    raise InvalidToken("The signature does not match.")


def read_plain(token: str, secrets: Iterable[str]) -> dict[str, Any] | None:
    """Return the claims of a valid token in its usual form, which one of these secrets has signed with HS256.

    None: it is another token. `read_head` and `verify` then say what is wrong with it, if anything is. They accept all
    tokens that this function accepts, with the same claims, and take several times as long.
    """
    signed, _, signature = token.rpartition(".")
    header, _, payload = signed.partition(".")
    if len(token) > MAX_TOKEN or not token.isascii() or not _is_plain(header):
        return None
    data = signed.encode()
    if not any(hmac.compare_digest(signature, _signature(secret, data)) for secret in secrets):
        return None
    try:
        body = base64url.decode(payload)
        return _decode_claims(body) if base64url.encode(body) == payload else None
    except (ValueError, RecursionError):
        return None


def _signature(secret: str, data: bytes) -> str:
    return base64url.encode(hmac.digest(secret.encode(), data, "sha256"))


def _is_plain(header: str) -> bool:
    return len(header) <= _LONGEST_PLAIN_HEADER and _has_plain_form(header)


@functools.lru_cache(maxsize=64)  # the tokens of an issuer have the same one
def _has_plain_form(header: str) -> bool:
    try:
        text = base64url.decode(header)
        head = msgspec.json.decode(text, type=_PlainHead)
    except (ValueError, RecursionError):
        return False
    return base64url.encode(text) == header and len(head.kid) <= MAX_KID


def _decode(part: str, kind: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(base64url.decode(part), type=kind)
    except (ValueError, RecursionError) as error:
        raise InvalidToken(f"This is not a JWT: its {what} is not a JSON object with valid fields.") from error
