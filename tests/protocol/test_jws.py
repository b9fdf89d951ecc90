"""Signed tokens: headers, and signatures with each algorithm."""

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import InvalidToken
from notifier.protocol import jwk, jws
from tests.kit.cases import rows
from tests.kit.issuers import SigningKey, key_set, with_claims

KEYS = {algorithm: SigningKey(algorithm) for algorithm in jwk.ALGORITHMS}
CLAIMS = {"sub": "alice", "iss": "https://issuer.example"}
SECRETS = ("a-secret-of-the-tests-that-is-long-enough", "another-secret-of-the-tests-of-last-month")


def public(key: SigningKey) -> Any:
    [found] = jwk.parse(key_set(key))
    return found.public


def segment(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@rows("algorithm", jwk.ALGORITHMS)
def test_round_trip(algorithm: str) -> None:
    """A signature of each algorithm is verified, and nothing else passes."""
    key = KEYS[algorithm]
    token = key.sign(CLAIMS)
    head = jws.read_head(token)
    assert (head.alg, head.kid, jws.read_issuer(token)) == (algorithm, key.kid, "https://issuer.example")
    assert jws.verify(token, [public(key)], algorithm) == CLAIMS
    assert jws.verify(token, [public(SigningKey(algorithm)), public(key)], algorithm) == CLAIMS
    for wrong in (with_claims(token, sub="mallory"), token[:-8] + "AAAAAAAA", token.rpartition(".")[0] + "."):
        with pytest.raises(InvalidToken):
            jws.verify(wrong, [public(key)], algorithm)
    with pytest.raises(InvalidToken, match="does not match"):
        jws.verify(token, [public(SigningKey(algorithm))], algorithm)
    with pytest.raises(InvalidToken):
        jws.verify(token, [], algorithm)


@rows("algorithm", jwk.ALGORITHMS)
@rows("pinned", jwk.ALGORITHMS)
def test_pinned(algorithm: str, pinned: str) -> None:
    """A key verifies only the algorithm to which it is pinned, whatever the token's header names."""
    if algorithm != pinned:
        with pytest.raises(InvalidToken):
            jws.verify(KEYS[algorithm].sign(CLAIMS), [public(KEYS[algorithm])], pinned)


def test_confusion() -> None:
    """The public key, which everybody has, is not a secret for HS256."""
    key = KEYS["RS256"]
    pem = public(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{segment({'alg': 'HS256', 'kid': key.kid})}.{segment(CLAIMS)}"
    forged = f"{signed}.{segment(hmac.digest(pem, signed.encode(), 'sha256'))}"
    with pytest.raises(InvalidToken):
        jws.verify(forged, [public(key)], "RS256")
    for algorithm in ("none", "None"):
        with pytest.raises(InvalidToken):
            jws.verify(f"{segment({'alg': algorithm})}.{segment(CLAIMS)}.", [public(key)], "RS256")


@rows("name", ["jwk", "jku", "x5u", "x5c"])
def test_keys_of_the_header(name: str) -> None:
    """A key, or the place of one, in the header of a token is not used."""
    own, foreign = KEYS["RS256"], SigningKey()
    value = foreign.jwk if name == "jwk" else "https://evil.example/keys"
    token = foreign.sign(CLAIMS, **{name: value, "kid": own.kid})
    with pytest.raises(InvalidToken, match="does not match"):
        jws.verify(token, [public(own)], "RS256")


@rows(
    "header",
    [
        {},
        [],
        {"alg": None},
        {"alg": 5},
        {"alg": "RS256", "kid": 5},
        {"alg": "RS256", "kid": "x" * 257},
        {"alg": "RS256", "typ": "dpop+jwt"},
        {"alg": "RS256", "typ": 5},
        {"alg": "RS256", "crit": ["exp"]},
        {"alg": "RS256", "crit": []},
        {"alg": "RS256", "b64": True},
    ],
)
def test_bad_header(header: Any) -> None:
    """A header with a wrong member is rejected before anything else is read."""
    with pytest.raises(InvalidToken):
        jws.read_head(f"{segment(header)}.e30.e30")


def test_long_header() -> None:
    """A header that no issuer needs is rejected before PyJWT reads it, which takes long and needs no signature."""
    members = ",".join(f'"{number}":0' for number in range(5_000))
    with pytest.raises(InvalidToken, match="header"):
        jws.read_head(f"{segment(('{' + members + '}').encode())}.e30.e30")
    certificates = {"alg": "RS256", "x5c": ["x" * 2_000], "kid": "a"}
    assert jws.read_head(f"{segment(certificates)}.e30.e30").kid == "a"


@rows("levels", [*range(980, 1000), 10_000])
def test_deep_header(levels: int) -> None:
    """A header that is nested deep is rejected, also where PyJWT cannot read it."""
    header = b'{"alg":"HS256","x":' + b"[" * levels + b"]" * levels + b"}"
    with pytest.raises(InvalidToken):
        token = f"{segment(header)}.{segment(CLAIMS)}.e30"
        jws.read_head(token)
        jws.verify(token, ["a-secret-of-the-tests-that-is-long-enough"], "HS256")


def test_header_that_pyjwt_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT before 2.10 does not handle that Python's JSON decoder has a limit."""

    def decode(*_: Any, **__: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr("jwt.decode", decode)
    with pytest.raises(InvalidToken):
        jws.verify(KEYS["RS256"].sign(CLAIMS), [public(KEYS["RS256"])], "RS256")


def test_encrypted() -> None:
    """An encrypted token is named, and not decrypted: it could be a bomb."""
    with pytest.raises(InvalidToken, match="JWE"):
        jws.read_head(f"{segment({'alg': 'dir', 'enc': 'A256GCM', 'zip': 'DEF'})}..a.b.c")


@rows("body", [b"", b"[]", b"{}", b'{"iss": 5}', b'{"iss": ""}', b'{"iss": null}', b"[" * 100_000])
def test_no_issuer(body: bytes) -> None:
    """A token that is not signed with a secret names its issuer."""
    with pytest.raises(InvalidToken):
        jws.read_issuer(f"e30.{segment(body)}.e30")


def signed(header: bytes, payload: bytes, secret: str = SECRETS[0]) -> str:
    """Return a token with a valid HS256 signature, whatever its parts contain."""
    parts = f"{segment(header)}.{segment(payload)}"
    return f"{parts}.{segment(hmac.digest(secret.encode(), parts.encode(), 'sha256'))}"


def read_fully(token: str) -> dict[str, Any] | None:
    """Return the claims of a token as `read_head` and PyJWT read it; None: it is rejected."""
    try:
        return jws.verify(token, SECRETS, "HS256") if jws.read_head(token).alg == "HS256" else None
    except InvalidToken:
        return None


PLAIN = b'{"alg":"HS256","typ":"JWT"}'
BODY = b'{"sub":"alice","exp":1763661600,"topics":["orders"]}'


@rows("header", [PLAIN, b'{"typ":"JWT","alg":"HS256"}', b'{"alg": "HS256"}', b'{"alg":"HS256","kid":"of-may"}'])
@rows("secret", SECRETS)
def test_plain(header: bytes, secret: str) -> None:
    """A good token of HS256 is read without PyJWT, with each of the secrets."""
    token = signed(header, BODY, secret)
    assert jws.read_plain(token, SECRETS) == read_fully(token) == json.loads(BODY)


@rows(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        signed(PLAIN, BODY) + ".",
        "." + signed(PLAIN, BODY),
        signed(PLAIN, BODY).replace(".", "..", 1),
        signed(PLAIN, BODY) + "=",
        signed(PLAIN, BODY)[:-1],
        signed(PLAIN, BODY, "a-secret-that-the-service-does-not-know"),
        signed(b'{"alg":"none"}', BODY),
        signed(b'{"alg":"HS512"}', BODY),
        signed(b'{"alg":"HS256","crit":["exp"]}', BODY),
        signed(b'{"alg":"HS256","b64":false}', BODY),
        signed(b'{"alg":"HS256","typ":"dpop+jwt"}', BODY),
        signed(b'{"alg":"HS256","kid":7}', BODY),
        signed(b'{"alg":"HS256","kid":"' + b"x" * 257 + b'"}', BODY),
        signed(PLAIN, b"[]"),
        signed(PLAIN, b"null"),
        signed(PLAIN, b""),
        signed(PLAIN, b"{" * 10_000),
        signed(PLAIN, b'{"x":"' + b"x" * jws.MAX_TOKEN + b'"}'),
        signed(PLAIN, BODY).replace("e", "\u0435", 1),
        "\ud800" + signed(PLAIN, BODY),
    ],
)
def test_not_plain(token: str) -> None:
    """All other tokens, and those that are not valid, are left to PyJWT."""
    assert jws.read_plain(token, SECRETS) is None


@pytest.mark.parametrize("levels", [10, 1_000, 5_000, 20_000])
def test_levels(levels: int) -> None:
    """A token of more levels than this Python reads is left to PyJWT."""
    claims = jws.read_plain(signed(PLAIN, b'{"x":' + b"[" * levels + b"]" * levels + b"}"), SECRETS)
    assert claims is None or set(claims) == {"x"}


HEADERS = st.sampled_from([PLAIN, b'{"alg":"HS256"}', b'{"alg":"HS256","kid":"a"}', b'{"alg":"HS256","typ":"at+jwt"}'])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(max_size=5), JSON, max_size=4).map(lambda claims: json.dumps(claims).encode())


@st.composite
def mutated(draw: st.DrawFn, parts: st.SearchStrategy[bytes]) -> bytes:
    """Return a part of which some bytes are others."""
    part = bytearray(draw(parts))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(part)))
        part[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.sampled_from([b'"', b"1e999", b"{"]))
    return bytes(part)


@given(mutated(HEADERS), mutated(BODIES | st.just(BODY)), st.sampled_from([*SECRETS, "foreign"]))
def test_plain_or_not(header: bytes, body: bytes, secret: str) -> None:
    """Whatever a signed token contains, PyJWT reads the same from it, or nothing was read without PyJWT."""
    token = signed(header, body, secret)
    claims = jws.read_plain(token, SECRETS)
    assert claims is None or repr(claims) == repr(read_fully(token))


@given(mutated(st.sampled_from([signed(PLAIN, BODY).encode(), signed(PLAIN, BODY, SECRETS[1]).encode()])))
def test_mutated_tokens(token: bytes) -> None:
    """A token that was changed is read only where PyJWT reads the same."""
    text = token.decode("latin-1")
    claims = jws.read_plain(text, SECRETS)
    assert claims is None or claims == read_fully(text)
