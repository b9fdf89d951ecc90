"""Publications that are rejected over HTTP, and the problems that answer them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.problems import assert_problem
from tests.kit.raw import handshake, reset
from tests.kit.segments import both_ways
from tests.kit.service import API_KEY, JSON, NDJSON, Answer, Client, Service
from tests.kit.waiting import DEADLINE

PUBLISHER, ANNOUNCER, CLEANER = "key-of-a-publisher", "key-of-an-announcer", "key-of-a-cleaner"
NAMESAKE = "key-of-one-whose-id-begins-another"
MAX_NOTIFICATION, MAX_BATCH, MAX_USERS, MAX_TOPICS = 1024, 4096, 3, 2
UUID7 = "019a0000-0000-7000-8000-000000000000"
UUID4 = "26f0acc6-eb16-40f3-858a-aae7ad3768c4"


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """A service with small limits, and API keys with restricted scopes."""
    keys = [
        {"id": "every:thing", "secret": API_KEY},
        {"id": "publisher", "secret": PUBLISHER, "scopes": ["publish"], "topics": ["orders", "project:*"]},
        {"id": "announcer", "secret": ANNOUNCER, "scopes": ["broadcast"]},
        {"id": "every", "secret": NAMESAKE},
        {"id": "cleaner", "secret": CLEANER, "scopes": ["recall"], "topics": ["orders"]},
    ]
    with Service(
        workers=1,
        api_keys=json.dumps(keys),
        max_notification_bytes=MAX_NOTIFICATION,
        max_batch_bytes=MAX_BATCH,
        max_users=MAX_USERS,
        max_topics=MAX_TOPICS,
    ) as service:
        yield service


@pytest.fixture
def reader(service: Service, user: str) -> Iterator[Client]:
    """A connection of the user that a test publishes to."""
    with service.client(user) as reader:
        yield reader


def note(user: str = "alice", title: Any = "Hello", **members: Any) -> dict[str, Any]:
    return {"to": {"users": [user]}, "title": title} | members


def to(**addresses: object) -> dict[str, Any]:
    return {"to": addresses, "title": "Hello"}


def faults(answer: Answer) -> set[tuple[str, str]]:
    return {
        (fault["pointer"], fault["code"]) for fault in assert_problem(answer, 422, "invalid_notification")["errors"]
    }


def titles(reader: Client, last: str) -> list[str]:
    """Return the titles that a reader receives, up to the given one."""
    found: list[str] = []
    while last not in found:
        found.append(reader.receive("notification")["notification"]["title"])
    return found


def head(*lines: str) -> bytes:
    """Return the head of a publish request as bytes."""
    first = ["POST /v1/notifications HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {API_KEY}"]
    return "\r\n".join([*first, *lines, "\r\n"]).encode()


class TestJson:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"hello",
            b"{",
            b'{"to":',
            b'{"title": "cut',
            b"{'title': 'Hello'}",
            b'{"title": "Hello",}',
            b'{"title": "Hello"} {}',
            b'{"title": "Hello"}\n{"title": "Hello"}',
            b"[]",
            b'[{"title": "Hello"}]',
            b"7",
            b'"Hello"',
            b"null",
            b"true",
            b'{"data": NaN}',
            b'{"data": 01}',
            b'{"data": "\t"}',
            b'{"data": "\\q"}',
            b'{"data": "\\ud800"}',
            b'{"title": "\xff"}',
            b'{"data": {"deep": "\xed\xa0\x80"}}',
            b'{"\xc3": 1}',
            b"\x00",
        ],
    )
    def test_malformed(self, service: Service, body: bytes) -> None:
        """A body that is not a JSON object in UTF-8 is rejected."""
        assert_problem(service.publish(body), 400, "malformed_json")

    @pytest.mark.parametrize("space", ["", "\n"], ids=["compact", "with line breaks"])
    @pytest.mark.parametrize("left, right", [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
    def test_deep(self, service: Service, left: str, right: str, space: str) -> None:
        """Data may have 64 levels. Deeper data is rejected with 422 and causes no server error."""
        for depth in (64, 65, 66, 500, 970, *range(995, 1005), 10_000):
            data = left * depth + "0" + space + right * depth
            answer = service.publish('{"to": {"users": ["alice"]}, "data": ' + data + "}")
            assert answer.status == (201 if depth == 64 else 422), depth

    @pytest.mark.parametrize(
        "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    )
    def test_other_type(self, service: Service, kind: str | None) -> None:
        """A body without a JSON media type is rejected."""
        headers = {"Authorization": f"Bearer {API_KEY}"} | ({} if kind is None else {"Content-Type": kind})
        answer = service.request("POST", "/v1/notifications", note(), headers)
        assert_problem(answer, 415, "unsupported_media_type")

    def test_type_with_parameter(self, service: Service) -> None:
        """The media type may have a parameter."""
        assert service.publish(note(), {"Content-Type": f"{JSON}; charset=utf-8"}).status == 201


class TestMembers:
    @pytest.mark.parametrize(
        "body, expected",
        [
            (note(colour="blue"), {("/colour", "unknown_field")}),
            (note() | {"a/b~c": 1}, {("/a~1b~0c", "unknown_field")}),
            (note(id="mine"), {("/id", "unknown_field")}),
            ({"title": "Hello"}, {("/to", "required")}),
            (note(to=None), {("/to", "wrong_type")}),
            (note(to="alice"), {("/to", "wrong_type")}),
            (note(to=["alice"]), {("/to", "wrong_type")}),
            (to(), {("/to", "empty")}),
            (to(all=False), {("/to", "empty")}),
            (to(users=[], topics=[]), {("/to", "empty")}),
            (to(user="alice"), {("/to/user", "unknown_field")}),
            (to(users="alice"), {("/to/users", "wrong_type")}),
            (to(users=None), {("/to/users", "wrong_type")}),
            (to(users=["alice", 7]), {("/to/users/1", "wrong_type")}),
            (to(topics={"orders": True}), {("/to/topics", "wrong_type")}),
            (to(topics=[["orders"]]), {("/to/topics/0", "wrong_type")}),
            (to(all="yes"), {("/to/all", "wrong_type")}),
            (to(all=1), {("/to/all", "wrong_type")}),
            (note(type=7), {("/type", "wrong_type")}),
            (note(type=""), {("/type", "empty")}),
            (note(type="x" * 129), {("/type", "too_long")}),
            (note(title=None), {("/title", "wrong_type")}),
            (note(title=["Hello"]), {("/title", "wrong_type")}),
            (note(title="x" * 1025), {("/title", "too_long")}),
            (note(body={}), {("/body", "wrong_type")}),
            (note(body="x" * 32769), {("/body", "too_long")}),
            (note(collapse_key=7), {("/collapse_key", "wrong_type")}),
            (note(collapse_key=""), {("/collapse_key", "empty")}),
            (note(collapse_key="x" * 129), {("/collapse_key", "too_long")}),
            (note(severity="fatal"), {("/severity", "unknown_value")}),
            (note(severity=""), {("/severity", "unknown_value")}),
            (note(severity=7), {("/severity", "wrong_type")}),
            (note(retain="forever"), {("/retain", "unknown_value")}),
            (note(retain=False), {("/retain", "wrong_type")}),
            (note(ttl=0), {("/ttl", "out_of_range")}),
            (note(ttl=-1), {("/ttl", "out_of_range")}),
            (note(ttl=365 * 86400 + 1), {("/ttl", "out_of_range")}),
            (note(ttl=10**400), {("/ttl", "out_of_range")}),
            (note(ttl=1.5), {("/ttl", "wrong_type")}),
            (note(ttl="60"), {("/ttl", "wrong_type")}),
            (note(ttl=True), {("/ttl", "wrong_type")}),
            (note(action_url=7), {("/action_url", "wrong_type")}),
            (note(action_url="/" + "x" * 2048), {("/action_url", "too_long")}),
            (to(users=["alice"]) | {"title": None, "ttl": "x"}, {("/title", "wrong_type"), ("/ttl", "wrong_type")}),
            ({"to": {"users": ["alice"]}}, {("", "required")}),
            ({"to": {"users": ["alice"]}, "action_url": "/orders", "severity": "info"}, {("", "required")}),
            ({}, {("/to", "required"), ("", "required")}),
        ],
        ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
    )
    def test_fault(self, service: Service, body: dict[str, Any], expected: set[tuple[str, str]]) -> None:
        """An invalid field is named by its JSON Pointer, with a code."""
        assert faults(service.publish(body)) == expected

    def test_all_at_once(self, service: Service) -> None:
        """One answer lists all faults."""
        body = to(users=["", "alice", 7], all="no") | {"title": 7, "severity": "fatal", "ttl": 0, "colour": "blue"}
        assert faults(service.publish(body)) == {
            ("/to/users/0", "invalid_name"),
            ("/to/users/2", "wrong_type"),
            ("/to/all", "wrong_type"),
            ("/title", "wrong_type"),
            ("/severity", "unknown_value"),
            ("/ttl", "out_of_range"),
            ("/colour", "unknown_field"),
        }

    @pytest.mark.parametrize(
        "name", ["", " ", "a b", "a\tb", "a\nb", "a\x00b", "{a}", "a}", "x" * 129, "a\u00a0b", "a\u200bb", "a\u2028b"]
    )
    @pytest.mark.parametrize("kind", ["users", "topics"])
    def test_name(self, service: Service, kind: str, name: str) -> None:
        """A name has 1 to 128 characters, without spaces, braces and invisible characters."""
        assert faults(service.publish(to(**{kind: ["good", name]}))) == {(f"/to/{kind}/1", "invalid_name")}

    @pytest.mark.parametrize("name", ["*", "project:*", "a*b"])
    def test_wildcard(self, service: Service, name: str) -> None:
        """A publication cannot address topics by wildcard."""
        assert faults(service.publish(to(topics=[name]))) == {("/to/topics/0", "invalid_name")}

    @pytest.mark.parametrize("name", ["x" * 128, "ünïcode-名前-\U0001f600", "a:b/c?d#e%20", "user:all", '"\\'])
    @pytest.mark.parametrize("kind", ["users", "topics"])
    def test_unusual_name(self, service: Service, kind: str, name: str) -> None:
        """All other names are valid, and the receipt repeats them unchanged."""
        answer = service.publish(to(**{kind: [name]}))
        assert answer.status == 201
        assert [receipt["channel"] for receipt in answer.json["channels"]] == [f"{kind[:-1]}:{name}"]

    @pytest.mark.parametrize("kind, most", [("users", MAX_USERS), ("topics", MAX_TOPICS)])
    def test_too_many(self, strict: Service, kind: str, most: int) -> None:
        """A publication with too many users or topics is rejected."""
        names = [f"n{number}" for number in range(most + 1)]
        assert faults(strict.publish(to(**{kind: names}))) == {(f"/to/{kind}", "too_many")}
        assert len(strict.publish(to(**{kind: names[:most]})).json["channels"]) == most

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            " javascript:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:x",
            "file:///etc/passwd",
            "//evil.example/",
            "/\\evil.example/",
            "/\t/evil.example/",
            "orders/1042",
            "ftp://example.org/",
        ],
    )
    def test_action_url(self, service: Service, url: str) -> None:
        """Action URLs that could run a script, or lead elsewhere than they seem to, are rejected."""
        assert faults(service.publish(note(action_url=url))) == {("/action_url", "invalid_url")}

    @pytest.mark.parametrize("url", ["/", "/orders/1042?a=b#c", "https://example.org/", "http://example.org"])
    def test_good_action_url(self, service: Service, url: str) -> None:
        """Paths and http(s) URLs are accepted."""
        assert service.publish(note(action_url=url)).status == 201


class TestSize:
    def test_announced(self, service: Service) -> None:
        """A body whose Content-Length exceeds the limit is rejected."""
        assert_problem(service.publish(b"*" * 1_000_000), 413, "body_too_large")

    def test_chunked(self, service: Service) -> None:
        """A chunked body that grows beyond the limit is rejected."""
        chunks = (b"*" * 10_000 for _ in range(100))
        assert_problem(service.publish(chunks), 413, "body_too_large")

    def test_limit(self, strict: Service) -> None:
        """A notification may have as many bytes as the limit allows, and not one more."""
        body = json.dumps(note()).encode()
        assert strict.publish(body.ljust(MAX_NOTIFICATION)).status == 201
        assert_problem(strict.publish(body.ljust(MAX_NOTIFICATION + 1)), 413, "body_too_large")

    def test_chunked_in_limit(self, strict: Service) -> None:
        """A chunked body within the limit is accepted."""
        body = json.dumps(note()).encode()
        assert strict.publish(body[index : index + 1] for index in range(len(body))).status == 201

    @pytest.mark.parametrize("chunked", [False, True])
    def test_lines(self, strict: Service, chunked: bool) -> None:
        """Newline-delimited JSON has a separate limit; the last answer reports that it was reached."""
        body = json.dumps(note()).encode().ljust(99) + b"\n"
        lines = [body] * (MAX_BATCH // 100 + 1)
        answer = strict.publish(iter(lines) if chunked else b"".join(lines), {"Content-Type": NDJSON})
        *before, last = answer.json
        assert (last["status"], last["code"]) == (413, "body_too_large")
        assert {line["status"] for line in before} <= {201}

    @pytest.mark.parametrize("size", [MAX_NOTIFICATION + 1, 2 * MAX_NOTIFICATION])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_line(self, strict: Service, chunked: bool, size: int) -> None:
        """A line that is too long fails alone, whatever the size of the chunks."""
        lines = [json.dumps(note()).encode() + b"\n", b"*" * size + b"\n", json.dumps(note()).encode() + b"\n"]
        answer = strict.publish(iter(lines) if chunked else b"".join(lines), {"Content-Type": NDJSON})
        assert [line["status"] for line in answer.json] == [201, 413, 201]

    def test_very_long_line(self, service: Service) -> None:
        """A line far beyond the limit also fails alone."""
        answer = service.publish([note(), b"*" * 1_000_000, note()])
        assert answer.status == 200
        assert [line["status"] for line in answer.json] == [201, 413, 201]


class TestCutBody:
    def test_cut(self, service: Service, user: str, reader: Client) -> None:
        """A body shorter than its Content-Length is rejected, even if its beginning is valid."""
        body = json.dumps(note(user, "cut")).encode()
        answer = service.exchange(head(f"Content-Type: {JSON}", f"Content-Length: {len(body) + 1}") + body)
        assert_problem(answer, 400, "incomplete_body")
        service.publish(note(user, "end"))
        assert titles(reader, "end") == ["end"]

    @pytest.mark.parametrize(
        "framing",
        [
            pytest.param(lambda body: (f"Content-Length: {len(body) + 1}", body), id="length"),
            pytest.param(
                lambda body: ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(body), body)), id="chunked"
            ),
            pytest.param(
                lambda body: ("Transfer-Encoding: chunked", b"%x\r\n%b" % (len(body) + 1, body)), id="in chunk"
            ),
        ],
    )
    def test_half_line(self, service: Service, user: str, reader: Client, framing: Any) -> None:
        """The last line of a truncated body is not published, even if it looks complete."""
        lines = json.dumps(note(user, "whole")) + "\n" + json.dumps(note(user, "half"))
        header, body = framing(lines.encode())
        answer = service.exchange(head(f"Content-Type: {NDJSON}", header) + body)
        assert (answer.json[-1]["status"], answer.json[-1]["code"]) == (400, "incomplete_body")
        assert len(answer.json) <= 2
        service.publish(note(user, "end"))
        assert "half" not in titles(reader, "end")

    @pytest.mark.parametrize(
        "body", [b"", b"x\r\n{}\r\n", b"-1\r\n{}\r\n", b"2\r\n{}XX0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\n{}"]
    )
    def test_bad_chunks(self, service: Service, body: bytes) -> None:
        """A body with invalid chunks is rejected."""
        answer = service.exchange(head(f"Content-Type: {JSON}", "Transfer-Encoding: chunked") + body)
        assert_problem(answer, 400, "incomplete_body")

    def test_reset(self, service: Service, user: str, reader: Client) -> None:
        """A publisher that resets the connection in the middle of a body does not affect others."""
        body = json.dumps(note(user, "cut")).encode()
        for header in (f"Content-Length: {len(body) + 1}", "Transfer-Encoding: chunked"):
            with socket.create_connection(("127.0.0.1", service.port), DEADLINE) as sock:
                sock.sendall(head(f"Content-Type: {JSON}", header) + body)
                reset(sock)
        service.publish(note(user, "end"))
        assert titles(reader, "end") == ["end"]


class TestKeys:
    @pytest.mark.parametrize(
        "authorization",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            API_KEY,
            f"Basic {API_KEY}",
            f"Bearer {API_KEY}x",
            "Bearer \xe9",
        ],
    )
    @pytest.mark.parametrize(
        "method, path",
        [
            ("POST", "/v1/notifications"),
            ("GET", f"/v1/notifications/{UUID7}"),
            ("DELETE", f"/v1/notifications/{UUID7}"),
        ],
    )
    def test_unknown(self, service: Service, method: str, path: str, authorization: str | None) -> None:
        """Without a valid API key the answer reveals nothing, not even that the body is invalid."""
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = service.request(method, path, b"{", headers)
        assert_problem(answer, 401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_token_is_no_key(self, service: Service) -> None:
        """A user's token is not accepted as an API key."""
        assert_problem(service.publish(note(), key=service.token("alice")), 401, "invalid_api_key")

    @pytest.mark.parametrize(
        "key, addresses",
        [
            (PUBLISHER, {"all": True}),
            (PUBLISHER, {"users": ["alice"], "all": True}),
            (PUBLISHER, {"topics": ["news"]}),
            (PUBLISHER, {"topics": ["orders2"]}),
            (PUBLISHER, {"topics": ["orders", "news"]}),
            (ANNOUNCER, {"users": ["alice"]}),
            (ANNOUNCER, {"topics": ["orders"]}),
            (ANNOUNCER, {"topics": ["orders"], "all": True}),
            (CLEANER, {"users": ["alice"]}),
            (CLEANER, {"topics": ["orders"]}),
        ],
        ids=str,
    )
    def test_not_granted(self, strict: Service, key: str, addresses: dict[str, Any]) -> None:
        """A publication beyond the scopes and topics of its API key is rejected."""
        assert_problem(strict.publish(to(**addresses), key=key), 403, "forbidden")

    @pytest.mark.parametrize(
        "key, addresses",
        [
            (PUBLISHER, {"users": ["alice"]}),
            (PUBLISHER, {"topics": ["orders", "project:7"]}),
            (ANNOUNCER, {"all": True}),
        ],
        ids=str,
    )
    def test_granted(self, strict: Service, key: str, addresses: dict[str, Any]) -> None:
        """A publication within the scopes and topics of its API key is accepted."""
        assert strict.publish(to(**addresses), key=key).status == 201

    def test_lines(self, strict: Service) -> None:
        """A line beyond the API key's topics fails alone."""
        answer = strict.publish([to(users=["alice"]), to(all=True), to(topics=["orders"])], key=PUBLISHER)
        assert [(line["status"], line.get("code")) for line in answer.json] == [
            (201, None),
            (403, "forbidden"),
            (201, None),
        ]

    @pytest.mark.parametrize(
        "addresses", [{"all": True}, {"topics": ["news"]}, {"topics": ["orders", "news"]}], ids=str
    )
    def test_recall_not_granted(self, strict: Service, addresses: dict[str, Any]) -> None:
        """An API key can recall only notifications that it could have published."""
        id = strict.publish(to(**addresses)).json["id"]
        assert_problem(strict.recall(id, CLEANER), 403, "forbidden")
        assert strict.recall(id).status == 204

    @pytest.mark.parametrize("key", [PUBLISHER, ANNOUNCER])
    def test_recall_without_scope(self, strict: Service, key: str) -> None:
        """An API key without the recall scope cannot recall even its own notifications."""
        id = strict.publish(note()).json["id"]
        assert_problem(strict.recall(id, key), 403, "forbidden")
        assert strict.recall(id, CLEANER).status == 204


