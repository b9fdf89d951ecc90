"""The service behind nginx, Caddy and HAProxy, configured as in docs/deploy, and behind misconfigured proxies.

Each is the real daemon of Debian with the real file; tests/kit/proxies.py defines what a test replaces in the file.
"""

import contextlib
import itertools
import json
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pytest
from websockets.exceptions import WebSocketException

from tests.kit import processes, raw
from tests.kit.proxies import KINDS, Proxy, certificate, enemy, is_installed
from tests.kit.raw import Peer
from tests.kit.service import API_KEY, NDJSON, PROBLEM, Service
from tests.kit.valkey import running_valkey
from tests.kit.waiting import DEADLINE, eventually

Frames = Iterator[dict[str, Any]]

INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"needs {name}")) for name in KINDS
]
needs_nginx = pytest.mark.skipif(not is_installed("nginx"), reason="needs nginx")
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


@pytest.fixture(scope="module", params=INSTALLED)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a proxy."""
    return request.param


@pytest.fixture(scope="module")
def seen(kind: str, service: Service) -> Iterator[Service]:
    """The service as its clients see it, through the proxy."""
    with KINDS[kind](service.port) as proxy:
        yield service.behind(proxy.port, proxy.tls)


@pytest.fixture(scope="module")
def lively() -> Iterator[Service]:
    """A service that pings every two seconds, limits failures and slow bodies, and knows the addresses of clients."""
    patience = {"body_timeout": 3, "body_rate": 1_000_000}
    limits = {"address_failure_rate": 0.1, "address_handshake_rate": 10_000}  # a fast client polls all the time
    with Service(workers=1, heartbeat=2, trusted_proxies="127.0.0.1", **limits, **patience) as service:
        yield service


@contextlib.contextmanager
def behind_each(*services: Service) -> Iterator[dict[str, Service]]:
    """Start each proxy that is installed; yield the first service as its clients see it, through each of them.

    A test that passes with some of them is skipped, with the others as the reason: it has not tested those.
    """
    present = {name: kind for name, kind in KINDS.items() if is_installed(name)}
    missing = " and ".join(name for name in KINDS if name not in present)
    if not present:
        pytest.skip(f"needs {missing}")
    with contextlib.ExitStack() as stack:
        proxies = {name: kind(*(each.port for each in services)) for name, kind in present.items()}
        for proxy in proxies.values():
            stack.enter_context(proxy)
        yield {name: services[0].behind(proxy.port, proxy.tls) for name, proxy in proxies.items()}
    if missing:
        pytest.skip(f"needs {missing}; passed with {' and '.join(present)}")


def publish(service: Service, user: str, data: object) -> None:
    assert service.publish({"to": {"users": [user]}, "data": data}).status == 201


def query(since: str | None, **others: str) -> str:
    return "/v1/stream?" + urlencode(others | ({"since": since} if since else {}))


def bearer(service: Service, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.token(user)}"}


def web_socket(service: Service, user: str, since: str | None = None) -> Frames:
    """Yield the frames of a WebSocket."""
    with service.client(user, since=since) as client:
        yield client.welcome
        while True:
            yield json.loads(client.socket.recv(DEADLINE))


def events(service: Service, user: str, since: str | None = None) -> Frames:
    """Yield the frames of Server-Sent Events, and an empty frame for each comment."""
    connection = service.dial()
    with contextlib.closing(connection):
        connection.request("GET", query(since), headers={"Accept": "text/event-stream", **bearer(service, user)})
        response = connection.getresponse()
        kind = PROBLEM if response.status in (502, 503) else "text/event-stream"
        assert response.getheader("Content-Type") == kind
        while response.status == 200 and (line := response.readline()):
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))
            elif line.startswith(b":"):
                yield {}


def polls(service: Service, user: str, since: str | None = None) -> Frames:
    """Yield the frames of consecutive long polls."""
    while True:
        answer = service.request("GET", query(since), headers=bearer(service, user))
        if answer.status in (502, 503):
            return
        assert answer.status == 200, answer
        for frame in answer.json["frames"]:
            since = frame.get("cursor", since)
            yield frame


TRANSPORTS: dict[str, Callable[..., Frames]] = {"web socket": web_socket, "events": events, "polls": polls}


def notifications(frames: Frames) -> Iterator[object]:
    """Yield the data of notifications, once each: the next poll repeats those within the overlap."""
    known = set()
    for frame in frames:
        if frame.get("type") == "notification" and (id := frame["notification"]["id"]) not in known:
            known.add(id)
            yield frame["notification"]["data"]


class Follower(threading.Thread):
    """A client that reconnects with its cursor until it is stopped. `heard` has each notification once."""

    # The answer of a long poll that a restart truncates is not JSON: the protocol requires another poll.
    _AWAY: ClassVar = (OSError, HTTPException, WebSocketException, json.JSONDecodeError)

    def __init__(self, transport: str, service: Service, user: str) -> None:
        super().__init__(daemon=True)
        self.heard: dict[str, object] = {}
        self.lost: list[str] = []
        self.cursor: str | None = None
        self._follow = TRANSPORTS[transport]
        self._service = service
        self.user = user
        self._stopped = threading.Event()

    def __enter__(self) -> "Follower":
        self.start()
        eventually(lambda: self.cursor)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def expect(self, data: list[object]) -> None:
        """Wait until it has received these data, in order, and check that nothing was lost."""
        eventually(lambda: len(self.heard) >= len(data))
        assert (list(self.heard.values()), self.lost) == (data, [])

    def run(self) -> None:
        while not self._stopped.wait(0.3):  # a pause, as clients make between attempts
            with contextlib.suppress(*self._AWAY):
                for frame in self._follow(self._service, self.user, self.cursor):
                    self._take(frame)

    def _take(self, frame: dict[str, Any]) -> None:
        self.cursor = frame.get("cursor", self.cursor)
        if frame.get("type") == "notification":
            notification = frame["notification"]
            self.heard.setdefault(notification["id"], notification["data"])
        self.lost += frame.get("lost", [])


def follow(stack: contextlib.ExitStack, seen: list[tuple[Service, str]]) -> list[Follower]:
    """Follow these users of these services, over each transport."""
    followers = [Follower(transport, service, user) for service, user in seen for transport in TRANSPORTS]
    for follower in followers:
        stack.enter_context(follower)
    return followers


def publish_until_acknowledged(service: Service, user: str, number: int) -> None:
    """Publish, and retry with the same idempotency key until it is acknowledged."""

    def is_acknowledged() -> bool:
        body = {"to": {"users": [user]}, "data": number}
        with contextlib.suppress(OSError, HTTPException):
            answer = service.publish(body, {"Idempotency-Key": f"{user}-{number}"})
            if answer.status != 201:
                assert answer.status in (409, 502, 503) and int(answer.headers["Retry-After"]) > 0
            return answer.status == 201
        return False

    eventually(is_acknowledged, 2 * DEADLINE)


def test_web_socket(seen: Service, user: str) -> None:
    """A WebSocket receives its subprotocol, notifications, pongs and close codes."""
    with seen.connect(subprotocols=["notifier.v1"]) as client:
        assert client.socket.subprotocol == "notifier.v1"
        client.send("hello", token=seen.token(user))
        assert client.receive()["type"] == "welcome"
        for number in range(20):
            publish(seen, user, number)
            assert client.receive("notification")["notification"]["data"] == number
        assert client.socket.ping("are you there").wait(DEADLINE)
        client.send("hello")
        assert client.close_code() == 4500


def test_echo(seen: Service) -> None:
    """WebSocket messages are echoed unchanged."""
    with seen.connect("/v1/echo") as client:
        for message in ("", "text", b"\x00\xff" * 30_000):
            client.socket.send(message)
            assert client.socket.recv(DEADLINE) == message


@needs_curl
def test_server_sent_events(seen: Service, user: str) -> None:
    """curl on HTTP/2 receives every event before the next is published."""
    command = ["curl", "-sN", "-D-", "--http2", "--cacert", str(certificate().chain), "--max-time", "60"]
    command += ["-H", "Accept: text/event-stream", "-H", f"Authorization: Bearer {seen.token(user)}"]
    command.append(f"https://127.0.0.1:{seen.port}/v1/stream")
    curl = processes.start(command, stdout=subprocess.PIPE, text=True)
    assert curl.stdout
    assert curl.stdout.readline().strip() == "HTTP/2 200"
    told = (json.loads(line[6:]) for line in curl.stdout if line.startswith("data: "))
    frames = (frame for frame in told if frame["type"] != "state")
    assert next(frames)["type"] == "welcome"
    for number in range(20):
        publish(seen, user, number)
        assert next(frames)["notification"]["data"] == number


def test_long_poll(seen: Service, user: str) -> None:
    """Each poll returns the next notification, and none is lost between polls."""
    frames = polls(seen, user)
    assert next(frames)["type"] == "ping"
    heard = notifications(frames)
    for number in range(20):
        publish(seen, user, number)
        assert next(heard) == number


def test_publish_many(seen: Service, user: str) -> None:
    """A batch is one request, and an invalid line fails alone."""
    lines: list[object] = [{"to": {"users": [user]}, "data": number} for number in range(500)]
    lines[250] = {"to": {}}
    with seen.client(user) as client:
        answer = seen.publish(lines)
        assert [line["status"] for line in answer.json] == [201] * 250 + [422] + [201] * 249
        expected = [number for number in range(500) if number != 250]
        assert [client.receive("notification")["notification"]["data"] for _ in expected] == expected


def test_publish_in_chunks(seen: Service, user: str) -> None:
    """A chunked batch is published completely."""
    line = json.dumps({"to": {"users": [user]}, "title": "x"}).encode() + b"\n"
    answer = seen.publish((line for _ in range(300)), {"Content-Type": NDJSON})
    assert [line["status"] for line in answer.json] == [201] * 300


def test_the_longest_batch(seen: Service, user: str) -> None:
    """A batch of 16 MB is published completely."""
    limit = 16_777_216
    line = json.dumps({"to": {"users": [user]}, "title": "x", "data": "y" * 50_000}).encode() + b"\n"
    body = line * (limit // len(line))
    answer = seen.publish(body.ljust(limit), {"Content-Type": NDJSON})
    assert [line["status"] for line in answer.json] == [201] * (limit // len(line))


def test_addresses(lively: Service) -> None:
    """Limits apply to the addresses of clients. A client cannot choose its own, and cannot get out of the limits."""
    guess = {"Authorization": "Bearer wrong-wrong-wrong"}
    with behind_each(lively) as proxies:
        for number, seen in enumerate(proxies.values()):
            address, invention = f"127.0.0.{2 + number}", f"198.51.100.{1 + number}"
            for invented in ({"X-Forwarded-For": invention}, {"Forwarded": f"for={invention}"}, {"Forwarded": "x"}):
                headers = guess | invented
                eventually(lambda seen=seen, address=address, headers=headers: is_limited(seen, address, headers))
            assert f"for {address}: a pause" in lively.log and invention not in lively.log
            assert seen.request("GET", "/v1/status", headers=guess).status == 401


def is_limited(service: Service, address: str, headers: dict[str, str]) -> bool:
    """Return whether a request from an address is refused as one too many."""
    return status_from(address, service, headers) == 429


def status_from(address: str, service: Service, headers: dict[str, str]) -> int:
    connection = service.dial()
    connection.source_address = (address, 0)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/status", headers=headers)
        return connection.getresponse().status


def test_slow_bodies(lively: Service, user: str) -> None:
    """nginx and HAProxy wait for bodies: a slow one reaches the service when it is complete, and none times out."""
    note = json.dumps({"to": {"users": [user]}, "title": "x"}).encode()
    head = "POST /v1/notifications HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: "
    head += f"application/json\r\nContent-Length: {len(note)}\r\n\r\n"
    with behind_each(lively) as proxies, contextlib.ExitStack() as stack:
        socks = []
        for seen in (lively, *(proxies[name] for name in ("nginx", "haproxy") if name in proxies)):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", seen.port), DEADLINE))
            sock = stack.enter_context(seen.tls.wrap_socket(sock, server_hostname="127.0.0.1")) if seen.tls else sock
            sock.sendall(head.format(seen.port, API_KEY).encode() + note[:10])
            socks.append(sock)
        direct, *proxied = socks
        assert direct.recv(100).startswith(b"HTTP/1.1 408 ")  # so much later
        for sock in proxied:
            sock.sendall(note[10:])
            assert sock.recv(100).startswith(b"HTTP/1.1 201 ")


def test_problems_pass_unchanged(seen: Service, service: Service) -> None:
    """Problems, also those that answer an upgrade, arrive unchanged."""
    bad = {"Authorization": "Bearer nonsense"}
    for method, path, headers, status in (
        ("POST", "/v1/notifications", bad, 401),
        ("GET", "/v1/stream", bad, 401),
        ("GET", "/v1/stream", bad | {"Accept": "text/event-stream"}, 401),
        ("GET", "/v1/stream", bad | raw.HANDSHAKE, 401),
        ("GET", "/v1/echo", {}, 426),
        ("GET", "/nowhere", {}, 404),
    ):
        headers = {name: text for name, text in headers.items() if name != "Host"}
        direct, through = service.request(method, path, b"", headers), seen.request(method, path, b"", headers)
        for answer in (direct, through):
            assert answer.status == status and answer.headers["Content-Type"] == PROBLEM
            answer.json.pop("request_id")
        assert through.json == direct.json


def test_own_origin(seen: Service, user: str) -> None:
    """Host and Origin arrive: the cookie is accepted from the own origin and rejected from others."""
    cookie = {"Cookie": f"notifier_token={seen.token(user)}"}
    own, foreign = f"https://127.0.0.1:{seen.port}", "https://elsewhere.example"
    with seen.connect(additional_headers=cookie, origin=own) as client:
        client.send("hello")
        assert client.receive()["user"] == user
    for headers in (cookie, cookie | raw.HANDSHAKE):
        headers = {name: text for name, text in headers.items() if name != "Host"}
        answer = seen.request("GET", "/v1/stream", headers=headers | {"Origin": foreign})
        assert (answer.status, answer.json["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize(
    "target",
    ["/metrics", "/metrics?x", "/metrics/", "//metrics", "/./metrics", "/x/../metrics", "/%6detrics", "/metrics%2f"]
    + ["https://127.0.0.1/metrics", "/METRICS", "/metrics;x", "/%2fmetrics", "/v1/..%2fmetrics"],
)
def test_metrics_are_private(seen: Service, service: Service, target: str) -> None:
    """The metrics are not public, however the path is spelled."""
    assert "notifier_connections" in service.metrics()
    answer = seen.request("GET", target, headers={"Authorization": f"Bearer {API_KEY}"})
    assert answer.status in (308, 400, 404)
    assert "notifier_" not in answer.text
    if answer.status == 308:
        assert answer.headers["Location"].endswith("/metrics")  # which is rejected as well


@pytest.mark.parametrize("path", ["/healthz", "/v1/inbox", "/metrics"])
def test_https_only(seen: Service, path: str) -> None:
    """Every answer, also one of the proxy itself, makes browsers use only https, and none names gunicorn."""
    answer = seen.request("GET", path)
    assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]
    assert "gunicorn" not in answer.headers.get("Server", "")


@pytest.mark.parametrize("name", ["metrics", "a/metrics", "a/members", "/metrics"])
def test_names(seen: Service, name: str) -> None:
    """Names that contain words or slashes of other paths are passed on unchanged."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    members = f"/v1/topics/{quote(name, safe='')}/members"
    assert seen.request("PUT", f"{members}/{quote(name, safe='')}", headers=headers).status == 204
    assert seen.request("GET", members, headers=headers).json["members"] == [name]


