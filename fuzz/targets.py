"""Targets: each reads bytes as the service does, and raises nothing but what a client may cause."""

import io
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import hiredis
from werkzeug import Request

from notifier.auth.api_keys import ApiKeys
from notifier.broker.redis_connection import RedisConnection
from notifier.errors import BrokerUnavailable, Disconnect, InvalidApiKey, Problem
from notifier.http.batch import Batches
from notifier.http.credentials import Credentials, idempotency_key
from notifier.http.hosts import Hosts
from notifier.protocol import (
    frames,
    identity,
    inbox_query,
    inbox_request,
    jwk,
    jws,
    notification,
    stream_query,
    token_request,
)
from notifier.protocol.api_key import ApiKey
from notifier.protocol.identity import Identity
from notifier.protocol.notification import Limits
from notifier.protocol.session import Rules, Session
from notifier.protocol.websocket import Decoder
from notifier.settings import AuthSettings, PublishingSettings

NOW = 1_800_000_000.0
SECRETS = ("a-secret-of-at-least-thirty-two-bytes", "another-secret-of-thirty-two-bytes")
KEY = ApiKey("fuzz", "nk_a_key_that_nobody_has")
USER = Identity("ada", NOW + 3600, ("*",), ("*",))
_LIMITS = Limits()
_MOST = 65_536  # bytes of a message


def read_frames(data: bytes) -> None:
    """WebSocket frames: whatever the pieces, the events are the same, and only a disconnect ends them."""
    cut = data[0] if data else 0
    whole, parts = _events([data]), _events([data[:cut], data[cut:]])
    assert whole == parts, (whole, parts)


def _events(pieces: list[bytes]) -> list[Any]:
    decoder = Decoder(_MOST)
    found: list[Any] = []
    try:
        for piece in pieces:
            decoder.receive(piece)
            for event in decoder.events():
                found.append(event)  # a fault comes after the events before it
    except Disconnect as disconnect:
        found.append(disconnect.close_code)
    return found


def read_stream(data: bytes) -> None:
    """Messages of a client, before and after its hello."""
    for who in (None, USER):
        session = Session(Rules(lambda token, now: identity.verify(token, SECRETS, now)), NOW, who)
        try:
            for line in data.split(b"\0"):
                for _ in session.receive(line.decode("utf-8", "replace"), NOW):
                    session.welcomed()
        except Disconnect:
            continue


def read_notification(data: bytes) -> None:
    """A notification: what is accepted is JSON that every reader can read, with the fields that were sent."""
    try:
        publication = notification.parse(data, _LIMITS)
    except Problem as problem:
        problem.document()
        return
    written = json.loads(publication.encode("an-id", 0.0))
    assert written["id"] == "an-id"
    assert _is_finite(written)


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def read_token(data: bytes) -> None:
    """A token: nothing that fuzzing can make is signed."""
    token = data.decode("latin-1")
    for read in (lambda: identity.verify(token, SECRETS, NOW), lambda: jws.read_issuer(token)):
        try:
            jws.read_head(token)
            read()
        except Problem:
            continue


def read_claims(data: bytes) -> None:
    """Claims of a token that is signed: an identity has valid names and a finite expiry."""
    try:
        claims = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(claims, dict):
        return
    try:
        who = identity.admit(identity.read(claims, NOW, AuthSettings().policy), NOW)
    except Problem:
        return
    assert who.user.isprintable()
    assert NOW < who.expires < NOW + 40 * 86400


def read_keys(data: bytes) -> None:
    """A key set: keys have algorithms that are allowed, and no symmetric key is one."""
    try:
        keys = jwk.parse(data)
    except ValueError:
        return
    assert all(not key.algorithm.startswith("HS") for key in keys)


def read_batch(data: bytes) -> None:
    """An NDJSON body: each line has an answer, and nothing else ends it."""
    publisher = SimpleNamespace(publish=lambda posts: [BrokerUnavailable() for _ in posts])
    batches = Batches(publisher, _LIMITS, PublishingSettings(max_notification_bytes=512))  # type: ignore[arg-type]
    for answer in batches.publish(_request(data), KEY, str.encode, lambda: None):
        json.loads(answer)


def read_query(data: bytes) -> None:
    """A query string of the stream and of the inbox, and its header."""
    text, _, header = data.decode("latin-1").partition("\0")
    items = parse_qsl(text, keep_blank_values=True)
    for read in (lambda: stream_query.read(items, header, 100), lambda: inbox_query.read_query(items)):
        try:
            read()
        except Problem as problem:
            problem.document()


def read_cookie(data: bytes) -> None:
    """The headers by which a page is known: nobody is admitted."""
    names = ("HTTP_COOKIE", "HTTP_ORIGIN", "HTTP_HOST", "HTTP_SEC_FETCH_SITE", "HTTP_AUTHORIZATION")
    headers = dict(zip(names, data.decode("latin-1").split("\n"), strict=False))
    request = _request(b"", **headers)
    settings = AuthSettings(allowed_origins=("https://shop.example",), api_keys=(KEY,))
    keys = ApiKeys(settings.api_keys, SimpleNamespace())  # type: ignore[arg-type]
    credentials = Credentials(settings, lambda token: identity.verify(token, SECRETS, NOW), keys.find)
    checks: tuple[Callable[[], object], ...] = (
        lambda: credentials.identity(request),
        lambda: credentials.require_key(request, "publish"),
        lambda: Hosts(("https://notify.example",)).check(request.environ),
    )
    for check in checks:
        try:
            assert check() is None
        except Problem:
            continue
    credentials.sharing(request)


def _find_key(text: str) -> ApiKey:
    if text == KEY.secret:
        return KEY
    raise InvalidApiKey()


def read_bodies(data: bytes) -> None:
    """Bodies of the inbox and of tokens, cursors of frames, and idempotency keys."""
    reads: tuple[Callable[[], object], ...] = (
        lambda: inbox_request.read_target(data, 100),
        lambda: inbox_request.read_mutes(data),
        lambda: token_request.read_token_request(data, 3600),
        lambda: token_request.read_revocation(data, NOW),
        lambda: frames.decode_cursor(data.decode("latin-1")),
        lambda: idempotency_key(_request(b"", HTTP_IDEMPOTENCY_KEY=data.decode("latin-1")), KEY),
    )
    for read in reads:
        try:
            read()
        except Problem as problem:
            problem.document()


def read_replies(data: bytes) -> None:
    """Replies of Redis in pieces: the connection is closed, or they are read whole."""
    cut = data[0] if data else 0
    connection = RedisConnection.__new__(RedisConnection)
    connection._connection = SimpleNamespace(disconnect=lambda: None)
    pieces = iter((data[:cut], data[cut:], b""))
    connection._socket = SimpleNamespace(recv=lambda size: next(pieces))
    connection._reader = hiredis.Reader(replyError=_error)
    try:
        while True:
            connection.receive()
    except (BrokerUnavailable, StopIteration):
        return


def _error(text: str) -> Exception:
    return RuntimeError(text)


def _request(body: bytes, **environ: str) -> Request:
    return Request(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/v1/inbox",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "fuzz",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            **environ,
        }
    )


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": read_frames,
    "stream": read_stream,
    "notification": read_notification,
    "tokens": read_token,
    "claims": read_claims,
    "jwks": read_keys,
    "ndjson": read_batch,
    "queries": read_query,
    "cookies": read_cookie,
    "bodies": read_bodies,
    "replies": read_replies,
}
