"""Members of topics over HTTP: which of them a key sees."""

from typing import Any

import pytest
from flask import Flask
from werkzeug import Response
from werkzeug.test import Client

from notifier.audience.members import Added
from notifier.http.answers import install
from notifier.http.front import Front
from notifier.http.routes.topics import TopicViews
from notifier.protocol import channel
from notifier.protocol.api_key import ApiKey
from notifier.settings import AuthSettings, InboxSettings
from tests.kit.credentials import NoAudit, credentials_of

KEYS = {
    "all": ApiKey("all", "secret-of-the-full-key"),
    "some": ApiKey("some", "secret-of-the-limited-key", users=("b*",)),
    "acme": ApiKey("acme", "secret-of-acme's-key", users=("b*",), tenant="acme"),
}
NAMES = ["a1", "a2", "b1", "b2", "c1", "c2", "c3"]


class Members:
    """The members of every topic. `changes` are those that were made."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, ...]] = []

    def would_change(self, topic: str, add: list[str], remove: list[str]) -> bool:
        return not set(add) <= set(NAMES) or not set(remove).isdisjoint(NAMES)

    def add(self, topic: str, users: list[str]) -> Added:
        self.changes.append(("add", *users))
        return Added(len(users), [])

    def remove(self, topic: str, users: list[str]) -> int:
        self.changes.append(("remove", *users))
        return len(users)

    def page(self, topic: str, after: str, limit: int, patterns: tuple[str, ...]) -> list[str]:
        tenant, separator, _ = topic.rpartition("\x1f")
        names = [f"{tenant}{separator}{name}" for name in NAMES]
        return [name for name in names if name > after and channel.grants(patterns, name)][:limit]


@pytest.fixture
def members() -> Members:
    """The members."""
    return Members()


@pytest.fixture
def auditor() -> NoAudit:
    """The entries that would be in the audit log."""
    return NoAudit()


@pytest.fixture
def client(members: Any, auditor: Any) -> Client:
    """A client of the routes."""
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


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "changes"),
    [
        ("PUT", "/a1", None, 204, []),
        ("PUT", "/new", None, 204, [("add", "new")]),
        ("DELETE", "/new", None, 204, []),
        ("DELETE", "/a1", None, 204, [("remove", "a1")]),
        ("POST", "", {"add": ["a1", "b1"], "remove": ["new"]}, 200, []),
        ("POST", "", {"add": ["a1", "new"]}, 200, [("remove",), ("add", "a1", "new")]),
    ],
)
def test_no_change(
    client: Client,
    members: Members,
    auditor: NoAudit,
    method: str,
    path: str,
    body: Any,
    status: int,
    changes: list[tuple[str, ...]],
) -> None:
    """A request that changes no member is answered as usual, and has no entry in the audit log."""
    headers = {"Authorization": f"Bearer {KEYS['all'].secret}"}
    answer = client.open(f"/v1/topics/orders/members{path}", method=method, json=body, headers=headers)
    assert (answer.status_code, members.changes) == (status, changes)
    assert len(auditor.entries) == bool(changes)
    if body and not changes:
        assert answer.json == {"added": 0, "removed": 0, "refused": []}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ("", "required")),
        ({"add": []}, ("", "empty")),
        ({"add": [], "remove": []}, ("", "empty")),
        ({"add": [""] * 1001}, ("", "too_many")),
        ({"add": [""] * 600, "remove": [""] * 600}, ("", "too_many")),
        ({"add": [""] * 50_000}, ("", "too_many")),
        ({"add": [0] * 50_000}, ("", "too_many")),
    ],
)
def test_number_of_names(client: Client, change: dict[str, list[str]], fault: tuple[str, str]) -> None:
    """A change with no names, or with too many, has one fault: the names are not looked at."""
    headers = {"Authorization": f"Bearer {KEYS['all'].secret}"}
    answer = client.post("/v1/topics/orders/members", json=change, headers=headers)
    assert answer.status_code == 422
    assert [(each["pointer"], each["code"]) for each in answer.json["errors"]] == [fault]


def test_many_wrong_names(client: Client) -> None:
    """Of many wrong names the first are listed, and the answer says so."""
    headers = {"Authorization": f"Bearer {KEYS['all'].secret}"}
    answer = client.post("/v1/topics/orders/members", json={"add": ["a b"] * 1000}, headers=headers).json
    assert len(answer["errors"]) == 50 and "first 50" in answer["detail"]
