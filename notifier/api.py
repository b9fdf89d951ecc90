"""REST for publishers: `POST /v1/notifications` and what became of it. `docs/http-api.md` describes it."""

import hmac
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app, request

from notifier.errors import (
    BodyTooLarge,
    BrokerUnavailable,
    Forbidden,
    IncompleteBody,
    InvalidApiKey,
    InvalidIdempotencyKey,
    NotFound,
    Problem,
    UnsupportedMediaType,
)
from notifier.intake import Answer, Request
from notifier.node import Node
from notifier.protocol import channel as channels
from notifier.protocol import notification
from notifier.protocol.notification import Limits, Publication
from notifier.settings import ApiKey, Settings

JSON, NDJSON = "application/json", "application/x-ndjson"
MAX_KEY = 255  # characters of an Idempotency-Key
_BATCH = 256  # lines published together: a few milliseconds, then others have their turn
_READ = 65536  # bytes per read of a body

api = Blueprint("api", __name__)
_encode = msgspec.json.Encoder().encode


@api.post("/v1/notifications")
def publish() -> Response:
    """Publish one notification, or one per line."""
    key = _authenticate("publish", "broadcast")
    if request.mimetype == JSON:
        return _publish_one(key)
    if request.mimetype == NDJSON:
        return Response(b"".join(_publish_lines(key)), mimetype=NDJSON)
    raise UnsupportedMediaType(f"Send {JSON} for one notification or {NDJSON} for one per line.")


@api.get("/v1/notifications/<id>")
def show(id: str) -> Response:
    """Tell where a notification went."""
    _authenticate("publish", "broadcast")
    return Response(_encode({"id": id, "channels": _channels_of(id)}), mimetype=JSON)


@api.delete("/v1/notifications/<id>")
def recall(id: str) -> Response:
    """Take a notification back: open tabs remove it, clients that are away never see it."""
    key = _authenticate("recall")
    for name in _channels_of(id):
        kind, _, topic = name.partition(":")
        if name == channels.ALL:
            _require_scope(key, "broadcast")
        elif kind == "topic":
            _require_topic(key, topic)
    _node().broker.recall(id, notification.time_of(id) or 0)
    return Response(status=204)


@api.get("/healthz")
def healthz() -> Response:
    """Tell that this process answers."""
    return Response(_encode({"status": "ok"}), mimetype=JSON)


@api.get("/readyz")
def readyz() -> Response:
    """Tell whether this worker hears what is published."""
    if not _node().is_ready:
        raise BrokerUnavailable("This worker does not hear what is published.", retry_after=1)
    return Response(_encode({"status": "ready"}), mimetype=JSON)


def _publish_one(key: ApiKey) -> Response:
    body = _body(_settings().max_notification_bytes)
    publication = notification.parse(body, _limits())
    _require_grants(key, publication)
    [answer] = _node().intake.publish([Request(publication, body, _idempotency_key(key))])
    if isinstance(answer, Problem):
        raise answer
    response = Response(answer.json, status=201, mimetype=JSON)
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _publish_lines(key: ApiKey) -> Iterator[bytes]:
    """Yield an answer for each line; a bad line does not fail the others."""
    name, limits = _idempotency_key(key), _limits()
    lines = ((number, line) for number, line in enumerate(_lines(), 1) if line.strip())
    failure: Problem | None = None
    while batch := list(itertools.islice(lines, _BATCH)):
        parsed = [_parse_line(key, line, limits) for _, line in batch]
        requests = [
            Request(publication, line, f"{name}:{number}" if name else "")
            for (number, line), publication in zip(batch, parsed, strict=True)
            if isinstance(publication, Publication)
        ]
        answers: list[Answer | Problem] = []
        if failure is None:
            try:
                answers = _node().intake.publish(requests)
            except BrokerUnavailable as problem:
                failure = problem  # the lines behind would only wait for the same timeout, each batch again
        remaining = iter(answers or itertools.repeat(failure))
        for (number, _), publication in zip(batch, parsed, strict=True):
            answer = publication if isinstance(publication, Problem) else next(remaining)
            yield _answer_line(number, answer)


def _parse_line(key: ApiKey, line: bytes | Problem, limits: Limits) -> Publication | Problem:
    if isinstance(line, Problem):
        return line
    try:
        publication = notification.parse(line, limits)
        _require_grants(key, publication)
    except Problem as problem:
        return problem
    return publication


