"""Publishing over HTTP: which content types and queries are accepted, and the answers."""

import json
from typing import Any

import flask
import pytest
from werkzeug import Response

from notifier.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    IdempotencyMismatch,
    IncompleteBody,
    InvalidApiKey,
    MalformedJson,
    Problem,
    RateLimited,
    UnsupportedMediaType,
)
from notifier.http.batch import RECIPIENT, Batches
from notifier.http.body import HOLD
from notifier.http.routes.notifications import NotificationViews
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ClientAddresses
from notifier.limits.requests import RequestLimits
from notifier.limits.responses import ResponseMemory
from notifier.limits.users import UserLimits
from notifier.protocol.api_key import ApiKey
from notifier.protocol.forwarded import Proxies
from notifier.protocol.notification import Limits, Publication
from notifier.publishing.publisher import Answer, Post
from notifier.settings import AuthSettings, PublishingSettings
from tests.kit.cases import rows
from tests.kit.credentials import NoAudit, credentials_of
from tests.kit.requests import request_of

KEY = ApiKey("backend", "secret-of-the-backend", frozenset({"publish"}), ("orders",))
RECALL = ApiKey("recall", "secret-of-the-recall-key", frozenset({"recall"}))
EVERYONE = ApiKey("everyone", "secret-of-the-loud-key", frozenset({"broadcast"}))
NOTE = b'{"to":{"users":["alice"]},"title":"x"}'
PUBLISHED = Answer(b'{"id":"1"}')
JSON, NDJSON = "application/json", "application/x-ndjson"


class Publisher:
    """Records what is published, and gives each publication the same answer."""

    def __init__(self, answer: Answer | Problem) -> None:
        self.posts: list[Post] = []
        self._answer = answer

    def publish(self, posts: list[Post]) -> list[Answer | Problem]:
        self.posts += posts
        return [self._answer] * len(posts)


class Explanation:
    """Explains each publication by its channels."""

    def of(self, publication: Publication, shows: Any, count: Any) -> list[Any]:
        count(len(publication.channels))
        return [*publication.channels]


def limits_of(**settings: int) -> RequestLimits:
    """Return limits of requests with these settings."""
    limits = LimitSettings(**settings)
    parts = AddressLimits(limits), UserLimits(limits, 10), KeyLimits(limits)
    return RequestLimits(ClientAddresses(Proxies()), *parts, ResponseMemory(limits))


class Backend:
    """Publishes through the views."""

    def __init__(self, answer: Answer | Problem = PUBLISHED, usage: RequestLimits | None = None) -> None:
        self._usage = usage
        self.publisher = publisher = Publisher(answer)
        limits, settings = Limits(size=256), PublishingSettings(max_notification_bytes=256)
        parts: list[Any] = [publisher, Batches(publisher, limits, settings), Explanation()]  # type: ignore[arg-type]
        credentials = credentials_of(AuthSettings(api_keys=(KEY, RECALL, EVERYONE)), limits=usage)
        unused: Any = None
        self.explained: list[tuple[str, int]] = []  # API keys, and the number of inboxes
        more: Any = {"count_channels": lambda key, number: self.explained.append((key, number))}
        others: list[Any] = [unused, unused, limits, NoAudit(), usage or limits_of()]
        self._views = NotificationViews(credentials, *parts, *others, **more)

    def publish(self, body: Any = NOTE, kind: str | None = JSON, key: ApiKey = KEY, **options: Any) -> Response:
        """Return the answer to a request, which is published or raises."""
        headers = {"authorization": f"Bearer {key.secret}"} | ({} if kind is None else {"content_type": kind})
        request = request_of(body, **headers | options)
        if self._usage:
            self._usage.begin(request.environ)
        return self._views.publish(request)


