"""Identities: the user of a token, and what the user may read and publish.

A token is a JWT (RFC 7519) signed with HS256. Several secrets make rotation possible: all of them verify, the first one
signs.
"""

from typing import Any, NamedTuple

import jwt

from notifier.errors import InvalidToken, TokenExpired
from notifier.protocol import channel

ALGORITHM = "HS256"
MAX_GRANTS = 100  # patterns in a token; a backend that needs more should use wildcards
_END_OF_TIME = 2**53  # seconds: a larger number is a mistake, or not exact
# Times are compared with `now` below, because a pure function reads no clock. The audience is not checked: a token that
# is signed with the secret is for this service.
_OPTIONS: Any = {
    "require": ["sub", "exp"],
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False),
}


class Identity(NamedTuple):
    """A user and the grants of their token. `expires` is in Unix seconds."""

    user: str
    expires: float
    topics: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()

    def may_read(self, topic: str) -> bool:
        """Return whether the token grants the topic for reading."""
        return channel.grants(self.topics, topic)

    def may_publish(self, topic: str) -> bool:
        """Return whether the token grants the topic for publishing."""
        return channel.grants(self.publish, topic)


def verify(token: str, secrets: tuple[str, ...], now: float) -> Identity:
    """Return the identity of a token at the time `now`, in Unix seconds.

    Raises:
        InvalidToken: the signature matches no secret, or a claim is missing or wrong.
        TokenExpired: the token is otherwise valid.
    """
    claims = _claims(token, secrets)
    user, expires = claims["sub"], claims["exp"]
    if not isinstance(user, str) or channel.fault_of_name(user):
        raise InvalidToken("The claim sub is not a user name.")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not expires < _END_OF_TIME:
        raise InvalidToken("The claim exp is not a time in seconds.")
    if not expires > now:
        raise TokenExpired()
    not_before = claims.get("nbf", 0)
    if not isinstance(not_before, int | float) or not not_before <= now:
        raise InvalidToken("The token is not valid yet.")
    return Identity(user, float(expires), _grants(claims, "topics"), _grants(claims, "publish"))


def sign(user: str, secret: str, expires: float, topics: tuple[str, ...] = (), publish: tuple[str, ...] = ()) -> str:
    """Return a token for a user that is valid until `expires`, in Unix seconds."""
    claims: dict[str, Any] = {
        "sub": user,
        "exp": int(expires),
        "topics": list(topics),
        "publish": list(publish),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _claims(token: str, secrets: tuple[str, ...]) -> dict[str, Any]:
    for secret in secrets:
        try:
            return jwt.decode(token, secret, algorithms=[ALGORITHM], options=_OPTIONS)
        except jwt.InvalidSignatureError:
            continue  # signed with an older or newer secret
        except (jwt.DecodeError, UnicodeEncodeError) as error:
            raise InvalidToken(f"This is not a JWT: {error}.") from error
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error)) from error
    raise InvalidToken("The signature matches no secret of this service.")


def _grants(claims: dict[str, Any], name: str) -> tuple[str, ...]:
    patterns = claims.get(name, [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise InvalidToken(f"The claim {name} is not a list of names.")
    if len(patterns) > MAX_GRANTS:
        raise InvalidToken(f"The claim {name} has more than {MAX_GRANTS} names.")
    return tuple(patterns)
