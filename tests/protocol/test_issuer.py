"""Issuers: how the setting describes them, and the errors for mistakes."""

import json
from typing import Any

import pytest

from notifier.protocol.issuer import Issuer, parse
from notifier.protocol.token_policy import Policy
from tests.kit.cases import rows
from tests.kit.issuers import SigningKey, key_set

NAME, URL = "https://issuer.example/", "https://issuer.example/.well-known/jwks.json"
ENTRY = {"issuer": NAME, "jwks_url": URL}


def test_least() -> None:
    """An issuer needs a name and the URL of its keys."""
    assert parse(json.dumps([ENTRY])) == (Issuer(Policy(issuer=NAME), URL),)
    assert parse("") == parse("[]") == ()
    assert parse(json.dumps([ENTRY]))[0].name == NAME


def test_all() -> None:
    """Audience, algorithms and claims may be given; one audience needs no list."""
    claims = {"user": "uid", "topics": "/app/topics", "publish": "p", "audience": "client_id"}
    entry = ENTRY | {"audience": ["a", "b"], "algorithms": ["ES256"], "claims": claims}
    [issuer] = parse(json.dumps([entry]))
    assert issuer.algorithms == ("ES256",)
    assert issuer.policy == Policy(NAME, ("a", "b"), Policy().max_age, "uid", "/app/topics", "p", "client_id")
    assert parse(json.dumps([ENTRY | {"audience": "a"}]))[0].policy.audience == ("a",)


def test_tenant() -> None:
    """An issuer may be confined to a tenant."""
    assert parse(json.dumps([ENTRY]))[0].policy.tenant == ""
    assert parse(json.dumps([ENTRY | {"tenant": None}]))[0].policy.tenant == ""
    assert parse(json.dumps([ENTRY | {"tenant": "acme"}]))[0].policy.tenant == "acme"


def test_fixed_keys() -> None:
    """The keys may be in the setting."""
    key = SigningKey("ES256")
    [issuer] = parse(json.dumps([{"issuer": NAME, "jwks": json.loads(key_set(key))}]))
    assert [(each.kid, each.algorithm) for each in issuer.keys] == [(key.kid, "ES256")]
    assert not issuer.url


@rows("host", ["localhost", "127.0.0.1:8080", "[::1]:80"])
def test_this_machine(host: str) -> None:
    """Keys of this machine may come without TLS."""
    assert parse(json.dumps([ENTRY | {"jwks_url": f"http://{host}/keys?a=b"}]))


@rows(
    "entry, said",
    [
        ({"issuer": NAME}, "either jwks_url or jwks"),
        (ENTRY | {"tenant": "A b"}, "a tenant for https://issuer.example/ that is none"),
        (ENTRY | {"tenant": ""}, "a tenant for https://issuer.example/ that is none"),
        (ENTRY | {"tenant": 5}, "JSON list"),
        (ENTRY | {"jwks": {"keys": []}}, "either jwks_url or jwks"),
        ({"issuer": NAME, "jwks": {"keys": []}}, "cannot be used: the key set has no usable key"),
        ({"issuer": NAME, "jwks": "x"}, "cannot be used: it is not a key set"),
        ({"jwks_url": URL}, "JSON list"),
        (ENTRY | {"issuer": ""}, "without a name"),
        (ENTRY | {"issuer": 5}, "JSON list"),
        (ENTRY | {"audiences": "a"}, "audiences"),
        (ENTRY | {"audience": 5}, "JSON list"),
        (ENTRY | {"audience": ["a", ""]}, "empty"),
        (ENTRY | {"audience": ""}, "empty"),
        (ENTRY | {"claims": {"user": ""}}, "empty"),
        (ENTRY | {"claims": {"audience": "azp"}}, "no audience"),
        (ENTRY | {"claims": {"name": "x"}}, "name"),
        (ENTRY | {"algorithms": ["HS256"]}, "unknown algorithms"),
        (ENTRY | {"algorithms": ["none"]}, "unknown algorithms"),
        (ENTRY | {"algorithms": "RS256"}, "JSON list"),
        *(
            (ENTRY | {"jwks_url": url}, "https://")
            for url in [
                "",
                "issuer.example",
                "http://issuer.example/keys",
                "http://127.0.0.1.issuer.example/",
                "http://localhost.issuer.example/",
                "http:///keys",
                "https://",
                "https:///keys",
                "https://user:password@issuer.example/",
                "https://issuer.example:port/",
                "https://issuer.example/\r\nX: y",
                "https://issuer.example/a b",
                "https://ïssuer.example/",
                "file:///etc/passwd",
                "ftp://issuer.example/",
            ]
        ),
    ],
)
def test_mistakes(entry: dict[str, Any], said: str) -> None:
    """The text names the mistake, and ends a sentence."""
    with pytest.raises(ValueError, match=said):
        parse(json.dumps([entry]))


@rows("text", ["{", "{}", "null", "[1]", "[null]", "x", "[" * 10_000])
def test_no_list(text: str) -> None:
    """The setting is a JSON list of objects."""
    with pytest.raises(ValueError, match="JSON list"):
        parse(text)


def test_twice() -> None:
    """An issuer is named once."""
    with pytest.raises(ValueError, match="twice"):
        parse(json.dumps([ENTRY, ENTRY]))