class TestContentTypes:
    @rows("kind", [JSON, "Application/JSON", f"{JSON}; charset=utf-8", f" {JSON} ;", f"{JSON};x=y"])
    def test_json(self, kind: str) -> None:
        """One notification is JSON, in any case and with any parameters."""
        backend = Backend()
        answer = backend.publish(kind=kind)
        assert (answer.status_code, answer.get_data(), answer.content_type) == (201, b'{"id":"1"}', JSON)
        assert [post.body for post in backend.publisher.posts] == [NOTE]

    @rows("kind", [NDJSON, f"{NDJSON}; charset=utf-8", NDJSON.upper()])
    def test_ndjson(self, kind: str) -> None:
        """Many notifications are NDJSON, and so is the answer."""
        answer = Backend().publish(NOTE + b"\n[]", kind)
        assert (answer.status_code, answer.content_type) == (200, NDJSON)
        assert [json.loads(line)["status"] for line in answer.get_data().splitlines()] == [201, 400]

    @rows("kind", [JSON, NDJSON])
    def test_compressed(self, kind: str) -> None:
        """A compressed body is rejected as a whole, also if its lines would have answers of their own."""
        backend = Backend()
        with pytest.raises(UnsupportedMediaType) as caught:
            backend.publish(NOTE, kind, content_encoding="gzip")
        assert caught.value.headers == {"Accept-Encoding": "identity"}
        assert backend.publisher.posts == []

    @rows(
        "kind",
        [
            None,
            "",
            ";",
            "json",
            "text/plain",
            "text/json",
            "application/jsonl",
            "application/ndjson",
            "application/problem+json",
            "application/json, application/x-ndjson",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "\xff",
        ],
    )
    def test_others(self, kind: str | None) -> None:
        """No other content type is accepted, and nothing is published."""
        backend = Backend()
        with pytest.raises(UnsupportedMediaType):
            backend.publish(kind=kind)
        assert backend.publisher.posts == []


class TestKeys:
    def test_first(self) -> None:
        """Without a valid key with a scope to publish, nothing is read of a request."""
        backend = Backend()
        for key, problem in ((KEY._replace(secret="x" * 20), InvalidApiKey), (RECALL, Forbidden)):
            with pytest.raises(problem):
                backend.publish(b"[]", "text/plain", key)
        assert backend.publisher.posts == []

    @rows("to", [{"topics": ["news"]}, {"topics": ["orders", "news"]}, {"all": True}])
    @rows("query", ["", "dry_run=explain"])
    def test_grants(self, to: dict[str, Any], query: str) -> None:
        """A key must grant every channel, also for an explanation."""
        backend = Backend()
        with pytest.raises(Forbidden):
            backend.publish(json.dumps({"to": to, "title": "x"}).encode(), query=query)
        assert backend.publisher.posts == []


class TestBody:
    @rows("chunked", [False, True])
    def test_limit(self, chunked: bool) -> None:
        """A body may be as long as the limit, including spaces."""
        assert Backend().publish(NOTE.ljust(256), chunked=chunked).status_code == 201
        with pytest.raises(BodyTooLarge):
            Backend().publish(NOTE.ljust(257), chunked=chunked)

    def test_cut(self) -> None:
        """A body that was cut off is not published, even if it seems complete."""
        backend = Backend()
        with pytest.raises(IncompleteBody):
            backend.publish(length=len(NOTE) + 1)
        assert backend.publisher.posts == []

    @rows("body", [b"", b" ", b"[]", b"null", NOTE + NOTE, NOTE + b"\n" + NOTE, NOTE[:-1], b"\xff"])
    def test_malformed(self, body: bytes) -> None:
        """A body that is not one JSON object is rejected; several lines are not one."""
        with pytest.raises(MalformedJson):
            Backend().publish(body)


class TestQuery:
    def test_explain(self) -> None:
        """An explanation publishes nothing."""
        backend = Backend()
        answer = backend.publish(query="dry_run=explain")
        assert json.loads(answer.get_data()) == {"recipients": ["user:alice"]}
        assert backend.publisher.posts == []
        assert backend.explained == [(KEY.id, 1)]

    @rows(
        "query",
        ["dry_run", "dry_run=", "dry_run=1", "dryrun=explain", "dry_run=explain&x=1", "x=1", "=", "Dry_run=1"],
    )
    def test_misspelled(self, query: str) -> None:
        """A misspelled query is rejected, and publishes nothing."""
        backend = Backend()
        with pytest.raises(BadRequest):
            backend.publish(query=query)
        assert backend.publisher.posts == []

    @rows("query", ["dry_run=explain", "x=1"])
    def test_batch(self, query: str) -> None:
        """A batch has no query."""
        backend = Backend()
        with pytest.raises(BadRequest):
            backend.publish(kind=NDJSON, query=query)
        assert backend.publisher.posts == []


