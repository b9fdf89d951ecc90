"""The policy of an issuer: what its tokens must say."""

import itertools
from typing import NamedTuple

MAX_AGE = 30 * 86400  # seconds: the default of the greatest lifetime
MAX_KID = 256  # characters: longer ids of keys are not read
_REGISTERED = ("exp", "iat", "iss", "jti", "nbf")  # these have their own meaning (RFC 7519 section 4.1)


class Policy(NamedTuple):
    """The required claims of an issuer's tokens, and the names of the claims.

    `issuer` is not checked if it is empty. Without an `audience`, tokens with an audience are rejected. `max_age` is in
    seconds. Tokens are confined to the `tenant`; if it is empty and there is a `tenant_claim`, they name it. A name of
    a claim that begins with a slash is a JSON Pointer (RFC 6901) into nested claims.
    """

    issuer: str = ""
    audience: tuple[str, ...] = ()
    max_age: float = MAX_AGE
    user_claim: str = "sub"
    topics_claim: str = "topics"
    publish_claim: str = "publish"
    audience_claim: str = "aud"
    tenant: str = ""
    tenant_claim: str = ""

    @property
    def conflict(self) -> tuple[str, str] | None:
        """The names of two claims of which one is, or contains, the other: no token has both. None: there are none."""
        named = [self.user_claim, self.topics_claim, self.publish_claim, self.tenant_claim, self.audience_claim]
        pairs = [
            *itertools.combinations(filter(None, named), 2),
            *itertools.product(filter(None, named), _REGISTERED),
        ]
        return next((pair for pair in pairs if _overlap(*map(path_of, pair))), None)


def path_of(name: str) -> list[str]:
    """Return the names on the way to a claim."""
    if not name.startswith("/"):
        return [name]
    return [part.replace("~1", "/").replace("~0", "~") for part in name[1:].split("/")]


def _overlap(one: list[str], other: list[str]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
