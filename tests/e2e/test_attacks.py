"""Attacks that are bounded: others are served, memory stays, and each attacker is slowed down or closed with its code.

`make attacks` measures how fast others are served during an attack.
"""

import base64
import contextlib
import json
import re
import socket
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed

from attacks.flooder import Flooder, run
from attacks.floods import ECHOES, FRAMES, USERS, Flood
from attacks.requests import REQUESTS, RequestFlood, flood_with_requests
from benchmarks.process import children, command_line, resident_bytes
from tests.kit import raw
from tests.kit.raw import Peer, handshake
from tests.kit.service import API_KEY, JSON, NDJSON, Service
from tests.kit.waiting import DEADLINE, eventually

PLACES = 120
HTTP_PLACES = 40
POST = f"POST /v1/notifications HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {API_KEY}\r\nContent-Type: %s\r\n".encode()
ANSWER_408 = re.compile(rb"^HTTP/1\.1 408 ")
SOME_MB = 24 << 20  # the most that a worker may grow under attack; the attacks brought hundreds of megabytes


@pytest.fixture(scope="module")
def target() -> Iterator[Service]:
    """A service with one worker and few places, to which every attack of this module comes.

    It closes no connection for what a busy machine makes late.
    """
    patience: dict[str, object] = {"hello_timeout": 10 * DEADLINE, "heartbeat": 10 * DEADLINE}
    with Service(workers=1, max_connections=PLACES, max_history=2000, **patience) as service:
        serve_others(service)
        yield service


def worker_of(service: Service) -> int:
    """Return the process of the only worker; the other child of the master is the embedded server."""
    [worker] = [pid for pid in children(service.pid) if "valkey" not in command_line(pid)]
    return worker


def serve_others(service: Service) -> None:
    """Connect, publish, receive, and act on an inbox, over both ways."""
    with service.client("other") as client:
        assert service.publish({"to": {"users": ["other"]}, "title": "x"}).status == 201
        received = client.receive("notification")["notification"]["id"]
        assert client.ask("read", ids=[received])["changed"]
        headers = {"Authorization": f"Bearer {service.token('other')}"}
        assert service.request("POST", "/v1/inbox/archive", {"ids": [received]}, headers).status == 200


def attack(service: Service, floods: list[Flood], each: int, most: int, seconds: float) -> list[Flooder]:
    """Attack with some flooders of each flood, from several addresses, and serve others during the attack."""
    token = service.token("attacker", ["room", "new-*"], publish=["room"])
    flooders = [
        Flooder(service.port, flood, token, f"127.0.0.{2 + number}") for flood in floods for number in range(each)
    ]
    thread = threading.Thread(target=run, args=(flooders, seconds, most, DEADLINE))
    thread.start()
    try:
        while thread.is_alive():
            serve_others(service)
    finally:
        thread.join()
        for flooder in flooders:
            flooder.close()
    return flooders


@pytest.mark.parametrize(
    ("floods", "each", "most", "seconds"),
    [
        pytest.param(FRAMES, 2, 1 << 20, 8, id="strangers"),
        pytest.param(USERS, 1, 1 << 22, 5, id="users"),
        pytest.param(ECHOES, 2, 1 << 20, 2, id="echoes"),
    ],
)
def test_floods(target: Service, floods: list[Flood], each: int, most: int, seconds: float) -> None:
    """Floods of all kinds at once affect no other user; each ends with an expected code."""
    before = resident_bytes(worker_of(target))
    flooders = attack(target, floods, each, most, seconds)
    wrong = {
        each.flood.name: each.code for each in flooders if each.status == 101 and each.code not in each.flood.codes
    }
    assert wrong == {}
    assert any(each.status == 101 for each in flooders)
    assert resident_bytes(worker_of(target)) - before < SOME_MB
    serve_others(target)