class TestRoutes:
    @pytest.mark.parametrize("query", ["dry_run=explain", "dry_run=explian", "x"])
    def test_query_of_lines(self, service: Service, reader: Client, user: str, query: str) -> None:
        """A dry run of several notifications is rejected, and none of them is published."""
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": NDJSON}
        answer = service.request("POST", f"/v1/notifications?{query}", [note(user)], headers)
        assert_problem(answer, 400, "bad_request")
        service.publish(note(user, "Really"))
        assert titles(reader, "Really") == ["Really"]

    @pytest.mark.parametrize(
        "method, path",
        [("GET", "/nothing"), ("POST", "/v1/notification"), ("GET", "/v1/notifications/a/b"), ("GET", "/v1/../etc")],
    )
    def test_unknown(self, service: Service, method: str, path: str) -> None:
        """An unknown path is answered with a problem that names it."""
        answer = service.request(method, path)
        assert_problem(answer, 404, "not_found")
        assert answer.json["detail"].startswith("The service has no /")

    @pytest.mark.parametrize(
        "method, path, allowed",
        [
            ("GET", "/v1/notifications", {"POST"}),
            ("PUT", "/v1/notifications", {"POST"}),
            ("POST", f"/v1/notifications/{UUID7}", {"GET", "DELETE"}),
            ("PUT", "/v1/stream", {"GET", "POST"}),
            ("DELETE", "/v1/echo", {"GET"}),
            ("POST", "/healthz", {"GET"}),
            ("BREW", "/readyz", {"GET"}),
        ],
    )
    def test_wrong_method(self, service: Service, method: str, path: str, allowed: set[str]) -> None:
        """A method that a path does not support is answered with the methods that it supports."""
        answer = service.request(method, path)
        assert_problem(answer, 405, "method_not_allowed")
        assert allowed <= {name.strip() for name in answer.headers["Allow"].split(",")}

    @pytest.mark.parametrize("path, headers", [("/v1/echo", {}), ("/v1/stream", {"Sec-WebSocket-Key": "x" * 22})])
    def test_no_upgrade(self, service: Service, path: str, headers: dict[str, str]) -> None:
        """A request without the upgrade is answered 426 where a WebSocket is needed, or a proxy removed the upgrade."""
        answer = service.request("GET", path, headers=headers)
        assert_problem(answer, 426, "upgrade_required")
        assert answer.headers["Upgrade"].lower() == "websocket"

    @pytest.mark.parametrize("path", ["/v1/stream", "/v1/echo"])
    @both_ways
    def test_upgrade_with_body(self, service: Service, path: str, split: bool) -> None:
        """An upgrade request with a body is rejected: its bytes would be read as frames."""
        for length in ({"Content-Length": "4"}, {"Transfer-Encoding": "chunked"}):
            request = handshake(f"GET {path} HTTP/1.1", length) + b"body"
            assert_problem(service.exchange(request, split=split), 400, "bad_request")

    @pytest.mark.parametrize("id", [UUID7, UUID4, "x", "x" * 1000, "'; --", "%00", "*", "{}", "%F0%9F%98%80" * 4])
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_unknown_notification(self, service: Service, method: str, id: str) -> None:
        """An unknown notification can be neither shown nor recalled."""
        path = f"/v1/notifications/{id}".replace(" ", "%20")
        answer = service.request(method, path, headers={"Authorization": f"Bearer {API_KEY}"})
        assert_problem(answer, 404, "not_found")

    def test_recalled_twice(self, service: Service, user: str) -> None:
        """A recalled notification cannot be recalled again."""
        id = service.publish(note(user)).json["id"]
        assert service.recall(id).status == 204
        assert_problem(service.recall(id), 404, "not_found")


