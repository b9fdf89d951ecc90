"""Hostile tokens: each costs its reader much, unless it is rejected at once; and key sets of hostile issuers."""

import base64
import itertools
import json
import secrets
import zlib
from collections.abc import Iterator, Mapping

from attacks.target import Target, bearer
from tests.kit.issuers import ENDLESS, SLOW, KeyServer, SigningKey


def _bomb() -> str:
    """Return a JWE whose claims are zeros, a megabyte of them for each kilobyte of it."""
    header = {"alg": "dir", "enc": "A256GCM", "zip": "DEF"}
    payload = zlib.compress(b"0" * 10_000_000)[2:-4]
    parts = [json.dumps(header).encode(), b"", b"x" * 12, payload[:9000], b"x" * 16]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _nested(depth: int) -> str:
    """Return a token whose header is nested."""
    header = '{"alg":"HS256","x":' + "[" * depth + "]" * depth + "}"
    return base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode() + ".e30.x"


TOKENS = {
    "a JWE that inflates": _bomb(),
    "a deep header": _nested(5000),
    "a long word": "x" * 16_000,
    "dots": "." * 16_000,
    "no signature": "eyJhbGciOiJub25lIn0.e30.",
    "a long header": "eyJ" * 5000 + ".e30.x",
}


def requests_with(token: str) -> list[tuple[str, str, Mapping[str, str]]]:
    """Return the method, the path and the headers of requests that have a token, wherever it may be."""
    return [
        ("GET", "/v1/inbox", bearer(token)),
        ("GET", "/v1/inbox", {"Cookie": f"notifier_token={token}"}),
        ("GET", "/v1/stream", bearer(token)),
        ("GET", "/v1/stream", bearer(token) | {"Accept": "text/event-stream"}),
        ("POST", "/v1/stream", bearer(token)),
    ]


def hostile_tokens(target: Target, number: int) -> Iterator[str]:
    """Send hostile tokens in turn; yield the statuses."""
    requests = [request for token in TOKENS.values() for request in requests_with(token)]
    for method, path, headers in itertools.cycle(requests):
        status, _ = target.ask(method, path, headers=headers, number=number)
        yield str(status)


def unknown_keys(target: Target, number: int) -> Iterator[str]:
    """Send tokens of all `hostile_issuers` in turn, each with a key id that nobody knows; yield the statuses."""
    key = SigningKey("EdDSA")
    for issuer in itertools.cycle(range(len(ENDLESS + SLOW))):
        claims = {"iss": f"https://{issuer}.example/", "sub": "x", "exp": 4_000_000_000, "aud": "x"}
        status, _ = target.ask("GET", "/v1/inbox", headers=bearer(key.sign(claims, kid=secrets.token_hex(8))))
        yield str(status)


def hostile_issuers() -> tuple[list[KeyServer], str]:
    """Return servers of key sets that are slow or endless, one for each way, and the setting of their issuers."""
    servers = [KeyServer() for _ in ENDLESS + SLOW]
    for server, serve in zip(servers, ENDLESS + SLOW, strict=True):
        server.serve = serve
    issuers = [
        {"issuer": f"https://{number}.example/", "audience": ["x"], "algorithms": ["EdDSA"], "jwks_url": server.url}
        for number, server in enumerate(servers)
    ]
    return servers, json.dumps(issuers)