def test_request_floods(target: Service) -> None:
    """Floods of requests of all kinds at once affect no other user, also one at the attacker's address."""
    before = resident_bytes(worker_of(target))
    token = target.token("attacker")
    answers: dict[str, set[int]] = {}

    def flood(each: RequestFlood) -> None:
        """Flood on two connections."""
        answers[each.name] = set(flood_with_requests(target.port, each.of(token), 2, DEADLINE, 1 << 19))

    threads = [threading.Thread(target=flood, args=(each,)) for each in REQUESTS]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            serve_others(target)
    finally:
        for thread in threads:
            thread.join()
    unexpected = {each.name: answers[each.name] - {0, *each.statuses} for each in REQUESTS}
    assert not any(unexpected.values()), unexpected
    assert {401, 200} <= set.union(*answers.values())
    assert resident_bytes(worker_of(target)) - before < SOME_MB
    serve_others(target)


def gets_in(service: Service, user: str) -> bool:
    """Return whether a user is welcomed. On a busy machine the strangers of a moment may push out even the newest."""
    with contextlib.suppress(ConnectionClosed, OSError):
        service.client(user).close()
        return True
    return False


def test_places(target: Service) -> None:
    """Connections from many addresses that never send a hello, and reconnect, leave places for users."""
    stop = threading.Event()
    held: list[socket.socket] = []

    def hold() -> None:
        """Open handshakes without a hello, in sequence."""
        for number in range(4 * PLACES):
            if stop.is_set():
                return
            sock = socket.create_connection(("127.0.0.1", target.port), DEADLINE, (f"127.0.1.{1 + number % 250}", 0))
            sock.sendall(handshake("GET /v1/stream HTTP/1.1"))
            held.append(sock)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        eventually(lambda: len(held) > PLACES)
        for number in range(10):
            eventually(lambda user=f"user-{number}": gets_in(target, user))
        serve_others(target)
    finally:
        stop.set()
        thread.join()
        for sock in held:
            sock.close()
    assert target.metric("notifier_connections") <= PLACES


def test_tabs_that_do_not_read(target: Service) -> None:
    """State frames of one user fill no memory for many tabs that do not read. When these read on, they get the last."""
    lines = [{"to": {"users": ["tabs"]}, "title": "x"}] * 199  # as many as a state frame lists, in 8 KB
    ids = [line["id"] for line in target.publish(lines).json]
    headers = {"Authorization": f"Bearer {target.token('tabs')}"}
    actions, last = 50, {"revision": 0}
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(target.client("tabs"))
        hello = raw.text(type="hello")
        tabs = [
            stack.enter_context(Peer(target.port, "/v1/stream", headers, behind=hello, receive_buffer=4096))
            for _ in range(100)
        ]
        assert {tab.read_json()["type"] for tab in tabs} == {"welcome"}
        before = resident_bytes(worker_of(target))
        for number in range(actions):
            answer = target.request("POST", f"/v1/inbox/{('read', 'unread')[number % 2]}", {"ids": ids}, headers).json
            while last["revision"] < answer["revision"]:
                last = reader.receive("state")
            assert len(last["changes"][0]["ids"]) == len(ids)
        serve_others(target)
        assert resident_bytes(worker_of(target)) - before < SOME_MB
        revisions = [0]
        while revisions[-1] < last["revision"]:
            frame = tabs[0].read_json()
            revisions += [frame["revision"]] if frame["type"] == "state" else []
        assert len(revisions) - 1 < actions  # some were left out: the service had to wait for the tab


def test_streams_that_do_not_read(target: Service) -> None:
    """Streams of events and polls of clients that do not read cost little, however much is published."""
    token = target.token("deaf", ["deaf"])
    head = "GET /v1/stream?topic=deaf{} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nAccept: {}\r\n\r\n"
    before = resident_bytes(worker_of(target))
    with contextlib.ExitStack() as stack:
        for number in range(60):
            kind, wait = (("text/event-stream", ""), (JSON, "&wait=20"))[number % 2]
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", target.port), DEADLINE))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(head.format(wait, token, kind).encode())
        line = {"to": {"topics": ["deaf"]}, "title": "x", "body": "x" * 3000}
        for _ in range(4):
            target.publish([line] * 250)
        serve_others(target)
        assert resident_bytes(worker_of(target)) - before < SOME_MB