class TestRequestId:
    @pytest.mark.parametrize("path", ["/nothing", "/healthz", "/v1/stream"])
    @pytest.mark.parametrize("id", ["abc-123", "a" * 128, "A.b:c_d"])
    def test_echoed(self, service: Service, path: str, id: str) -> None:
        """The answer repeats the request's X-Request-Id."""
        assert service.request("GET", path, headers={"X-Request-Id": id}).headers["X-Request-Id"] == id

    def test_handed_off(self, service: Service) -> None:
        """A long poll, whose answer the worker writes without Flask, repeats it too."""
        headers = {"Authorization": f"Bearer {service.token()}", "X-Request-Id": "abc-123"}
        assert service.request("GET", "/v1/stream", headers=headers).headers["X-Request-Id"] == "abc-123"

    @pytest.mark.parametrize("id", ["", "a b", "a" * 129, "\xe9", "<script>", "a,b", '"'])
    def test_replaced(self, service: Service, id: str) -> None:
        """An id with characters that are unsafe in a log is replaced."""
        answer = service.request("GET", "/nothing", headers={"X-Request-Id": id})
        assert answer.headers["X-Request-Id"] not in ("", id)
        assert_problem(answer, 404, "not_found")

    @pytest.mark.parametrize("body", [note(), b"{"], ids=["good", "bad"])
    @pytest.mark.parametrize("kind", [JSON, f"{JSON}; charset=utf-8", NDJSON, "text/plain"])
    def test_of_a_publication(self, service: Service, kind: str, body: Any) -> None:
        """Accepted and rejected publications have a request id."""
        answer = service.publish(body, {"Content-Type": kind, "X-Request-Id": "mine"})
        assert answer.headers["X-Request-Id"] == "mine"
        answer = service.publish(body, {"Content-Type": kind, "X-Request-Id": "not mine"})
        assert answer.headers["X-Request-Id"] not in (None, "", "not mine")

    def test_distinct(self, service: Service) -> None:
        """Two requests have different ids."""
        assert len({service.request("GET", "/healthz").headers["X-Request-Id"] for _ in range(10)}) == 10


