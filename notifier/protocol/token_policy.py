"""The policy of an issuer: what its tokens must say."""

from typing import NamedTuple

MAX_AGE = 30 * 86400  # seconds: the default of the greatest lifetime
MAX_KID = 256  # characters: longer ids of keys are not read


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