class TestAnswers:
    def test_replayed(self) -> None:
        """A replayed answer has a header."""
        assert "Idempotency-Replayed" not in Backend().publish(idempotency_key="k").headers
        backend = Backend(Answer(b"{}", replayed=True))
        assert backend.publish(idempotency_key="k").headers["Idempotency-Replayed"] == "true"
        assert [post.key for post in backend.publisher.posts] == ["backend:k"]

    def test_audit(self) -> None:
        """A publication to all has an entry in the audit log, and no other has."""
        backend = Backend()
        backend.publish()
        backend.publish(b'{"to":{"all":true},"title":"x"}', key=EVERYONE)
        assert [post.audit and post.audit("id") for post in backend.publisher.posts] == [None, b"id"]

    def test_problem(self) -> None:
        """A publication that failed raises its problem."""
        with pytest.raises(IdempotencyMismatch):
            Backend(IdempotencyMismatch()).publish(idempotency_key="k")


def test_long_batch() -> None:
    """A request counts once for its key, however often the key is checked while its lines are published."""
    backend = Backend(usage=limits_of(key_requests=1))
    answers = backend.publish(b"\n".join([NOTE] * 600), NDJSON).get_data().splitlines()
    assert [json.loads(answer)["status"] for answer in answers] == [201] * 600


def test_answers_of_batches_in_memory() -> None:
    """While many answers of a key wait to be read, a later batch is published in part, and can be sent again."""
    backend, batch = Backend(usage=limits_of(key_response_bytes=60_000)), b"\n".join([NOTE] * 2000)

    def statuses(answer: Response) -> list[int]:
        data = answer.get_data()
        assert answer.headers["Content-Length"] == str(len(data)) and not answer.headers.get("Transfer-Encoding")
        return [json.loads(line)["status"] for line in data.splitlines()]

    first = backend.publish(batch, NDJSON)
    later = statuses(backend.publish(batch, NDJSON))
    assert set(later) == {429}
    assert statuses(first) == [201] * 2000
    assert statuses(backend.publish(batch, NDJSON)) == [201] * 2000


def test_recipients_in_memory() -> None:
    """Each recipient of a publication to several counts as memory of the request, with its body."""
    held: list[int] = []
    users = ",".join(f'"u{number}"' for number in range(20)).encode()
    body = b'{"to":{"users":[%b]},"title":"x"}' % users
    request = request_of(body, authorization=f"Bearer {KEY.secret}", content_type=JSON)
    request.environ[HOLD] = lambda environ, size: held.append(size)
    Backend()._views.publish(request)
    assert RECIPIENT * 20 <= sum(held) < RECIPIENT * 20 + 2 * len(body)

    def refuse(environ: object, size: int) -> None:
        if size >= RECIPIENT * 20:
            raise RateLimited

    backend, request.environ[HOLD] = Backend(), refuse
    request.environ["wsgi.input"].seek(0)
    with pytest.raises(RateLimited):
        backend._views.publish(request)
    assert backend.publisher.posts == []


def test_receipts_count() -> None:
    """The channels whose receipts are read count for the account of the key."""

    class Found:
        def find(self, id: str) -> list[str]:
            return ["user:alice", "user:bob"]

        def of(self, id: str, names: list[str], count: Any) -> list[Any]:
            count(len(names))
            return []

    backend, found = Backend(), Found()
    views: Any = backend._views
    views._log = views._receipts = found
    id = "01a1fd1d-8160-7ed9-9413-3706f1c7998c"
    with flask.Flask("test").test_request_context(headers={"Authorization": f"Bearer {KEY.secret}"}):
        answer = views.show(id)
    assert answer.json == {"id": id, "channels": ["user:alice", "user:bob"], "receipts": []}
    assert backend.explained == [(KEY.id, 2)]
