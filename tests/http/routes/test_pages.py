"""Pages: which host names the demo answers to, its tokens, and the headers of all pages."""

import time
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from notifier import errors
from notifier.http.routes.pages import create_pages
from notifier.protocol import identity
from notifier.protocol.api_key import ApiKey
from notifier.settings import AuthSettings, ServerSettings, Settings
from tests.kit.cases import rows

KEY = ApiKey("demo", "secret-of-the-demo-page")
SECRET = "the-secret-that-signs-" * 2
LOCAL = ["localhost", "localhost:8080", "LOCALHOST", "demo.localhost", "127.0.0.1:8080", "192.168.1.20", "[::1]:8080"]
FOREIGN = [
    "",
    "rebound.example",
    "localhost.example",
    "notlocalhost",
    "127.0.0.1.example",
    "1.2.3.4x",
    "x@localhost.example",
]
Get = Callable[..., TestResponse]


def pages(*, dev: bool) -> Get:
    """Return a function that requests a page of a service."""
    auth = AuthSettings(api_keys=(KEY,), token_secrets=(SECRET,))
    app = Flask("notifier.http.app", static_folder="static", template_folder="templates")
    app.register_blueprint(create_pages(Settings(server=ServerSettings(dev=dev), auth=auth)))
    app.add_url_rule("/v1/notifications", "notifications.publish")

    def get(path: str, host: str = "localhost") -> TestResponse:
        return app.test_client().get(path, environ_overrides={"HTTP_HOST": host})

    return get


@pytest.fixture
def demo() -> Get:
    """Requests pages in development mode."""
    return pages(dev=True)


class TestDemo:
    @rows("path", ["/", "/demo/token?user=alice"])
    @rows("host", LOCAL)
    def test_local(self, demo: Get, path: str, host: str) -> None:
        """The demo is served at names and addresses that no other site can have."""
        assert demo(path, host).status_code == 200

    @rows("path", ["/", "/demo/token?user=alice"])
    @rows("host", FOREIGN)
    def test_foreign(self, demo: Get, path: str, host: str) -> None:
        """The demo reveals nothing to a site whose name resolves to this address."""
        answer = demo(path, host)
        assert answer.status_code == 404
        assert KEY.secret not in answer.text

    def test_page(self, demo: Get) -> None:
        """The page has the key to publish with."""
        assert KEY.secret in demo("/").text

    def test_token(self, demo: Get) -> None:
        """A token is of one of the demo's users, and grants its topic."""
        token = demo("/demo/token?user=bob").json["token"]  # type: ignore[index]
        who = identity.verify(token, (SECRET,), time.time())
        assert (who.user, who.topics, who.publish) == ("bob", ("orders",), ("orders",))

    @rows("query", ["", "?user=", "?user=mallory", "?user=Alice"])
    def test_other_users(self, demo: Get, query: str) -> None:
        """Other users get no token."""
        assert demo(f"/demo/token{query}").status_code == 404

    @rows("path", ["/", "/demo/token?user=alice"])
    def test_production(self, path: str) -> None:
        """There is no demo outside development mode."""
        assert pages(dev=False)(path).status_code == 404


def test_errors() -> None:
    """The list of errors has an anchor for each code, and is served at any name."""
    text = pages(dev=False)("/docs/errors", "notify.example").text
    for problem in errors.Problem.__subclasses__():
        assert f'id="{problem.code}"' in text


def test_headers(demo: Get) -> None:
    """Pages load nothing of other origins, and cannot be framed."""
    for path in ("/", "/docs/errors"):
        headers = demo(path).headers
        assert headers["Content-Security-Policy"] == "default-src 'self'; frame-ancestors 'none'"
        assert headers["Referrer-Policy"] == "no-referrer"
