"""Members of topics over HTTP: which of them a key sees."""

from typing import Any

import pytest
from flask import Flask
from werkzeug import Response
from werkzeug.test import Client

from notifier.http.answers import install
from notifier.http.front import Front
from notifier.http.routes.topics import TopicViews
from notifier.protocol.api_key import ApiKey
from notifier.settings import AuthSettings, InboxSettings
from tests.kit.credentials import credentials_of

KEYS = {
    "all": ApiKey("all", "secret-of-the-full-key"),
    "some": ApiKey("some", "secret-of-the-limited-key", users=("b*",)),
    "acme": ApiKey("acme", "secret-of-acme's-key", users=("b*",), tenant="acme"),
}
NAMES = ["a1", "a2", "b1", "b2", "c1", "c2", "c3"]


class Members:
    """The members of every topic."""

    def page(self, topic: str, after: str, limit: int) -> list[str]:
        tenant, separator, _ = topic.rpartition("\x1f")
        names = [f"{tenant}{separator}{name}" for name in NAMES]
        return [name for name in names if name > after][:limit]


@pytest.fixture
def client() -> Client:
    """A client of the routes."""
    members: Any = Members()
    auditor: Any = None
    app = Flask(__name__)
    credentials = credentials_of(AuthSettings(api_keys=tuple(KEYS.values())))
    app.register_blueprint(TopicViews(credentials, members, InboxSettings(), auditor).blueprint())
    install(app)
    return Client(Front(app.wsgi_app, "", publish=lambda request: Response(), name="topics"))


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(("by", "names"), [("all", NAMES), ("some", ["b1", "b2"]), ("acme", ["b1", "b2"])])
def test_pages(client: Client, by: str, names: list[str], limit: int) -> None:
    """The pages have all members that the key grants. No other one is named, also not as the end of a page."""
    found: list[str] = []
    query = ""
    while True:
        headers = {"Authorization": f"Bearer {KEYS[by].secret}"}
        answer = client.get(f"/v1/topics/orders/members?limit={limit}{query}", headers=headers).json
        found += answer["members"]
        if answer["next"] is None:
            break
        assert answer["next"] == found[-1] and len(answer["members"]) == limit
        query = f"&after={found[-1]}"
    assert found == names