def test_heartbeat_against_idle_timeout(service: Service, lively: Service, user: str) -> None:
    """With an idle timeout of 6 s, proxies close streams with a ping every 25 s, and none with one every 2 s."""
    kinds = [kind for name, kind in KINDS.items() if is_installed(name)]
    with contextlib.ExitStack() as stack:
        silent, streams = [], []
        for kind in kinds:
            proxy = stack.enter_context(kind(service.port, idle=6))
            silent.append(stack.enter_context(service.behind(proxy.port, proxy.tls).client(user)))
            proxy = stack.enter_context(kind(lively.port, idle=6))
            seen = lively.behind(proxy.port, proxy.tls)
            streams += [web_socket(seen, user), events(seen, user)]
        for stream in streams:
            stack.callback(stream.close)
            assert next(stream)["type"] == "welcome"
        assert [client.close_code() for client in silent] == [None] * len(silent)  # this waits for the timeout
        publish(lively, user, "alive")
        for stream in streams:
            assert next(notifications(stream)) == "alive"


def test_a_restart(lively: Service, user: str) -> None:
    """During a restart publishing is answered with 503; after it, clients behind a proxy have missed nothing."""
    with behind_each(lively) as proxies, contextlib.ExitStack() as stack:
        followers = follow(stack, [(seen, user) for seen in proxies.values()])
        publish(lively, user, "before")
        lively.stop()
        try:
            for seen in proxies.values():
                refused = seen.publish({"to": {"users": [user]}, "data": "refused"})
                assert (refused.status, refused.headers["Content-Type"]) == (503, PROBLEM)
                assert int(refused.headers["Retry-After"]) == refused.json["retry_after"] > 0
        finally:
            lively.start()
        publish(lively, user, "after")
        for follower in followers:
            follower.expect(["before", "after"])


