"""Targets: each reads bytes as the service does, and raises nothing but what a client may cause."""

import io
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import hiredis
from flask import Flask
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from werkzeug import Request
from werkzeug.test import Client

from notifier.auth.api_keys import ApiKeys
from notifier.broker.redis_connection import RedisConnection
from notifier.errors import BrokerUnavailable, Disconnect, Problem
from notifier.http import answers
from notifier.http.answers import REQUEST_ID
from notifier.http.batch import Batches
from notifier.http.credentials import Credentials, idempotency_key
from notifier.http.hosts import Hosts
from notifier.http.names import routes_with_names
from notifier.http.routes import topics
from notifier.protocol import (
    forwarded,
    frames,
    identity,
    inbox_query,
    inbox_request,
    jwk,
    jws,
    key_request,
    notification,
    plain_upgrade,
    stream_query,
    token_request,
)
from notifier.protocol.api_key import ApiKey
from notifier.protocol.identity import Identity
from notifier.protocol.notification import Limits
from notifier.protocol.session import Rules, Session
from notifier.protocol.websocket import Decoder
from notifier.server import heads
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


def read_bodies(data: bytes) -> None:
    """Bodies of the inbox, of tokens, keys and members, cursors of frames, and idempotency keys."""
    reads: tuple[Callable[[], object], ...] = (
        lambda: inbox_request.read_target(data, 100),
        lambda: inbox_request.read_mutes(data),
        lambda: token_request.read_token_request(data, 3600),
        lambda: token_request.read_revocation(data, NOW),
        lambda: key_request.read_key_request(data),
        lambda: key_request.read_rotation(data),
        lambda: topics._read_change(data, 1000),
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
    connection._received = bytearray(len(data) + 1)
    connection._socket = SimpleNamespace(recv_into=lambda buffer: _put(next(pieces), buffer))
    connection._reader = hiredis.Reader(replyError=_error)
    try:
        while True:
            connection.receive()
    except (BrokerUnavailable, StopIteration):
        return


def _put(piece: bytes, buffer: bytearray) -> int:
    buffer[: len(piece)] = piece
    return len(piece)


def _error(text: str) -> Exception:
    return RuntimeError(text)


def read_forwarded(data: bytes) -> None:
    """The headers of proxies: the client is an address, and never one that only the client itself has named."""
    given, _, listed = data.decode("latin-1").partition("\0")
    for one, other in ((given, listed), (given, None), (None, listed)):
        client = forwarded.client_of(_PROXY, one, other, _PROXIES)
        forwarded.unit_of(client)
        forwarded.text_of(forwarded.unit_of(client))
        assert forwarded.client_of(_STRANGER, one, other, _PROXIES) == _STRANGER


def read_head(data: bytes) -> None:
    """The head of a request: whatever the pieces, it is read or refused in the same way, and fits the limit."""
    cut = data[0] if data else 0
    whole, parts = _head_of([data]), _head_of([data[:cut], data[cut:]])
    assert whole == parts, (whole, parts)


class _Heads(RequestParser):  # type: ignore[misc]
    mesg_class = heads.BoundedRequest


def _head_of(pieces: list[bytes]) -> Any:
    try:
        request = next(_Heads(_GUNICORN, filter(None, pieces), ("127.0.0.1", 1)))  # an empty piece would be the end
        return request.method, request.uri, request.headers, request.body.read(4096)
    except (StopIteration, NoMoreData):
        return "nothing"
    except ParseException as error:
        return heads.problem_of(error).status


def read_upgrade(data: bytes) -> None:
    """A request to upgrade that is read without gunicorn: gunicorn reads the same headers, and no body."""
    found = plain_upgrade.read(data)
    if found is None:
        return
    request = next(_Heads(_GUNICORN, [data], ("127.0.0.1", 1)))
    headers = {f"HTTP_{name.replace('-', '_')}": value for name, value in request.headers}
    read = {name: value for name, value in found.environ.items() if name.startswith("HTTP_")}
    assert (request.method, request.uri, headers) == ("GET", "/v1/stream", read)
    assert request.body.read(1) == b""
    assert len(headers) == len(request.headers)


def read_path(data: bytes) -> None:
    """A path, as it was sent: each name in it is read once, and an unexpected fault is one of the service."""
    path = data.decode("latin-1").partition("?")[0]
    sent = {"RAW_URI": path, "PATH_INFO": unquote_to_bytes(data.partition(b"?")[0]).decode("latin-1")}
    for method in ("GET", "DELETE"):
        answer = _NAMED.open(environ_overrides={**sent, "REQUEST_METHOD": method, REQUEST_ID: "fuzz"})
        assert answer.status_code < 500, answer.get_data()


def _named() -> Client:
    blueprint = routes_with_names("names")
    blueprint.get("/topics/<name:topic>/members", merge_slashes=False)(lambda topic: [topic])
    path = "/topics/<name:topic>/members/<name:user>"
    blueprint.get(path, merge_slashes=False, endpoint="member")(lambda topic, user: [topic, user])
    blueprint.delete("/users/<name:user>", merge_slashes=False, endpoint="erase")(lambda user: [user])
    blueprint.get("/users/<name:user>/export", merge_slashes=False, endpoint="export")(lambda user: [user])
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    answers.install(app)
    return Client(app)


def _gunicorn() -> Config:
    config = Config()
    config.set("limit_request_fields", heads.MAX_FIELDS)
    config.set("limit_request_field_size", heads.MAX_FIELD)
    config.set("forwarder_headers", heads.FORWARDER_HEADERS)
    return config


_NAMED, _GUNICORN = _named(), _gunicorn()
_PROXIES = forwarded.parse("10.0.0.0/8, fd00::/8, unix")
_PROXY, _STRANGER = forwarded.read_peer("10.0.0.1"), forwarded.read_peer("192.0.2.1")


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
    "forwarded": read_forwarded,
    "heads": read_head,
    "upgrades": read_upgrade,
    "paths": read_path,
}