class TestIdempotency:
    def test_retry(self, service: Service, user: str, reader: Client) -> None:
        """A retry returns the first answer and publishes nothing, on every worker."""
        key = {"Idempotency-Key": user}
        first = service.publish(note(user, "once"), key)
        assert first.status == 201
        assert first.headers["Idempotency-Replayed"] is None
        for _ in range(5):
            retry = service.publish(note(user, "once"), key)
            assert (retry.status, retry.json) == (201, first.json)
            assert retry.headers["Idempotency-Replayed"] == "true"
        service.publish(note(user, "end"))
        assert titles(reader, "end") == ["once", "end"]

    def test_quoted(self, service: Service, user: str) -> None:
        """An idempotency key in quotes is the same key."""
        first = service.publish(note(user), {"Idempotency-Key": user})
        assert service.publish(note(user), {"Idempotency-Key": f'"{user}"'}).json == first.json

    def test_other_body(self, service: Service, user: str, reader: Client) -> None:
        """A key that was used with another body is rejected, and nothing is published."""
        key = {"Idempotency-Key": user}
        service.publish(note(user, "first"), key)
        assert_problem(service.publish(note(user, "second"), key), 422, "idempotency_mismatch")
        service.publish(note(user, "end"))
        assert titles(reader, "end") == ["first", "end"]

    @pytest.mark.parametrize("key", ["", " ", '""', "x" * 256, "caf\xe9", "a\tb"])
    def test_invalid(self, service: Service, key: str) -> None:
        """A key has from 1 to 255 printable ASCII characters."""
        assert_problem(service.publish(note(), {"Idempotency-Key": key}), 422, "invalid_idempotency_key")
        assert_problem(service.publish([note()], {"Idempotency-Key": key}), 422, "invalid_idempotency_key")

    @pytest.mark.parametrize("filler", ["x", "{", "}", '"', "~", ":"])
    def test_valid(self, service: Service, user: str, filler: str) -> None:
        """A key may have all printable ASCII characters."""
        key = {"Idempotency-Key": f"a{filler}{user}"}
        first = service.publish(note(user), key)
        assert service.publish(note(user), key).json == first.json

    def test_refused_first(self, service: Service, user: str) -> None:
        """A rejected request does not use up its key."""
        key = {"Idempotency-Key": user}
        assert service.publish(note(user, colour="blue"), key).status == 422
        assert service.publish(note(user), key).headers["Idempotency-Replayed"] is None

    def test_keys_of_publishers(self, strict: Service, user: str) -> None:
        """Two publishers can use the same key."""
        key = {"Idempotency-Key": user}
        first = strict.publish(note(user), key)
        second = strict.publish(note(user), key, PUBLISHER)
        assert first.json["id"] != second.json["id"]

    def test_keys_of_namesakes(self, strict: Service, user: str) -> None:
        """Two publishers can use the same key even if one id is a prefix of the other."""
        first = strict.publish(note(user), {"Idempotency-Key": user})
        second = strict.publish(note(user), {"Idempotency-Key": f"thing:{user}"}, NAMESAKE)
        assert first.json["id"] != second.json["id"]

    def test_lines(self, service: Service, user: str, reader: Client) -> None:
        """The key of newline-delimited JSON applies to each line; a changed line is rejected alone."""
        key = {"Idempotency-Key": user}
        first = service.publish([note(user, "one"), note(user, "two")], key)
        retry = service.publish([note(user, "one"), note(user, "2"), note(user, "three")], key)
        assert [line["status"] for line in retry.json] == [201, 422, 201]
        assert retry.json[0] == first.json[0] | {"replayed": True}
        assert retry.json[1]["code"] == "idempotency_mismatch"
        assert titles(reader, "three") == ["one", "two", "three"]

    def test_line_and_request(self, service: Service, user: str) -> None:
        """A line and a request can use the same key."""
        line = service.publish([note(user)], {"Idempotency-Key": user})
        request = service.publish(note(user), {"Idempotency-Key": f"{user}:1"})
        assert request.json["id"] != line.json[0]["id"]