@pytest.fixture(scope="module")
def rich(target: Service) -> str:
    """A user with 2,000 long items of 20 topics, and one mute."""
    topics = [f"rich-{number}" for number in range(20)]
    key = {"Authorization": f"Bearer {API_KEY}"}
    for topic in topics:
        assert target.request("PUT", f"/v1/topics/{topic}/members/rich", headers=key).status == 204
    for topic in topics:
        assert target.publish([{"to": {"topics": [topic]}, "title": "x", "data": "x" * 2000}] * 100).status == 200
    headers = {"Authorization": f"Bearer {target.token('rich')}"}
    assert target.request("PUT", "/v1/inbox/mutes", {"types": ["zzz"], "topics": []}, headers).status == 200
    return "rich"


@pytest.mark.parametrize(
    "path",
    ["/v1/stream?wait=0", "/v1/inbox/counts", "/v1/inbox?status=unread&limit=100", "/v1/inbox?severity=critical"],
)
def test_requests_of_a_user(target: Service, rich: str, path: str) -> None:
    """Requests of a user with a large inbox, from 16 clients at once, affect no other user."""
    headers = {"Authorization": f"Bearer {target.token(rich)}", "Accept": JSON}
    before = resident_bytes(worker_of(target))
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(target.request, "GET", path, headers=headers) for _ in range(32)]
        while not all(answer.done() for answer in answers):
            serve_others(target)
    assert {answer.result().status for answer in answers} <= {200, 429}
    assert any(answer.result().status == 200 for answer in answers)
    assert resident_bytes(worker_of(target)) - before < SOME_MB


def test_connections_with_many_topics(target: Service) -> None:
    """Connections of a user with ever new topics, 100 each, and what is left of them, affect no other user."""
    before = resident_bytes(worker_of(target))
    for turn in range(2):
        with contextlib.ExitStack() as stack:
            for number in range(40):
                topics = [f"own-{turn}-{number}-{topic}" for topic in range(100)]
                stack.enter_context(target.client("many", topics))
                if not number % 10:
                    serve_others(target)
    assert resident_bytes(worker_of(target)) - before < SOME_MB


def test_topics_in_turn(target: Service) -> None:
    """Clients that join ever new topics and leave them, one after another, affect no other user."""
    before = resident_bytes(worker_of(target))

    def join_and_leave(number: int) -> None:
        with target.client("turns", token=target.token("turns", ["*"])) as client:
            for topic in range(60):
                for kind in ("subscribe", "unsubscribe"):
                    assert client.ask(kind, topic=f"turn-{number}-{topic}")["type"] == "ok"

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(join_and_leave, number) for number in range(4)]
        while not all(client.done() for client in clients):
            serve_others(target)
        for client in clients:
            client.result()
    assert resident_bytes(worker_of(target)) - before < SOME_MB


def test_long_heads(target: Service) -> None:
    """Heads of the greatest length that never end cost no more than their length, about twice."""
    before = resident_bytes(worker_of(target))
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"A: " + b"x" * 15_000 + b"\r\n") * 4
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", target.port), DEADLINE)).sendall(head)
        serve_others(target)
        assert resident_bytes(worker_of(target)) - before < SOME_MB


@pytest.fixture(scope="module")
def small() -> Iterator[Service]:
    """A service with few places for HTTP, which waits long for heads and not long for bodies."""
    with Service(
        workers=1, max_http_connections=HTTP_PLACES, head_timeout=600, body_timeout=0.5, body_rate=100_000
    ) as service:
        serve_others(service)
        yield service


@pytest.mark.parametrize(
    ("head", "ends"),
    [
        (b"", re.compile(rb"^$")),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", ANSWER_408),
        (POST % JSON.encode() + b"Content-Length: 1000\r\n\r\n{", ANSWER_408),
        (
            POST % NDJSON.encode() + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
            re.compile(rb'"status":408[^\n]*\s+(0\s+)?$'),
        ),
    ],
    ids=["silent", "half a head", "half a body", "half a line"],
)
def test_all_places_taken(small: Service, head: bytes, ends: re.Pattern[bytes]) -> None:
    """More connections than there are places, none with a whole request, end in time; streams stay open."""
    evicted = small.metric("notifier_http_evicted_total")
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(small.client("stream"))
        socks = []
        for _ in range(2 * HTTP_PLACES):
            socks.append(stack.enter_context(socket.create_connection(("127.0.0.1", small.port), DEADLINE)))
            socks[-1].sendall(head)
        serve_others(small)
        with socks[0].makefile("rb") as oldest:
            assert ends.search(oldest.read())
        assert small.publish({"to": {"users": ["stream"]}, "title": "x"}).status == 201
        assert stream.receive("notification")
    if b"\r\n\r\n" not in head:
        assert small.metric("notifier_http_evicted_total") > evicted


