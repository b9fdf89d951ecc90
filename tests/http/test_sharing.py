"""Sharing with pages of other origins: preflights, and headers on every answer."""

import pytest
from flask import Flask
from werkzeug import Response
from werkzeug.test import Client

from notifier.http.answers import install
from notifier.http.front import Front
from notifier.http.hosts import Hosts
from notifier.http.sharing import Sharing
from notifier.settings import AuthSettings
from tests.kit.cases import rows
from tests.kit.credentials import credentials_of

ORIGIN = {"Origin": "https://shop.example"}
CORS = "Access-Control-Allow-Origin"


def client_of(hosts: Hosts | None = None) -> Client:
    """Return a client of an application with one shared route, and one that is not shared."""
    app = Flask(__name__)
    app.get("/v1/inbox/counts", provide_automatic_options=False)(lambda: {"unread": 1})
    app.get("/v1/users", endpoint="users")(list)
    settings = AuthSettings(allowed_origins=("https://shop.example",))
    sharing = Sharing(credentials_of(settings))
    sharing.install(app)
    install(app)
    front = Front(app.wsgi_app, "", publish=lambda request: Response(), name="sharing", hosts=hosts, sharing=sharing)
    return Client(front)


@pytest.fixture
def client() -> Client:
    """A client of the application."""
    return client_of()


@rows("path", ["/v1/inbox", "/v1/inbox/counts", "/v1/inbox/nothing", "/v1/stream", "/v1/stream/x"])
def test_preflight(client: Client, path: str) -> None:
    """A preflight is answered on every path, so that a page can read what follows."""
    answer = client.options(path, headers=ORIGIN)
    assert (answer.status_code, answer.headers[CORS]) == (204, "https://shop.example")
    assert "X-Request-Id" in answer.headers
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    names = {"Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID", "X-Request-Id"}
    assert names <= set(allowed)


@rows(
    ("method", "path", "status"),
    [
        ("GET", "/v1/inbox/counts", 200),
        ("GET", "/v1/inbox/nothing", 404),
        ("GET", "/v1/inbox/", 404),
        ("POST", "/v1/inbox/counts", 405),
        ("GET", "/v1/stream/x", 404),
        ("GET", "/v1/inbox/counts?a=%E9", 400),
    ],
)
def test_every_answer(client: Client, method: str, path: str, status: int) -> None:
    """Errors can be read, too."""
    answer = client.open(path, method=method, headers=ORIGIN)
    assert (answer.status_code, answer.headers[CORS]) == (status, "https://shop.example")
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


@rows("path", ["/v1/inbox/counts", "/v1/stream", "/v1/users"])
def test_refusals(path: str) -> None:
    """Pages can read why a request is refused before its route is known, with credentials and without."""
    client = client_of(Hosts(("https://notify.example",)))
    for headers, origin in ((ORIGIN, ORIGIN["Origin"]), ({"Origin": "https://other.example"}, "*")):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers[CORS]) == (421, origin)
        assert ("Access-Control-Allow-Credentials" in answer.headers) == (origin != "*")
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        preflight = client.options(path, headers=headers)
        assert (preflight.status_code, preflight.headers[CORS]) == (421 if path == "/v1/users" else 204, origin)


@rows("path", ["/v1/users", "/v1/inboxes", "/v1/streams", "/v1", "/nothing"])
def test_others(client: Client, path: str) -> None:
    """Routes of backends are not shared."""
    assert CORS not in client.get(path, headers=ORIGIN).headers
    assert CORS not in client.options(path, headers=ORIGIN).headers
