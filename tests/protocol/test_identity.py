"""Tokens: the user and the grants in them, and which are rejected."""

import base64
import json
import math
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import InvalidToken, Problem, TokenExpired
from notifier.protocol import identity
from notifier.protocol.identity import MAX_GRANTS, Identity

NOW = 1_763_661_600.0
NEW, OLD, FOREIGN = "the-secret-that-signs-" * 2, "the-secret-of-last-month-" * 2, "somebody-else's-secret-" * 2
SECRETS = (NEW, OLD)
CLAIMS = {"sub": "alice", "exp": NOW + 60}


def token(secret: str = NEW, **claims: object) -> str:
    """Return a token with the claims of a good one, and these."""
    return jwt.encode(CLAIMS | claims, secret, algorithm="HS256")


def unsigned(header: bytes, claims: dict[str, Any] | bytes = b"{}", signature: bytes = b"") -> str:
    """Return a token of raw parts."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, body, signature))


def verify(text: str, now: float = NOW) -> Identity:
    return identity.verify(text, SECRETS, now)


def test_round_trip() -> None:
    """A signed token names its user and grants what it says."""
    text = identity.sign("alice", NEW, NOW + 60, ("orders", "project:*"), ("typing",))
    assert verify(text) == Identity("alice", NOW + 60, ("orders", "project:*"), ("typing",))


def test_no_grants() -> None:
    """A token without grants grants nothing."""
    who = verify(token())
    assert (who.topics, who.publish) == ((), ())
    assert not who.may_read("orders")


def test_may_read() -> None:
    """The grants to read are patterns; the grants to publish do not read."""
    who = verify(token(topics=["orders", "project:*"], publish=["typing"]))
    assert who.may_read("orders")
    assert who.may_read("project:7")
    assert not who.may_read("typing")


@pytest.mark.parametrize("secret", SECRETS)
def test_rotation(secret: str) -> None:
    """Every secret of the list verifies."""
    assert verify(token(secret)).user == "alice"


def test_foreign_secret() -> None:
    """A token that another secret has signed is not valid."""
    with pytest.raises(InvalidToken):
        verify(token(FOREIGN))


def test_no_secrets() -> None:
    """A service without secrets accepts no token."""
    with pytest.raises(InvalidToken):
        identity.verify(token(), (), NOW)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS512", "RS256", "", 5, None, ["HS256"], {}])
def test_algorithm(algorithm: object) -> None:
    """Only HS256 is accepted, above all not `none`."""
    with pytest.raises(InvalidToken):
        verify(unsigned(json.dumps({"alg": algorithm, "typ": "JWT"}).encode(), CLAIMS))


def test_other_hash() -> None:
    """A token that is rightly signed with another algorithm of the same secret is not valid."""
    with pytest.raises(InvalidToken):
        verify(jwt.encode(CLAIMS, NEW * 2, algorithm="HS512"))


def test_changed_claims() -> None:
    """A token whose claims were changed behind its signature is not valid."""
    head, _, signature = token().split(".")
    body = token(sub="mallory").split(".")[1]
    with pytest.raises(InvalidToken):
        verify(f"{head}.{body}.{signature}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.e30.e30",
        "\ud800",
        "\ud800.e30.e30",
        unsigned(b""),
        unsigned(b"[]"),
        unsigned(b"null"),
        unsigned(b"\xff\xfe"),
        unsigned(b"[" * 10_000),
        unsigned(b'{"alg":' + b"1" * 5000 + b"}"),
        unsigned(b'{"alg":"HS256","crit":["b64"],"b64":false}'),
        " " + token(),
    ],
)
def test_no_token(text: str) -> None:
    """Text that is not a JWT is rejected, however odd it is."""
    with pytest.raises(InvalidToken):
        verify(text)


@pytest.mark.parametrize("text", ["", "nk_an_api_key", "a.b.c", "\ud800.e30.e30"])
def test_words_for_no_token(text: str) -> None:
    """The error for text that is not a token says so."""
    with pytest.raises(InvalidToken, match="This is not a JWT"):
        verify(text)


@given(st.text() | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
def test_random_text(text: str) -> None:
    """Random text is never an identity and never another error."""
    with pytest.raises(InvalidToken):
        verify(text)


@pytest.mark.parametrize("claims", [b"[]", b"null", b"5", b"{", b"\xff", b"[" * 10_000])
def test_claims_are_no_object(claims: bytes) -> None:
    """A signed payload that is not a JSON object is not a token."""
    text = jwt.api_jws.encode(claims, NEW, algorithm="HS256")
    with pytest.raises(InvalidToken):
        verify(text)


@pytest.mark.parametrize("claim", ["sub", "exp"])
def test_missing_claim(claim: str) -> None:
    """A token says whose it is and when it expires."""
    claims = {name: value for name, value in CLAIMS.items() if name != claim}
    with pytest.raises(InvalidToken, match=claim):
        verify(jwt.encode(claims, NEW, algorithm="HS256"))


@pytest.mark.parametrize("sub", [None, 5, True, [], {}, "", "a b", "a\n", "{a}", "a" * 129])
def test_user(sub: object) -> None:
    """The claim `sub` is a name as a publisher may use it."""
    with pytest.raises(InvalidToken):
        verify(token(sub=sub))


@pytest.mark.parametrize("exp", [None, "", "soon", str(NOW + 60), True, [], {}, math.nan, math.inf, 10**400, 1e300])
def test_expiry_is_a_time(exp: object) -> None:
    """The claim `exp` is a number of seconds with an end."""
    with pytest.raises(InvalidToken):
        verify(token(exp=exp))


def test_expired() -> None:
    """A token is valid until its `exp`, and expired from then on."""
    text = token(exp=NOW + 0.5)
    assert verify(text, NOW).expires == NOW + 0.5
    for now in (NOW + 0.5, NOW + 1000):
        with pytest.raises(TokenExpired):
            verify(text, now)


@pytest.mark.parametrize("exp", [0, -1, -(10**400), -math.inf])
def test_long_ago(exp: float) -> None:
    """A time in the past is no fault but an expiry, or at least not valid."""
    with pytest.raises((TokenExpired, InvalidToken)):
        verify(token(exp=exp))


def test_signature_before_expiry() -> None:
    """A forged token that has expired is invalid, not expired."""
    with pytest.raises(InvalidToken):
        verify(token(FOREIGN, exp=0))


def test_not_before() -> None:
    """A token is not valid before its `nbf`."""
    text = token(nbf=NOW + 5)
    assert verify(text, NOW + 5).user == "alice"
    with pytest.raises(InvalidToken):
        verify(text, NOW + 4.5)


@pytest.mark.parametrize("nbf", ["later", str(NOW + 5), [NOW + 5], {}])
def test_not_before_is_a_time(nbf: object) -> None:
    """A `nbf` that cannot be understood does not make a token valid at once."""
    with pytest.raises(InvalidToken):
        verify(token(nbf=nbf))


@pytest.mark.parametrize("claim", ["topics", "publish"])
@pytest.mark.parametrize("grants", [None, "orders", 5, True, {}, {"orders": True}, [5], ["orders", None], [["orders"]]])
def test_grants_are_names(claim: str, grants: object) -> None:
    """The grants are lists of names; a string is not split into letters."""
    with pytest.raises(InvalidToken, match=claim):
        verify(token(**{claim: grants}))


@pytest.mark.parametrize("claim", ["topics", "publish"])
def test_too_many_grants(claim: str) -> None:
    """The number of grants in a token is limited."""
    assert verify(token(**{claim: ["t"] * MAX_GRANTS}))
    with pytest.raises(InvalidToken, match=claim):
        verify(token(**{claim: ["t"] * (MAX_GRANTS + 1)}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "jti", "topics", "publish"]), JSON))
def test_random_claims(claims: dict[str, Any]) -> None:
    """Whatever rightly signed claims are, they are an identity or a documented problem."""
    text = jwt.api_jws.encode(json.dumps(CLAIMS | claims).encode(), NEW, algorithm="HS256")
    try:
        who = verify(text)
    except Problem as problem:
        assert isinstance(problem, InvalidToken | TokenExpired)
    else:
        assert who.expires > NOW
        assert all(isinstance(topic, str) for topic in who.topics + who.publish)
