"""REST for publishers: publish, explain, look up and recall notifications. docs/http-api.md describes it."""

import functools
from collections.abc import Callable, Iterable

import flask
from flask import Blueprint
from werkzeug import Request, Response

from notifier.broker.log import Log
from notifier.errors import BadRequest, Forbidden, NotFound, Problem, UnsupportedMediaType
from notifier.http import body
from notifier.http.answers import JSON, NDJSON, json_answer
from notifier.http.auditor import Auditor
from notifier.http.batch import RECIPIENT, Batches
from notifier.http.batch_answer import BatchAnswer
from notifier.http.credentials import Credentials, idempotency_key
from notifier.limits.requests import RequestLimits
from notifier.protocol import audit, notification
from notifier.protocol import tenant as tenants
from notifier.protocol.api_key import SCOPES, ApiKey
from notifier.protocol.notification import Limits, Publication
from notifier.protocol.notification_id import canonical_id
from notifier.publishing.explanation import Explanation
from notifier.publishing.publisher import Payer, Post, Publisher
from notifier.publishing.receipts import Receipts

PUBLISH = "/v1/notifications"


class NotificationViews:
    """The views of notifications."""

    def __init__(
        self,
        credentials: Credentials,
        publisher: Publisher,
        batches: Batches,
        explanation: Explanation,
        receipts: Receipts,
        log: Log,
        limits: Limits,
        auditor: Auditor,
        requests: RequestLimits,
        payer: Callable[[ApiKey], Payer | None] = lambda _: None,
        count_channels: Callable[[str, int], None] = lambda key, number: None,
    ) -> None:
        self._credentials = credentials
        self._publisher = publisher
        self._batches = batches
        self._explanation = explanation
        self._receipts = receipts
        self._log = log
        self._limits = limits
        self._payer = payer
        self._count_channels = count_channels  # that an explanation or receipts read
        self._auditor = auditor
        self._requests = requests

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        blueprint = Blueprint("notifications", __name__)
        blueprint.post(PUBLISH, endpoint="publish")(lambda: self.publish(flask.request))
        blueprint.get(f"{PUBLISH}/<id>")(self.show)
        blueprint.delete(f"{PUBLISH}/<id>")(self.recall)
        return blueprint

    def publish(self, request: Request) -> Response:
        """Publish one notification, or one per line.

        The request is an argument because the hot path calls this without Flask.
        """
        key = self._credentials.require_key(request, "publish", "broadcast")
        kind = request.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind == JSON and request.query_string:
            return self._explain(request, key)
        if kind == JSON:
            return self._publish_one(request, key)
        if kind == NDJSON:
            if request.query_string:
                raise BadRequest("dry_run explains one notification at a time, sent as application/json.")
            return self._publish_lines(request, key)
        raise UnsupportedMediaType(f"Send {JSON} for one notification or {NDJSON} for one per line.")

    def show(self, id: str) -> Response:
        """Return the channels and the receipts of a notification."""
        key = self._credentials.require_key(flask.request, *SCOPES)
        id = canonical_id(id)
        found = self._channels_of(id, key)
        _require_recipients(key, found)
        receipts = self._receipts.of(id, found, functools.partial(self._count_channels, key.account))
        return json_answer({"id": id, "channels": list(map(tenants.public, found)), "receipts": receipts})

    def recall(self, id: str) -> Response:
        """Recall a notification: open tabs remove it, clients that are offline never receive it."""
        key = self._credentials.require_key(flask.request, "recall")
        id = canonical_id(id)
        found = self._channels_of(id, key)
        _require_recipients(key, found)
        key.require_grants(found, "recall")
        self._auditor.write(flask.request, key, audit.RECALLED, notification=id)
        self._log.recall(id)
        return Response(status=204)

    def _publish_one(self, request: Request, key: ApiKey) -> Response:
        publication, text = self._read(request, key)
        post = Post(publication, text, idempotency_key(request, key), payer=self._payer(key))
        if tenants.everyone_of(key.tenant) in publication.channels:
            post = post._replace(audit=self._auditor.broadcast(request, key))
        if len(publication.channels) > 1:
            body.hold(request.environ, RECIPIENT * len(publication.channels))
        [answer] = self._publisher.publish([post])
        if isinstance(answer, Problem):
            raise answer
        response = Response(answer.json, 201, content_type=JSON)
        if answer.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    def _publish_lines(self, request: Request, key: ApiKey) -> Response:
        body.require_uncompressed(request)
        requests, environ = self._requests, request.environ

        def check() -> None:
            self._credentials.key_of(request)
            requests.require_response_room(environ)

        answer = BatchAnswer(lambda size: requests.hold(environ, size))
        for line in self._batches.publish(request, key, self._auditor.broadcast(request, key), check):
            answer.add(line)
        return Response(answer.parts(), content_type=NDJSON, headers={"Content-Length": str(answer.size)})

    def _explain(self, request: Request, key: ApiKey) -> Response:
        """Return what would happen with a notification, and publish nothing."""
        if request.args.get("dry_run") != "explain" or len(request.args) > 1:
            raise BadRequest("The only query parameter is dry_run=explain.")
        publication, _ = self._read(request, key)
        count = functools.partial(self._count_channels, key.account)
        return json_answer({"recipients": self._explanation.of(publication, _shows(key), count)})

    def _read(self, request: Request, key: ApiKey) -> tuple[Publication, bytes]:
        """Return the publication in the body of a request, and the body. The key must grant its channels."""
        text = body.read(request, self._limits.size)
        publication = notification.parse(text, self._limits).scoped(key.tenant)
        key.require_grants(publication.channels, "publish")
        return publication, text

    def _channels_of(self, id: str, key: ApiKey) -> list[str]:
        """Return the channels of a notification of the key's tenant."""
        found = self._log.find(id) if notification.time_of(id) is not None else None
        if found is None or any(tenants.of_channel(name) != key.tenant for name in found):
            raise NotFound("There is no such notification, or it is no longer stored.")
        return found


def _shows(key: ApiKey) -> Callable[[str], bool]:
    """Return whether a key may see that a user is a member."""
    return lambda user: key.grants_user(tenants.outward(user))


def _require_recipients(key: ApiKey, channels: Iterable[str]) -> None:
    """Reject a key that does not grant all recipients of a notification, without the names of those.

    Raises:
        Forbidden
    """
    try:
        key.require_channels(channels)
    except Forbidden:
        raise Forbidden(f"The key {key.id} does not grant all recipients of the notification.") from None