def _answer_line(number: int, answer: Any) -> bytes:
    if isinstance(answer, Answer):
        replayed = b'"replayed":true,' if answer.replayed else b""
        return b'{"line":%d,"status":201,%b%b\n' % (number, replayed, answer.json[1:])
    return _encode({"line": number} | answer.document()) + b"\n"


def _lines() -> Iterator[bytes]:
    """Yield the lines of the body as they come.

    Raises:
        BodyTooLarge: the body is longer than the limit. What came before is published.
        IncompleteBody: the body was cut off; half a line is not published.
    """
    longest = _settings().max_notification_bytes
    rest = b""
    for data in _read(_settings().max_batch_bytes):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > longest:
            raise BodyTooLarge(f"A line has at most {longest} bytes.")
    if rest:
        yield rest


def _body(limit: int) -> bytes:
    return b"".join(_read(limit))


def _read(limit: int) -> Iterator[bytes]:
    """Yield the body in pieces.

    Raises:
        BodyTooLarge: it is longer than the limit, in bytes.
        IncompleteBody: it was cut off.
    """
    announced = request.content_length
    if announced is not None and announced > limit:
        raise BodyTooLarge(f"At most {limit} bytes; this body has {announced}.")
    size = 0
    while data := _read_piece():
        size += len(data)
        if size > limit:
            raise BodyTooLarge(f"At most {limit} bytes.")
        yield data
    if announced is not None and size < announced:
        raise IncompleteBody(f"{announced} bytes were announced, {size} came.")


def _read_piece() -> bytes:
    try:
        return request.stream.read(_READ)
    except Exception as error:
        # Of many kinds: a reset connection, a chunk with a wrong size, a client that went away.
        raise IncompleteBody(str(error)) from error


def _authenticate(*scopes: str) -> ApiKey:
    """Return the API key of the request; it must have one of the scopes.

    Raises:
        InvalidApiKey, Forbidden
    """
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    found = None
    for key in _settings().api_keys:
        # All are compared, so that the time taken says nothing about how far a guess was right.
        if hmac.compare_digest(key.secret.encode(), given.strip().encode()):
            found = key
    if found is None or scheme.lower() != "bearer":
        raise InvalidApiKey(
            "Send Authorization: Bearer <api key>.", headers={"WWW-Authenticate": 'Bearer realm="notifier"'}
        )
    if not found.scopes.intersection(scopes):
        raise Forbidden(f"The key {found.id} has none of the scopes {', '.join(scopes)}.")
    return found


def _require_grants(key: ApiKey, publication: Publication) -> None:
    if publication.users or publication.topics:
        _require_scope(key, "publish")
    if publication.all:
        _require_scope(key, "broadcast")
    for topic in publication.topics:
        _require_topic(key, topic)


def _require_scope(key: ApiKey, scope: str) -> None:
    if scope not in key.scopes:
        raise Forbidden(f"The key {key.id} does not have the scope {scope}.")


def _require_topic(key: ApiKey, topic: str) -> None:
    if not channels.grants(key.topics, topic):
        raise Forbidden(f"The key {key.id} does not grant the topic {topic}.")


def _idempotency_key(key: ApiKey) -> str:
    """Return the idempotency key of the request, distinct from those of other publishers; empty: none."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return ""
    name = given.strip().strip('"')  # the draft standard has it quoted, most clients do not
    if not name or len(name) > MAX_KEY or not name.isascii() or not name.isprintable():
        raise InvalidIdempotencyKey(f"From 1 to {MAX_KEY} printable ASCII characters.")
    return f"{key.id}:{name.replace('{', '%7B').replace('}', '%7D')}"


def _channels_of(id: str) -> list[str]:
    found = _node().broker.find(id) if notification.time_of(id) is not None else None
    if found is None:
        raise NotFound("There is no such notification, or it is no longer kept.")
    return found


def _limits() -> Limits:
    settings = _settings()
    return Limits(settings.max_notification_bytes, settings.max_users, settings.max_topics)


def _settings() -> Settings:
    return _node().settings


def _node() -> Node:
    node: Node = current_app.extensions["notifier"]
    return node
