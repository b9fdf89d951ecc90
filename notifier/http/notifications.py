"""REST for publishers: `POST /v1/notifications` and what became of it. `docs/http-api.md` describes it."""

import hmac
import itertools
import time
from collections.abc import Iterator
from typing import Any

import flask
import msgspec
from flask import Blueprint
from werkzeug import Request, Response

from notifier.errors import (
    BadRequest,
    BodyTooLarge,
    BrokerUnavailable,
    Forbidden,
    InvalidApiKey,
    NotFound,
    Problem,
    UnsupportedMediaType,
)
from notifier.http import body, operations
from notifier.node import Node
from notifier.protocol import channel as channels
from notifier.protocol import notification
from notifier.protocol.notification import Publication
from notifier.protocol.publishing import idempotency_key
from notifier.publishing.publisher import Answer, Post
from notifier.settings import SCOPES, ApiKey
from notifier.telemetry import metrics

PUBLISH = "/v1/notifications"
JSON, NDJSON = "application/json", "application/x-ndjson"
_BATCH = 256  # appends published together: a few milliseconds, then others have their turn

_encode = msgspec.json.Encoder().encode


def create_blueprint(api: "Api") -> Blueprint:
    """Return the routes."""
    blueprint = Blueprint("api", __name__)
    blueprint.post(PUBLISH, endpoint="publish")(lambda: api.publish(flask.request))
    blueprint.get("/v1/notifications/<id>")(api.show)
    blueprint.delete("/v1/notifications/<id>")(api.recall)
    blueprint.get("/v1/status")(api.status)
    blueprint.get("/healthz")(api.healthz)
    blueprint.get("/readyz")(api.readyz)
    blueprint.get("/metrics", endpoint="metrics")(show_metrics)
    return blueprint


def show_metrics() -> Response:
    """Show what all workers have counted."""
    return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