def test_two_machines(user: str) -> None:
    """Two services share a Redis. While they restart in sequence, no acknowledged notification is lost, and
    clients of one receive what was published to the other."""
    settings = {"workers": 1, "heartbeat": 2}
    with (
        running_valkey() as valkey,
        Service(redis_url=valkey.url, **settings) as one,
        Service(redis_url=valkey.url, **settings) as two,
        behind_each(one, two) as proxies,
        contextlib.ExitStack() as stack,
    ):
        users = {name: f"{user}-{name}" for name in proxies}
        followers = follow(stack, [(seen, users[name]) for name, seen in proxies.items()])
        for each in users.values():
            with one.client(each) as client:
                publish(two, each, 0)
                assert client.receive("notification")["notification"]["data"] == 0
        numbers = {name: itertools.count(1) for name in proxies}

        def publish_during(restart: threading.Thread, name: str) -> None:
            while restart.is_alive():
                publish_until_acknowledged(proxies[name], users[name], next(numbers[name]))
                restart.join(0.05)

        with ThreadPoolExecutor(len(proxies)) as pool:
            for service in (one, two):
                restart = threading.Thread(target=lambda service=service: (service.stop(), service.start()))
                restart.start()
                for publishing in [pool.submit(publish_during, restart, name) for name in proxies]:
                    publishing.result()
        published = {users[name]: list(range(next(numbers[name]))) for name in proxies}
        for follower in followers:
            follower.expect(published[follower.user])


