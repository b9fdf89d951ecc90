"""The front: request ids, which requests it answers, and its answers to errors."""

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from werkzeug import Request, Response

from notifier import __version__
from notifier.errors import BrokerUnavailable
from notifier.http.answers import REQUEST_ID
from notifier.http.front import Front
from notifier.http.hosts import Hosts
from tests.kit.cases import rows
from tests.kit.requests import request_of

PATH = "/v1/notifications"


class Application:
    """A front whose two applications name themselves in their answers."""

    def __init__(self, error: Exception | None = None, origins: tuple[str, ...] = ()) -> None:
        self._error = error
        self._front = Front(self._flask, PATH, self._publish, "worker-1", Hosts(origins))
        self.ids: list[str] = []

    def _flask(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.ids.append(environ[REQUEST_ID])
        return Response("flask")(environ, start_response)

    def _publish(self, request: Request) -> Response:
        self.ids.append(request.environ[REQUEST_ID])
        if self._error:
            raise self._error
        return Response("front", 201)

    def answer(self, content_type: str | None = "application/json", **options: Any) -> Response:
        """Return the answer to a request."""
        kind = {} if content_type is None else {"content_type": content_type}
        return Response.from_app(self._front, request_of(b"{}", **kind, **options).environ)


@rows(
    "options",
    [
        {"content_type": "application/json; charset=utf-8"},
        {"content_type": "Application/JSON"},
        {"content_type": "application/x-ndjson"},
        {"content_type": "text/plain"},
        {"content_type": ""},
        {"content_type": None},
        {"method": "GET"},
        {"method": "PUT"},
        {"method": "OPTIONS"},
        {"query": "dry_run=explain"},
        {"path": "/v1/notifications/"},
        {"path": "/v1/notifications/1"},
        {"path": "/v1/Notifications"},
        {"path": "/"},
    ],
)
def test_others(options: dict[str, Any]) -> None:
    """Everything but a single publication as plain JSON goes to Flask, with a request id."""
    application = Application()
    assert application.answer(**options).get_data() == b"flask"
    assert application.ids == ["worker-1-1"]


def test_publication() -> None:
    """A publication is answered without Flask, and the answer is signed."""
    response = Application().answer()
    assert (response.status_code, response.get_data()) == (201, b"front")
    assert response.headers["X-Request-Id"] == "worker-1-1"
    assert response.headers["Notifier-Version"] == __version__


@rows("name", ["if_match", "if_none_match"])
@rows("path", [PATH, "/v1/inbox", "/static/notifier.js"])
def test_long_tags(path: str, name: str) -> None:
    """Lists of ETags that would take long to read are rejected, on every path; dozens of tags are not."""
    some, many = '"0123456789abcdef01234567", ' * 36, "a," * 513
    for method in ("GET", "POST"):
        assert Application().answer(path=path, method=method, **{name: some}).status_code in (200, 201)
        application = Application()
        answer = application.answer(path=path, method=method, **{name: many})
        assert (answer.status_code, json.loads(answer.get_data())["code"]) == (431, "head_too_large")
        assert application.ids == []


@rows("path", [PATH, "/v1/inbox"])
def test_other_host(path: str) -> None:
    """Neither application sees a request to another host. The answer is a signed problem."""
    application = Application(origins=("https://notify.example",))
    response = application.answer(path=path, host="evil.example")
    assert (response.status_code, json.loads(response.get_data())["code"]) == (421, "misdirected_request")
    assert response.headers["Notifier-Version"] == __version__
    assert application.ids == []
    assert application.answer(path=path, host="notify.example").status_code < 300


class TestIds:
    def test_numbers(self) -> None:
        """Every request has a number, also if Flask does not answer it."""
        application = Application()
        for method in ("POST", "GET", "POST"):
            application.answer(method=method)
        assert application.ids == ["worker-1-1", "worker-1-2", "worker-1-3"]

    @rows("id", ["a", "x" * 128, "a.b:c_d-e", "019a0000-0000-7000-8000-000000000000"])
    def test_given(self, id: str) -> None:
        """A valid id of the client or of a proxy is used."""
        application = Application()
        assert application.answer(x_request_id=id).headers["X-Request-Id"] == id
        assert application.ids == [id]

    @rows("id", ["", " ", "x" * 129, "a b", "a\n", "a\r\nSet-Cookie: x", "\xe4", "<x>", '"a"', "a,b"])
    def test_replaced(self, id: str) -> None:
        """An id that could break a header or a log is replaced."""
        assert Application().answer(x_request_id=id).headers["X-Request-Id"] == "worker-1-1"


class TestErrors:
    def test_problem(self) -> None:
        """A problem is answered as one, with its headers and the request id."""
        response = Application(BrokerUnavailable("gone", retry_after=3)).answer(x_request_id="r")
        document = json.loads(response.get_data())
        assert (response.status_code, response.content_type) == (503, "application/problem+json")
        assert (document["code"], document["detail"], document["request_id"]) == ("broker_unavailable", "gone", "r")
        assert response.headers["Retry-After"] == "3"
        assert response.headers["X-Request-Id"] == "r"
        assert response.headers["Notifier-Version"] == __version__

    def test_fault(self, caplog: pytest.LogCaptureFixture) -> None:
        """An unexpected error is logged under the request id. The answer does not contain it."""
        with caplog.at_level(logging.ERROR):
            response = Application(RuntimeError("a secret")).answer(x_request_id="r")
        assert (response.status_code, json.loads(response.get_data())["code"]) == (500, "internal_error")
        assert b"a secret" not in response.get_data()
        assert response.headers["X-Request-Id"] == "r"
        [record] = caplog.records
        assert "r failed" in record.getMessage()
        assert record.exc_info
        assert str(record.exc_info[1]) == "a secret"