def test_all_places_taken_by_answers(small: Service) -> None:
    """Clients that do not read their answers do not keep all places until their timeout."""
    evicted = small.metric("notifier_http_evicted_total")
    with contextlib.ExitStack() as stack:
        for _ in range(HTTP_PLACES):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", small.port))
            client.sendall(b"GET /static/notifier-inbox.js HTTP/1.1\r\nHost: a\r\n\r\n" * 400)
        serve_others(small)
        assert small.metric("notifier_http_evicted_total") > evicted


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"POST /v1/notifications HTTP/1.1\r\nHost: a\r\n",
        b"POST /v1/notifications HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%b"
        b"Content-Length: 1000\r\n\r\n{",
        b"POST /v1/notifications HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n%b"
        b"Transfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["silent", "half a head", "half a body", "a byte at a time"],
)
def test_requests_without_end(target: Service, head: bytes) -> None:
    """Requests that never end, from many addresses, do not lock users out."""
    before = resident_bytes(worker_of(target))
    if b"%b" in head:
        head %= f"Authorization: Bearer {API_KEY}\r\n".encode()
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", target.port), DEADLINE, (f"127.0.2.{1 + number % 250}", 0))
            )
            for number in range(300)
        ]
        for _ in range(3):
            for sock in socks:
                with contextlib.suppress(OSError):  # the service may refuse some of them
                    sock.sendall(head or b"")
            head = b"1\r\n{\r\n" if head.endswith(b"chunked\r\n\r\n") or head.startswith(b"1") else b""
            serve_others(target)
        assert resident_bytes(worker_of(target)) - before < SOME_MB


def bomb() -> str:
    """Return a JWE whose claims are zeros, a megabyte of them for each kilobyte of it."""
    header = {"alg": "dir", "enc": "A256GCM", "zip": "DEF"}
    payload = zlib.compress(b"0" * 10_000_000)[2:-4]
    parts = [json.dumps(header).encode(), b"", b"x" * 12, payload[:9000], b"x" * 16]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def nested(depth: int) -> str:
    """Return a token whose header is nested."""
    header = '{"alg":"HS256","x":' + "[" * depth + "]" * depth + "}"
    return base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode() + ".e30.x"


@pytest.mark.parametrize(
    "token",
    [bomb(), nested(5000), "x" * 16_000, "." * 16_000, "eyJhbGciOiJub25lIn0.e30.", "eyJ" * 5000 + ".e30.x"],
    ids=["a JWE that inflates", "a deep header", "a long word", "dots", "no signature", "a long header"],
)
def test_hostile_tokens(target: Service, token: str) -> None:
    """A token that costs its reader much is rejected at once, wherever it is."""
    before = resident_bytes(worker_of(target))
    bearer = {"Authorization": f"Bearer {token}"}
    for _ in range(5):
        for method, path, headers in (
            ("GET", "/v1/inbox", bearer),
            ("GET", "/v1/inbox", {"Cookie": f"notifier_token={token}"}),
            ("GET", "/v1/stream", bearer),
            ("GET", "/v1/stream", bearer | {"Accept": "text/event-stream"}),
            ("POST", "/v1/stream", bearer),
        ):
            assert target.request(method, path, headers=headers).status in (401, 429, 431), (method, path, headers)
        with target.connect() as client:
            client.send("hello", token=token)
            assert client.close_code() in (4001, 4500)
    with target.client("other") as client:
        for _ in range(5):
            assert client.ask("auth", token=token)["problem"]["status"] in (401, 429)
    serve_others(target)
    assert resident_bytes(worker_of(target)) - before < SOME_MB