class Api:
    """The views of one node."""

    def __init__(self, node: Node) -> None:
        settings = node.settings
        self._node = node
        self._settings = settings
        self._limits = node.limits

    def publish(self, request: Request) -> Response:
        """Publish one notification, or one per line.

        The request is an argument because the hot path comes here without Flask.
        """
        key = self.authenticate(request, "publish", "broadcast")
        kind = request.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind == JSON and request.query_string:
            return self._explain(request, key)
        if kind == JSON:
            return self._publish_one(request, key)
        if kind == NDJSON:
            if request.query_string:
                raise BadRequest("What would happen is explained for one notification at a time.")
            return _json_response(b"".join(self._publish_lines(request, key)), content_type=NDJSON)
        raise UnsupportedMediaType(f"Send {JSON} for one notification or {NDJSON} for one per line.")

    def show(self, id: str) -> Response:
        """Tell where a notification went, and what became of it there."""
        key = self.authenticate(flask.request, *SCOPES)
        found = self._channels_of(id)
        require_topics(key, found)
        receipts = self._node.receipts.of(id, found)
        return _json_response(_encode({"id": id, "channels": found, "receipts": receipts}))

    def recall(self, id: str) -> Response:
        """Take a notification back: open tabs remove it, clients that are away never see it."""
        key = self.authenticate(flask.request, "recall")
        _require_grants(key, self._channels_of(id), "recall")
        self._node.log.recall(id, notification.time_of(id) or 0)
        return Response(status=204)

    def status(self) -> Response:
        """Tell an operator with what this worker runs."""
        self.authenticate(flask.request, *SCOPES)
        return _json_response(_encode(operations.describe(self._settings, self._node.database.info())))

    def healthz(self) -> Response:
        """Tell that this process answers."""
        return _json_response(_encode({"status": "ok"}))

    def readyz(self) -> Response:
        """Tell whether this worker hears what is published, and can publish."""
        if not self._node.is_ready:
            raise BrokerUnavailable("This worker does not hear what is published, or cannot publish.", retry_after=1)
        return _json_response(_encode({"status": "ready"}))

    def _publish_one(self, request: Request, key: ApiKey) -> Response:
        text = body.read(request, self._settings.max_notification_bytes)
        publication = notification.parse(text, self._limits)
        _require_grants(key, publication.channels)
        [answer] = self._node.publisher.publish([Post(publication, text, _idempotency_key(request, key))])
        if isinstance(answer, Problem):
            raise answer
        response = _json_response(answer.json, 201)
        if answer.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    def _explain(self, request: Request, key: ApiKey) -> Response:
        """Tell what would happen with a notification, and publish nothing."""
        if request.args.get("dry_run") != "explain" or len(request.args) > 1:
            raise BadRequest("The query may be dry_run=explain, or nothing.")
        publication = notification.parse(body.read(request, self._settings.max_notification_bytes), self._limits)
        _require_grants(key, publication.channels)
        return _json_response(_encode({"recipients": self._node.receipts.explain(publication)}))

    def _publish_lines(self, request: Request, key: ApiKey) -> Iterator[bytes]:
        """Yield an answer for each line; a bad line does not fail the others."""
        name = _idempotency_key(request, key)
        failure: Problem | None = None
        for batch in self._batches(request, key):
            posts = [
                Post(publication, line, f"{name}:{number}" if name else "")
                for number, line, publication in batch
                if isinstance(publication, Publication)
            ]
            answers: Iterator[Answer | Problem | None] = itertools.repeat(failure)
            if failure is None:
                try:
                    answers = iter(self._node.publisher.publish(posts))
                except BrokerUnavailable as problem:
                    # The lines behind would only wait for the same timeout, each batch again.
                    answers, failure = itertools.repeat(problem), problem
            for number, _, publication in batch:
                yield _answer_line(number, publication if isinstance(publication, Problem) else next(answers))
            time.sleep(0)  # others have their turn, also where no line was worth a word with Redis

    def _batches(self, request: Request, key: ApiKey) -> Iterator[list[tuple[int, bytes, Publication | Problem]]]:
        """Yield lines with what they say, as many at a time as are published together."""
        batch: list[tuple[int, bytes, Publication | Problem]] = []
        weight = 0
        for number, line in enumerate(self._lines(request), 1):
            if number > self._settings.max_batch_lines:
                batch.append((number, b"", BodyTooLarge(f"At most {self._settings.max_batch_lines} lines.")))
                break
            if not number % _BATCH:
                time.sleep(0)
            if not line:
                continue
            said = self._parse_line(key, line)
            batch.append((number, line if isinstance(line, bytes) else b"", said))
            # An append takes the time of a line, and its body goes out once for each.
            weight += 1 if isinstance(said, Problem) else len(said.channels) * (1 + len(said.members) // 4096)
            if weight >= _BATCH:
                yield batch
                batch, weight = [], 0
        if batch:
            yield batch

    def _parse_line(self, key: ApiKey, line: bytes | Problem) -> Publication | Problem:
        if isinstance(line, Problem):
            return line
        try:
            publication = notification.parse(line, self._limits)
            _require_grants(key, publication.channels)
        except Problem as problem:
            return problem
        return publication

    def _lines(self, request: Request) -> Iterator[bytes | Problem]:
        """Yield the lines of the body as they come, blank ones as empty.

        A line that is too long is a problem in its place. If the body is too long or was cut off, the problem is the
        last line: what came before is published, half a line is not.
        """
        longest = self._settings.max_notification_bytes
        rest, skipping = b"", False
        try:
            for data in body.pieces(request, self._settings.max_batch_bytes):
                *lines, rest = (rest + data).split(b"\n")
                if lines and skipping:
                    del lines[0]
                    skipping = False
                for line in lines:
                    yield line.strip()
                if skipping:
                    rest = b""
                elif len(rest) > longest:
                    yield BodyTooLarge(f"A line has at most {longest} bytes.")
                    rest, skipping = b"", True
        except Problem as problem:
            yield problem
            return
        yield rest.strip()

    def authenticate(self, request: Request, *scopes: str) -> ApiKey:
        """Return the API key of the request; it must have one of the scopes.

        Raises:
            InvalidApiKey, Forbidden
        """
        scheme, _, given = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        secret, found = given.strip().encode(), None
        for key in self._settings.api_keys:
            # All are compared, so that the time taken says nothing about how far a guess was right.
            if hmac.compare_digest(key.secret.encode(), secret):
                found = key
        if found is None or scheme.lower() != "bearer":
            raise InvalidApiKey(
                "Send Authorization: Bearer <api key>.", headers={"WWW-Authenticate": 'Bearer realm="notifier"'}
            )
        if not found.scopes.intersection(scopes):
            raise Forbidden(f"The key {found.id} has none of the scopes {', '.join(scopes)}.")
        return found

    def _channels_of(self, id: str) -> list[str]:
        found = self._node.log.find(id) if notification.time_of(id) is not None else None
        if found is None:
            raise NotFound("There is no such notification, or it is no longer kept.")
        return found


def _answer_line(number: int, answer: Any) -> bytes:
    if isinstance(answer, Answer):
        replayed = b'"replayed":true,' if answer.replayed else b""
        return b'{"line":%d,"status":201,%b%b\n' % (number, replayed, answer.json[1:])
    return _encode({"line": number} | answer.document()) + b"\n"


def _require_grants(key: ApiKey, names: list[str], scope: str = "publish") -> None:
    """Refuse a key that may not reach all of these channels.

    Raises:
        Forbidden
    """
    require_topics(key, names)
    for name in names:
        needed = "broadcast" if name == channels.ALL else scope
        if needed not in key.scopes:
            raise Forbidden(f"The key {key.id} does not have the scope {needed}.")


def require_topics(key: ApiKey, names: list[str]) -> None:
    """Refuse a key that does not grant topics.

    Raises:
        Forbidden
    """
    for name in names:
        topic = channels.topic_of(name)
        if topic is not None and not channels.grants(key.topics, topic):
            raise Forbidden(f"The key {key.id} does not grant the topic {topic}.")


def _idempotency_key(request: Request, key: ApiKey) -> str:
    """Return the idempotency key of the request, distinct from those of other publishers; empty: none."""
    given = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return ""
    # The draft standard has it quoted, most clients do not.
    return idempotency_key(key.id, given.strip().strip('"'))


def _json_response(json: bytes, status: int = 200, content_type: str = JSON) -> Response:
    return Response(json, status, content_type=content_type)
