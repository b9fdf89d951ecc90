"""Exports over HTTP: the answer is made while it is sent, and a failure in its middle cannot be taken for its end."""

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug import Response

from notifier.errors import BrokerUnavailable, InvalidApiKey
from notifier.http.answers import install
from notifier.http.credentials import Credentials
from notifier.http.front import Front
from notifier.http.routes.users import UserViews
from notifier.limit_settings import LimitSettings
from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ClientAddresses
from notifier.limits.requests import RequestLimits
from notifier.limits.responses import ResponseMemory
from notifier.limits.users import UserLimits
from notifier.protocol.api_key import ApiKey
from notifier.protocol.forwarded import Proxies
from notifier.settings import AuthSettings
from tests.kit.credentials import NoAudit
from tests.kit.requests import request_of

KEY = ApiKey("all", "secret-of-the-full-key")


class Users:
    """One user, whose inbox has the lists of a test. An exception in it is raised instead."""

    def __init__(self) -> None:
        self.inbox: list[Any] = []

    def export(self, user: str) -> dict[str, Any]:
        return {"user": user, "inbox": self._lists(), "history": iter([[]]), "topics": [], "mutes": {}}

    def _lists(self) -> Iterator[list[Any]]:
        for each in self.inbox:
            if isinstance(each, Exception):
                raise each
            yield each


class FakeService:
    """The routes with a limit of two exports at a time."""

    def __init__(self) -> None:
        self.users, self.audit, app = Users(), NoAudit(), Flask(__name__)
        low = LimitSettings(key_requests=3, key_exports=2)
        none: Any = None
        limits = AddressLimits(low), UserLimits(low, 1), KeyLimits(low)
        self.limits = RequestLimits(ClientAddresses(Proxies()), *limits, ResponseMemory(low))
        self.is_revoked = False
        keys = Credentials(AuthSettings(), none, self._find, self.limits)
        users: Any = self.users
        audit: Any = self.audit
        app.register_blueprint(UserViews(keys, users, audit, self.limits).blueprint())
        install(app)
        self._front = Front(app.wsgi_app, "", lambda request: Response(), "users", limits=self.limits)

    def _find(self, text: str) -> ApiKey:
        if self.is_revoked:
            raise InvalidApiKey("The API key was revoked.")
        return KEY

    def begin(self, method: str = "GET") -> tuple[int, Iterable[bytes]]:
        """Send a request for an export, and return the status and the body, unread as gunicorn has it."""
        request = request_of(b"", path="/v1/users/alice/export", method=method, authorization=f"Bearer {KEY.secret}")
        status: list[str] = []
        body = self._front(request.environ, lambda given, *_: status.append(given))  # type: ignore[arg-type]
        return int(status[0].split()[0]), body


def close(body: Any) -> None:
    """End an answer as gunicorn does."""
    body.close()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.mark.parametrize("lists", [[], [[]], [[1]], [[1], [], [2, 3]], [[], [{"a": [1]}, "[,]"], []]])
def test_document(service: FakeService, lists: list[list[Any]]) -> None:
    """The answer is one JSON object, in however many pieces it is read."""
    service.users.inbox = lists
    status, body = service.begin()
    inbox = [each for few in lists for each in few]
    expected = {"user": "alice", "inbox": inbox, "history": [], "topics": [], "mutes": {}}
    assert (status, json.loads(b"".join(body))) == (200, expected)
    assert service.audit.entries == [("user.exported", {"user": "alice"})]


def test_reading_ahead(service: FakeService) -> None:
    """Nothing is read that the client has no room for."""
    service.users.inbox = [[1], [2], AssertionError("was read ahead")]
    _, body = service.begin()
    parts = iter(body)
    assert b"".join(next(parts) for _ in range(5)).endswith(b'"inbox":[1,2')


@pytest.mark.parametrize("error", [BrokerUnavailable("gone"), InvalidApiKey("revoked")])
def test_failure(service: FakeService, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A failure in the middle ends the connection within the JSON object, with one line in the log."""
    service.users.inbox = [[1], error]
    _, body = service.begin()
    sent = bytearray()
    with caplog.at_level(logging.WARNING), pytest.raises(BrokenPipeError):
        for part in body:
            sent += part
    assert sent == b'{"user":"alice","inbox":[1'
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "was cut off" in caplog.text and "Traceback" not in caplog.text


def test_revoked(service: FakeService) -> None:
    """A key that is revoked gets no more of an answer that its client reads slowly."""
    service.users.inbox = [[number] for number in range(10)]
    _, body = service.begin()
    parts = iter(body)
    assert b"".join(next(parts) for _ in range(4)).endswith(b'"inbox":[0')
    service.is_revoked = True
    with pytest.raises(BrokenPipeError):
        next(parts)


@pytest.mark.parametrize("how", ["read", "closed", "HEAD"])
def test_limit(service: FakeService, how: str) -> None:
    """Exports count until they are sent, or their connection ends."""
    begun = [service.begin() for _ in range(2)]
    status, body = service.begin()
    refusal = json.loads(b"".join(body))
    assert (status, refusal["code"], refusal["limit"]) == (429, "rate_limited", "key_exports")
    assert len(service.audit.entries) == 2
    for _, each in begun:
        if how == "read":
            b"".join(each)
        close(each)
        close(each)
    for _ in range(3):
        status, body = service.begin(how if how == "HEAD" else "GET")
        assert status == 200
        close(body)
