"""Key sets: which keys are used, for which algorithm, and which sets are rejected."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import jwk
from tests.kit.cases import rows
from tests.kit.issuers import SigningKey, key_set

RSA, PSS, EC, ED = (SigningKey(algorithm) for algorithm in jwk.ALGORITHMS)


def body(*members: Any) -> bytes:
    return json.dumps({"keys": members}).encode()


def without(key: SigningKey, *names: str) -> dict[str, Any]:
    return {name: value for name, value in key.jwk.items() if name not in names}


def test_each_algorithm() -> None:
    """Keys of each algorithm are pinned to it."""
    keys = jwk.parse(key_set(RSA, PSS, EC, ED))
    assert [(key.kid, key.algorithm) for key in keys] == [(key.kid, key.algorithm) for key in (RSA, PSS, EC, ED)]
    assert jwk.parse(key_set(RSA)) == keys[:1]
    assert hash(jwk.parse(key_set(RSA))[0]) == hash(keys[0]) != hash(keys[1])
    assert jwk.parse(key_set(SigningKey("RS256", RSA.kid))) != keys[:1], "another key with the same id"


def test_no_algorithm() -> None:
    """A key without `alg` is pinned to the first of the given algorithms that suits it."""
    for key, given_, chosen in [
        (RSA, (), "RS256"),
        (RSA, ("PS256",), "PS256"),
        (RSA, ("ES256", "PS256", "RS256"), "PS256"),
        (EC, (), "ES256"),
        (ED, (), "EdDSA"),
    ]:
        assert [key.algorithm for key in jwk.parse(body(without(key, "alg")), given_)] == [chosen]


def test_given_algorithms() -> None:
    """Keys for other than the given algorithms are left out."""
    assert [key.kid for key in jwk.parse(key_set(RSA, PSS, EC, ED), ["ES256", "PS256"])] == [PSS.kid, EC.kid]


@rows(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0" * 8},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "RS384"},
        {"alg": "RSA-OAEP"},
        {"alg": "ES256"},
        {"alg": 5},
        {"kty": "AKP"},
        {"kty": None},
        {"kid": 5},
        {"kid": "x" * 257},
        {"n": ""},
        {"n": "!"},
        {"n": 5},
        {"n": "AQAB"},
        {"n": "_" * 11_000},
        {"e": "AQ"},
        {"e": "Ag"},
        {"e": "_" * 342},
        {"e": ""},
    ],
)
def test_left_out(change: dict[str, Any]) -> None:
    """A member that is not for signatures, weak, slow, malformed or unknown is left out, and the others are used."""
    assert [key.kid for key in jwk.parse(body(RSA.jwk | change, EC.jwk))] == [EC.kid]
    with pytest.raises(ValueError, match="no usable key"):
        jwk.parse(body(RSA.jwk | change))


@rows("member", [b'{"kid":"\xff"}', b'{"kty":"RSA","kid":"a","n":"\xe9"}'])
def test_unreadable(member: bytes) -> None:
    """A member whose text is not UTF-8 is left out as well."""
    assert [key.kid for key in jwk.parse(body(EC.jwk).replace(b"[", b"[" + member + b",", 1))] == [EC.kid]


@rows(
    "key, change",
    [
        (EC, {"crv": "P-384"}),
        (EC, {"crv": "secp256k1"}),
        (EC, {"x": "AQAB"}),
        (EC, {"x": "AA" * 40}),
        (EC, {"y": EC.jwk["x"]}),
        (ED, {"crv": "Ed448"}),
        (ED, {"crv": "X25519"}),
        (ED, {"x": "AQAB"}),
        (ED, {"alg": "ES256"}),
    ],
)
def test_other_curves(key: SigningKey, change: dict[str, Any]) -> None:
    """A point that is not on the curve, and other curves, are left out."""
    with pytest.raises(ValueError, match="no usable key"):
        jwk.parse(body(key.jwk | change))


def test_weak() -> None:
    """RSA keys of fewer than 2,048 bits are left out."""
    with pytest.raises(ValueError, match="no usable key"):
        jwk.parse(key_set(SigningKey(bits=1024)))


def test_private_members() -> None:
    """Private members, certificates and URLs are ignored."""
    extra = {"d": "AQAB", "x5c": ["x"], "x5u": "http://evil.example", "jku": 5}
    [key] = jwk.parse(body(RSA.jwk | extra))
    assert not hasattr(key.public, "private_numbers")


def test_same_id() -> None:
    """Two keys with one id would be a matter of luck; two algorithms may share one."""
    with pytest.raises(ValueError, match="same id"):
        jwk.parse(key_set(RSA, SigningKey(kid=RSA.kid)))
    with pytest.raises(ValueError, match="same id"):
        jwk.parse(body(without(RSA, "kid"), SigningKey(kid="").jwk))
    assert len(jwk.parse(body(RSA.jwk, EC.jwk | {"kid": RSA.kid}))) == 2


@rows(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"keys": null}',
        b'{"keys": {}}',
        b'{"keys": [}',
        b"\xff",
        b"[" * 100_000,
        b'{"keys": ' + b"[" * 100_000,
        b'{"keys": [' + b'{"kty":' * 10_000,
        b"<html>",
    ],
)
def test_no_key_set(text: bytes) -> None:
    """Anything but a key set is rejected."""
    with pytest.raises(ValueError, match="not a key set"):
        jwk.parse(text)


def test_too_large() -> None:
    """A set has a bounded size and number of keys."""
    with pytest.raises(ValueError, match="larger"):
        jwk.parse(b" " * (jwk.MAX_BYTES + 1))
    with pytest.raises(ValueError, match="more than 100"):
        jwk.parse(body(*[{}] * 101))
    assert jwk.parse(body(RSA.jwk, *[{}] * 99))


MEMBERS = st.dictionaries(
    st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y"]),
    st.deferred(
        lambda: st.sampled_from(
            ["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "ES256", "AQAB", EC.jwk["x"], ED.jwk["x"], RSA.jwk["n"]]
        )
    )
    | st.text(max_size=9)
    | st.none()
    | st.integers()
    | st.lists(st.text(max_size=4), max_size=2),
)


@given(st.lists(MEMBERS | st.none() | st.integers(), max_size=4))
def test_random_sets(members: list[Any]) -> None:
    """Any key set results in usable keys or the documented error."""
    try:
        keys = jwk.parse(body(*members))
    except ValueError:
        return
    assert all(key.algorithm in jwk.ALGORITHMS for key in keys)
