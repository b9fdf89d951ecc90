"""Names in paths: names with slashes, and names that are rejected."""

from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from werkzeug import Response
from werkzeug.test import Client

from notifier.errors import BadRequest
from notifier.http.answers import install
from notifier.http.front import Front
from notifier.http.names import require_topic, require_user, routes_with_names
from tests.kit.cases import rows


@pytest.fixture
def client() -> Client:
    """A client of an application that returns the names in its paths."""
    blueprint = routes_with_names("names")
    blueprint.get("/topics/<name:topic>/members", merge_slashes=False)(lambda topic: [topic])
    blueprint.get("/topics/<name:topic>/members/<name:user>", merge_slashes=False, endpoint="member")(
        lambda topic, user: [topic, user]
    )
    blueprint.delete("/users/<name:user>", merge_slashes=False, endpoint="erase")(lambda user: [user])
    blueprint.get("/users/<name:user>/export", merge_slashes=False, endpoint="export")(lambda user: [user])
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    install(app)
    return Client(Front(app.wsgi_app, "", publish=lambda request: Response(), name="names"))


@rows(
    ("path", "names"),
    [
        ("/topics/orders/members", ["orders"]),
        ("/topics/a/b/members", ["a/b"]),
        ("/topics/a%2Fmembers/members/bob", ["a/members", "bob"]),
        ("/topics/a%2fmembers%2Fb/members/members%2Fbob", ["a/members/b", "members/bob"]),
        ("/topics/a%2F/members/%2Fbob%2F", ["a/", "/bob/"]),
        ("/topics/a%252F/members/b", ["a%2F", "b"]),
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


@rows("path", ["/topics/a/members/members/bob", "/topics/a/members/b/members/c", "/topics/members/members/members/x"])
def test_several_meanings(client: Client, path: str) -> None:
    """A path that can be read in several ways is rejected: it would change the members of another topic."""
    assert client.get(path).status_code == 400


@rows(
    ("method", "path", "status"),
    [
        ("DELETE", "/users/alice/export", 400),
        ("DELETE", "/users/a/b/export", 400),
        ("DELETE", "/users/alice%2Fexport", 200),
        ("DELETE", "/users/export", 200),
        ("DELETE", "/users/a/b", 200),
        ("GET", "/users/alice/export", 200),
        ("GET", "/users/a/b/export", 200),
        ("GET", "/users/a%2Fexport/export", 200),
        ("GET", "/topics/a/members/b/members", 400),
    ],
)
def test_path_of_another_method(client: Client, method: str, path: str, status: int) -> None:
    """A path that another method reads in another way is rejected: it would erase the user `alice/export`."""
    assert client.open(path, method=method).status_code == status


@rows(
    "path",
    [
        "/topics/a/members/bob/",
        "/topics/a/members/bob//",
        "/topics/a%2Fmembers%2Fbob",
        "/topics/a%2Fmembers",
        "/topics/a/b%2Fc/members",
        "/topics%2Fa/members",
        "/topics/a%2Fb//members",
    ],
)
def test_slashes(client: Client, path: str) -> None:
    """A name does not end with an unencoded slash, and an encoded slash ends no name."""
    assert client.get(path).status_code == 404


@rows(
    "path",
    [
        "/topics/%E9/members",
        "/topics/a/members/%FF",
        "/topics/a%2Fb/members/%E8",
        "/topics/a/members?after=%E9",
        "/topics/a/members?%C3=1",
        "/nowhere/%ED%A0%80",
    ],
)
def test_not_utf8(client: Client, path: str) -> None:
    """A path or query that is not UTF-8 is rejected: replaced characters would make two users one."""
    decoded = unquote_to_bytes(path.partition("?")[0]).decode("latin-1")  # as servers do; Werkzeug's client replaces
    assert client.get(path, environ_overrides={"PATH_INFO": decoded}).status_code == 400


@rows("path", ["/topics/a/members?after=%C3%A9", "/topics/a/members?a=100%", "/topics/a/members?%zz"])
def test_utf8(client: Client, path: str) -> None:
    """Other queries are accepted, with encoded characters and without."""
    assert client.get(path).status_code == 200


def test_absolute_path(client: Client) -> None:
    """Requests may name scheme and host, and the application may be below a path."""
    uri = "http://example.org/below/topics/a%2Fmembers/members/bob?x=/"
    path = {"PATH_INFO": "/topics/a/members/members/bob", "SCRIPT_NAME": "/below"}
    assert client.get("/", environ_overrides=path | {"RAW_URI": uri}).json == ["a/members", "bob"]


@rows(("topic", "status"), [("", 404), ("/a", 400)])
def test_line_breaks(client: Client, topic: str, status: int) -> None:
    """A line break in a path is part of a name, and rejected with it."""
    assert client.get(f"/topics{topic}" + "/members/" * 40_000 + "%0Aa").status_code == status


@rows("path", ["/topics", "//topics/a/members", "/topics//", "/static//x"])
def test_no_redirect(client: Client, path: str) -> None:
    """No path is redirected: the answer would name the host that was sent."""
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 404


@rows("path", ["/topics/members", "/topics//members", "/topics/a/member"])
def test_no_name(client: Client, path: str) -> None:
    """A path without a name is not found."""
    assert client.get(path).status_code == 404


@rows("name", ["", "a b", "{a}", "..", "x" * 129, "a\n", "\u200b"])
def test_invalid(name: str) -> None:
    """An invalid name is rejected, and the problem states whether it is of a user or a topic."""
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