class TestLines:
    def test_bad_between_good(self, service: Service, user: str, reader: Client) -> None:
        """An invalid line fails alone; the answers are in order and have line numbers."""
        lines = [
            note(user, "one"),
            b"{",
            b"",
            note(user, "two", ttl=0),
            b"\xff",
            b"[]",
            to(),
            note(user, "three"),
        ]
        answer = service.publish(lines)
        assert answer.status == 200
        assert [(line["line"], line["status"], line.get("code")) for line in answer.json] == [
            (1, 201, None),
            (2, 400, "malformed_json"),
            (4, 422, "invalid_notification"),
            (5, 400, "malformed_json"),
            (6, 400, "malformed_json"),
            (7, 422, "invalid_notification"),
            (8, 201, None),
        ]
        assert titles(reader, "three") == ["one", "three"]

    def test_faults_are_named(self, service: Service) -> None:
        """The faults of a line have JSON Pointers."""
        [line] = service.publish([note(ttl=0)]).json
        assert [fault["pointer"] for fault in line["errors"]] == ["/ttl"]

    def test_many(self, service: Service, user: str, reader: Client) -> None:
        """Many lines, valid and invalid, are answered and delivered in order."""
        lines = [b"{" if number % 10 == 9 else note(user, str(number)) for number in range(1000)]
        answer = service.publish(lines)
        assert [(line["line"], line["status"]) for line in answer.json] == [
            (number + 1, 400 if number % 10 == 9 else 201) for number in range(1000)
        ]
        assert titles(reader, "998") == [str(number) for number in range(1000) if number % 10 != 9]

    @pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
    def test_nothing(self, service: Service, body: bytes) -> None:
        """A body without lines has an empty answer."""
        answer = service.publish(body, {"Content-Type": NDJSON})
        assert (answer.status, answer.json) == (200, [])

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
    def test_line_ends(self, service: Service, user: str, end: bytes) -> None:
        """The last line may be without a line break, and lines may end with CRLF."""
        line = json.dumps(note(user)).encode()
        answer = service.publish(line + b"\r\n" + line + end, {"Content-Type": NDJSON})
        assert [line["status"] for line in answer.json] == [201, 201]
