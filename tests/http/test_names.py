"""Names in paths: names with slashes, and names that are rejected."""

import pytest
from flask import Flask
from werkzeug.test import Client

from notifier.errors import BadRequest
from notifier.http.names import require_topic, require_user, routes_with_names


@pytest.fixture
def client() -> Client:
    """A client of an application that returns the names in its paths."""
    blueprint = routes_with_names("names")
    blueprint.get("/topics/<name:topic>/members", merge_slashes=False)(lambda topic: [topic])
    blueprint.get("/topics/<name:topic>/members/<name:user>", merge_slashes=False, endpoint="member")(
        lambda topic, user: [topic, user]
    )
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/topics/orders/members", ["orders"]),
        ("/topics/a/b/members", ["a/b"]),
        ("/topics//a/members", ["/a"]),
        ("/topics/a%2Fb/members", ["a/b"]),
        ("/topics/a//b/members/c/d", ["a//b", "c/d"]),
        ("/topics/members/members/members", ["members", "members"]),
        ("/topics/%C3%A9%20/members/%7B", ["é ", "{"]),
    ],
)
def test_paths(client: Client, path: str, names: list[str]) -> None:
    """A name may contain slashes and begin with one. Whether it is valid is checked by the view."""
    answer = client.get(path)
    assert (answer.status_code, answer.json) == (200, names)


@pytest.mark.parametrize("path", ["/topics/members", "/topics//members", "/topics/a/member"])
def test_no_name(client: Client, path: str) -> None:
    """A path without a name is not found."""
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("name", ["", "a b", "{a}", "..", "x" * 129, "a\n", "\u200b"])
def test_invalid(name: str) -> None:
    """An invalid name is rejected, and the problem says of what."""
    with pytest.raises(BadRequest, match="user: "):
        require_user(name)
    with pytest.raises(BadRequest, match="topic: "):
        require_topic(name)


def test_wildcard() -> None:
    """A user may have an asterisk in the name, a topic may not."""
    require_user("a*")
    require_topic("a")
    with pytest.raises(BadRequest):
        require_topic("a*")
