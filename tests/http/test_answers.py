"""Answers: ETags, problems, and errors of Flask."""

import json
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, request, send_file
from werkzeug import Response

from notifier import __version__
from notifier.errors import BrokerUnavailable, PreconditionFailed
from notifier.http import answers
from notifier.http.answers import REQUEST_ID, problem_answer, tagged_answer
from tests.kit.cases import rows
from tests.kit.requests import request_of

DOCUMENT = {"unread": 1}
TAG = tagged_answer(request_of(method="GET"), DOCUMENT).headers["ETag"]


class TestTags:
    def test_tag(self) -> None:
        """The ETag depends on the document alone, not on the fields that change with time."""
        answer = tagged_answer(request_of(method="GET"), DOCUMENT, {"cursor": "5-0"})
        assert json.loads(answer.get_data()) == {"unread": 1, "cursor": "5-0"}
        assert answer.headers["ETag"] == TAG
        assert tagged_answer(request_of(method="GET"), {"unread": 2}).headers["ETag"] != TAG

    @rows("given", [TAG, f"W/{TAG}", f'"x", {TAG}', "*"])
    def test_unchanged(self, given: str) -> None:
        """A client that has this version gets 304 without a body."""
        answer = tagged_answer(request_of(method="GET", if_none_match=given), DOCUMENT)
        assert (answer.status_code, answer.headers["ETag"]) == (304, TAG)

    @rows("given", ['"x"', "", TAG.strip('"') + "x"])
    def test_changed(self, given: str) -> None:
        """A client that has another version gets this one."""
        answer = tagged_answer(request_of(method="GET", if_none_match=given), DOCUMENT)
        assert (answer.status_code, json.loads(answer.get_data())) == (200, DOCUMENT)

    def test_if_match(self) -> None:
        """A stale ETag in If-Match is a problem, which has the current one."""
        assert tagged_answer(request_of(method="GET", if_match=TAG), DOCUMENT).status_code == 200
        with pytest.raises(PreconditionFailed) as caught:
            tagged_answer(request_of(method="GET", if_match='"x"'), DOCUMENT)
        assert caught.value.headers["ETag"] == TAG


def test_problem() -> None:
    """A problem has the request id, and its headers are those of the answer."""
    answer = problem_answer(BrokerUnavailable("gone", retry_after=3), "r")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert json.loads(answer.get_data())["request_id"] == "r"
    assert answer.headers["Retry-After"] == "3"


class TestInstalled:
    @pytest.fixture
    def app(self) -> Flask:
        """An application with one path that fails, and one that reports a problem."""
        app = Flask(__name__)
        answers.install(app)

        @app.get("/fault")
        def fault() -> str:
            raise RuntimeError("a secret")

        @app.get("/problem")
        def problem() -> str:
            raise BrokerUnavailable("gone")

        @app.get("/document")
        def document() -> Response:
            return tagged_answer(request, DOCUMENT)

        @app.get("/file")
        def file() -> Response:
            return send_file(BytesIO(b"a file"), "text/plain")

        return app

    @rows("path", ["/document", "/file"])
    @rows("header", ["If-Modified-Since", "If-Range"])
    @rows("date", [f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT", f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}", "never"])
    def test_impossible_dates(self, app: Flask, path: str, header: str, date: str) -> None:
        """A condition with a date that cannot be read is ignored, and so is the range that depends on it."""
        whole = app.test_client().get(path, environ_overrides={REQUEST_ID: "r"})
        headers = {header: date} | ({"Range": "bytes=0-3"} if header == "If-Range" else {})
        answer = app.test_client().get(path, headers=headers, environ_overrides={REQUEST_ID: "r"})
        assert (answer.status_code, answer.data) == (200, whole.data)

    @pytest.mark.parametrize(("count", "status"), [(20, 206), (5_000, 200)])
    def test_many_ranges(self, app: Flask, count: int, status: int) -> None:
        """Some ranges are answered, a list of thousands is ignored."""
        headers = {"Range": "bytes=0-3" + ",0-3" * (count - 1)} if status == 200 else {"Range": "bytes=0-3"}
        answer = app.test_client().get("/file", headers=headers, environ_overrides={REQUEST_ID: "r"})
        assert answer.status_code == status

    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/nowhere", 404, "not_found"),
            ("POST", "/problem", 405, "method_not_allowed"),
            ("GET", "/problem", 503, "broker_unavailable"),
            ("GET", "/fault", 500, "internal_error"),
        ],
    )
    def test_errors(self, app: Flask, method: str, path: str, status: int, code: str) -> None:
        """Every error is a signed problem with the request id, and reveals no internals."""
        answer = app.test_client().open(path, method=method, environ_overrides={REQUEST_ID: "r"})
        document: dict[str, Any] = json.loads(answer.get_data())
        assert (answer.status_code, document["code"], document["request_id"]) == (status, code, "r")
        assert (answer.headers["X-Request-Id"], answer.headers["Notifier-Version"]) == ("r", __version__)
        assert b"a secret" not in answer.get_data()
        assert status != 405 or "GET" in answer.headers["Allow"]
