"""Seeds: where the fuzzer begins, and what it found before."""

import base64
import json

import jwt

from fuzz.targets import NOW, SECRETS
from tests.kit import raw
from tests.kit.smuggling import HEADS

_CLAIMS = {"sub": "ada", "exp": NOW + 60, "iat": NOW, "topics": ["a:*"], "publish": [], "jti": "1", "aud": ["x"]}
_MODULUS = base64.urlsafe_b64encode(b"\xc5" * 255 + b"\x01").rstrip(b"=").decode()
_RSA = {
    "kty": "RSA",
    "kid": "1",
    "alg": "RS256",
    "use": "sig",
    "n": _MODULUS,
    "e": "AQAB",
}
_EC = {
    "kty": "EC",
    "kid": "2",
    "alg": "ES256",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x",
}


def _text(**fields: object) -> bytes:
    return json.dumps(fields).encode()


SEEDS: dict[str, list[bytes]] = {
    "frames": [
        raw.text(type="hello", token="x"),
        raw.frame(raw.PING, b"1") + raw.close(1000, b"bye"),
        b"".join(raw.fragments(raw.TEXT, b"a", "\u0101".encode(), b"")),
        raw.frame(raw.BINARY, b"x" * 200) + raw.frame(raw.TEXT, b"\xff"),
    ],
    "stream": [
        b"\0".join(
            (
                _text(type="hello", token=jwt.encode(_CLAIMS, SECRETS[0]), since="1-0", topics=["a"]),
                _text(type="subscribe", ref="1", topic="a", since="1-0"),
                _text(type="publish", ref="2", topic="a", notification={"title": "x", "data": [1.5, None]}),
                _text(type="read", ref="3", ids=["01a1fd1d-8160-7ed9-9413-000000000000"]),
                _text(type="ack", cursor="5-0", since="1-1"),
                _text(type="auth", ref="4", token="x"),
                _text(type="unsubscribe", topic="a"),
            )
        )
    ],
    "notification": [
        _text(to={"users": ["ada"], "topics": ["a"], "all": True}, title="x", data={"a": [1e300, "\u0101"]}, ttl=60),
        _text(
            to={"all": True}, type="a", body="b", action_url="https://[::1]:8080/x", severity="error", collapse_key="k"
        ),
    ],
    "tokens": [
        jwt.encode(_CLAIMS, SECRETS[0]).encode(),
        jwt.encode(_CLAIMS, "a-foreign-secret-of-many-bytes-0000").encode(),
    ],
    "claims": [json.dumps(_CLAIMS).encode(), _text(sub="ada", exp=NOW + 1, nbf=1, typ="Bearer", token_use="access")],
    "jwks": [
        _text(keys=[_RSA, _EC]),
        _text(keys=[{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]),
    ],
    "ndjson": [_text(to={"all": True}, title="x") + b"\r\n\n" + _text(to={}) + b"\n" + b"x" * 600 + b"\n{"],
    "queries": [b"since=1-0&topic=a+2-0&topic=%C4%81&wait=20&status=unread&limit=20&before=1-0~user:ada&type=x\x001-0"],
    "cookies": [b"notifier_token=x; a=b\nhttps://shop.example\nshop.example:443\nsame-origin\nBearer nk_x"],
    "bodies": [
        _text(ids=["x"]),
        _text(up_to="1-0"),
        _text(types=["a"], topics=["b"]),
        _text(user="ada", expires_in=60),
        b'"a\\"b"',
    ],
    "forwarded": [
        b'for=192.0.2.60;proto=http;by=203.0.113.43, for="[2001:db8:cafe::17]:4711"\x00192.0.2.60, 10.0.0.2',
        b"for=unknown, for=_hidden;by=_x\x00::ffff:192.0.2.1, [2001:db8::1]:80, 10.1.1.1:99",
    ],
    "heads": [
        b"POST /v1/notifications?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n",
        *HEADS.values(),
    ],
    "upgrades": [
        raw.handshake("GET /v1/stream HTTP/1.1"),
        raw.handshake("GET /v1/stream HTTP/1.1", {"Cookie": "a=b", "X-Forwarded-Proto": "https"}) + raw.close(1000),
    ],
    "paths": [
        b"/topics/a%2Fb/members/%C3%A9?x",
        b"/users/a/export",
        b"/topics//a/members/members/b",
        b"http://h/users/a",
    ],
    "replies": [
        b"*3\r\n$1\r\na\r\n:1\r\n-ERR x\r\n",
        b"*2\r\n*-1\r\n$-1\r\n+OK\r\n",
        b"%1\r\n+a\r\n,1.5\r\n_\r\n#t\r\n",
    ],
}

# Inputs that a target once failed on, by target.
FINDINGS: dict[str, list[bytes]] = {name: [] for name in SEEDS} | {
    "replies": [b"%1\r\n*3\r\n$1\r\naE_\r\n#t\r\n"],  # a list as the key of a map
}