@needs_nginx
@pytest.mark.parametrize(("upgrades", "status"), [("stripped", 426), ("400", 400), ("426", 426)])
def test_an_enemy_of_upgrades(service: Service, user: str, upgrades: Any, status: int) -> None:
    """Behind a proxy without upgrades no WebSocket opens, and the other transports work."""
    with enemy(service.port, upgrades) as proxy:
        seen = service.behind(proxy.port)
        with Peer(proxy.port, "/v1/stream") as peer:
            assert peer.status == status
        streams = [events(seen, user), polls(seen, user)]
        for stream in streams:
            while next(stream)["type"] != "welcome":
                pass
        publish(seen, user, "heard")
        for stream in streams:
            assert next(notifications(stream)) == "heard"
            stream.close()


@needs_nginx
def test_an_enemy_of_streams(service: Service, user: str) -> None:
    """Behind a proxy that buffers 64 KB, events are late, and polls and WebSockets work."""
    with enemy(service.port, buffers=True) as proxy, open_events(proxy, service.token(user)) as held:
        seen = service.behind(proxy.port)
        polled = notifications(polls(seen, user, since="0-0"))
        with seen.client(user) as client:
            for number in range(20):
                publish(seen, user, number)
                assert client.receive("notification")["notification"]["data"] == number
                assert next(polled) == number
                assert not is_readable(held)
            publish(seen, user, "x" * 50_000)
            publish(seen, user, "x" * 50_000)
            with held.makefile("rb") as file:
                heard = notifications(json.loads(line[6:]) for line in file if line.startswith(b"data: "))
                assert [next(heard) for _ in range(20)] == list(range(20))


@needs_nginx
def test_an_enemy_of_both(service: Service, user: str) -> None:
    """Behind a proxy with both faults only long polls work."""
    with enemy(service.port, "426", buffers=True) as proxy, open_events(proxy, service.token(user)) as held:
        with Peer(proxy.port, "/v1/stream") as peer:
            assert peer.status == 426
        seen = service.behind(proxy.port)
        polled = notifications(polls(seen, user, since="0-0"))
        publish(seen, user, "heard")
        assert next(polled) == "heard"
        assert not is_readable(held)


@contextlib.contextmanager
def open_events(proxy: Proxy, token: str) -> Iterator[socket.socket]:
    """Request an event stream of the user's whole history, without waiting for the answer."""
    head = "GET /v1/stream?since=0-0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), DEADLINE) as sock:
        sock.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        yield sock


def is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
