"""`/v1/stream` as plain HTTP: methods, versions, other requests on the connection, cookies and origins."""

import http.client
import json
import socket

import pytest

from tests.kit.service import Service
from tests.kit.waiting import DEADLINE

ALLOWED, FOREIGN = "https://app.example.com", "https://evil.example.com"


@pytest.fixture(scope="module")
def guarded():
    """A service that accepts the cookie from one other origin."""
    with Service(workers=1, allowed_origins=ALLOWED) as service:
        yield service


def bearer(service: Service, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.token(user)}"}


def raw_exchange(service: Service, data: bytes) -> bytes:
    """Send bytes, and return everything received."""
    with socket.create_connection(("127.0.0.1", service.port), DEADLINE) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def request(service: Service, user: str, version: str = "HTTP/1.1", more: str = "", method: str = "GET") -> bytes:
    head = f"{method} /v1/stream {version}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {service.token(user)}\r\n"
    return f"{head}{more}\r\n".encode()


def frames(answer: bytes) -> list[str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    return [frame["type"] for frame in json.loads(body)["frames"]]


WHOLE = ["ping", "welcome", "ping"]


def test_old_http(service: Service, user: str) -> None:
    """HTTP/1.0 is served."""
    assert frames(raw_exchange(service, request(service, user, "HTTP/1.0"))) == WHOLE


def test_what_is_behind_the_request(service: Service, user: str) -> None:
    """A body or further requests after the request are not answered, and do no harm."""
    once = request(service, user)
    for behind in (once, once * 50, b"x" * 100_000, b"\x81\x85\0\0\0\0hello"):
        assert frames(raw_exchange(service, once + behind)) == WHOLE
    with_body = request(service, user, more="Content-Length: 5\r\n") + b"hello"
    assert frames(raw_exchange(service, with_body)) == WHOLE


def test_what_was_before_the_request(service: Service, user: str) -> None:
    """A stream may follow other requests on the same connection."""
    before = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw_exchange(service, before * 3 + request(service, user))
    *answered, last = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answered) == 3 and all(b'{"status":"ok"}' in each for each in answered)
    assert frames(b"HTTP/1.1 200 OK\r\n" + last) == WHOLE


def test_kept_after_a_problem(service: Service, user: str) -> None:
    """After a rejected stream the connection can be used again."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
    for headers, status in (({}, 401), (bearer(service, user), 200)):
        connection.request("GET", "/v1/stream", headers=headers)
        response = connection.getresponse()
        assert response.status == status and json.loads(response.read())
    connection.close()


def test_head(service: Service, user: str) -> None:
    """HEAD returns the media type, and opens no stream."""
    for accept, kind in (("text/event-stream", "text/event-stream"), ("*/*", "application/json")):
        answer = service.request("HEAD", "/v1/stream", headers=bearer(service, user) | {"Accept": accept})
        assert (answer.status, answer.text) == (200, "")
        assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert service.request("HEAD", "/v1/stream").status == 401


def test_other_methods(service: Service) -> None:
    """Other methods are rejected."""
    for method in ("PUT", "DELETE", "PATCH"):
        answer = service.request(method, "/v1/stream")
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_accept(service: Service, user: str) -> None:
    """A client that accepts events among other types gets events."""
    sent = bearer(service, user) | {"Accept": "application/json;q=0.5, text/event-stream"}
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
    connection.request("GET", "/v1/stream", headers=sent)
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    response.close()
    connection.close()


def test_a_proxy_without_upgrade(service: Service, user: str) -> None:
    """A WebSocket client behind a proxy that drops Upgrade gets a problem that names the proxy."""
    answer = service.request("GET", "/v1/stream", headers=bearer(service, user) | {"Sec-WebSocket-Key": "x"})
    assert answer.status == 426 and "proxy" in answer.json["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "own"}, 200),
        ({"Origin": FOREIGN}, 403),
        ({"Origin": FOREIGN, "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ALLOWED + ".evil.example.com"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_cookie(guarded: Service, user: str, headers: dict[str, str], status: int) -> None:
    """The cookie is accepted from the same origin and from allowed ones."""
    own = {"Origin": f"http://127.0.0.1:{guarded.port}"} if headers.get("Origin") == "own" else {}
    sent = {"Cookie": f"notifier_token={guarded.token(user)}", **headers, **own}
    answer = guarded.request("GET", "/v1/stream", headers=sent)
    assert answer.status == status, answer.text
    assert status == 200 or answer.json["code"] == "foreign_origin"


@pytest.mark.parametrize("token", ["good", "bad", "none"])
def test_sharing(guarded: Service, user: str, token: str) -> None:
    """Pages of any origin may read answers and errors; only allowed ones may send the cookie."""
    sent = {"good": bearer(guarded, user), "bad": {"Authorization": "Bearer x"}, "none": {}}[token]
    for method in ("GET", "POST"):
        foreign = guarded.request(method, "/v1/stream", headers=sent | {"Origin": FOREIGN}).headers
        assert foreign["Access-Control-Allow-Origin"] == "*"
        assert foreign["Access-Control-Allow-Credentials"] is None
        allowed = guarded.request(method, "/v1/stream", headers=sent | {"Origin": ALLOWED}).headers
        assert allowed["Access-Control-Allow-Origin"] == ALLOWED
        assert allowed["Access-Control-Allow-Credentials"] == "true"
        assert allowed["Vary"] == "Origin"
        assert guarded.request(method, "/v1/stream", headers=sent).headers["Access-Control-Allow-Origin"] is None


def test_preflight(guarded: Service) -> None:
    """A preflight allows the headers for the token and the last event id."""
    asked = {"Origin": FOREIGN, "Access-Control-Request-Method": "GET"}
    answer = guarded.request("OPTIONS", "/v1/stream", headers=asked)
    assert (answer.status, answer.text) == (204, "")
    assert {"GET", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "last-event-id"))
