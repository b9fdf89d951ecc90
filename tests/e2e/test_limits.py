"""Limits on what addresses, users and API keys may use, over every way in and on two workers."""

import contextlib
import itertools
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPMessage, HTTPResponse
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.kit import raw
from tests.kit.raw import Peer
from tests.kit.service import API_KEY, JSON, NDJSON, Answer, Client, Service
from tests.kit.waiting import DEADLINE, eventually, next_millisecond

PATH = "/v1/notifications"


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    """A service behind a trusted proxy, with low limits."""
    with Service(
        workers=2,
        trusted_proxies="127.0.0.0/8",
        address_connections=2,
        address_failure_rate=0.1,
        user_connections=3,
        user_action_rate=1,
        user_requests=2,
        user_daily_topics=2,
        client_publish_rate=1,
        key_publish_rate=1000,
        key_daily_topics=3,
        key_daily_bytes=100_000,
        body_timeout=3,
        body_rate=100_000,
        head_timeout=3,
        address_requests=3,
        response_timeout=6,
        response_rate=1_000_000_000,
    ) as service:
        yield service


def from_(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": f"1.1.1.1, {address}"}


def worker_of(headers: HTTPMessage) -> str:
    """Return the name of the worker that has answered."""
    return headers["X-Request-Id"].partition("-")[0]


def limited_total(service: Service, limit: str) -> float:
    """Return how often the limit has refused something."""
    found = re.findall(rf'^notifier_limited_total{{limit="{limit}"}} (\S+)$', service.metrics(), re.MULTILINE)
    return sum(map(float, found))


def is_limited(answer: Answer, limit: str, code: str = "rate_limited") -> bool:
    """Return whether an answer is a 429 because of the limit, and check that it is complete."""
    if answer.status != 429:
        return False
    assert (answer.json["code"], answer.json["limit"]) == (code, limit), answer.json
    assert int(answer.headers["Retry-After"]) == answer.json["retry_after"] > 0
    return True


def test_streams_of_an_address(limited: Service, user: str) -> None:
    """The streams of an address are limited, on all workers; other addresses are not affected."""
    address, others, refusing = from_("198.51.100.1"), itertools.count(), set[str]()

    def ask(_: object = None) -> Answer:
        """Ask for a short stream of another user. A worker that opens one learns of those of the other worker."""
        token = {"Authorization": f"Bearer {limited.token(f'{user}-{next(others)}')}"}
        return limited.request("GET", "/v1/stream?wait=0", headers=address | token)

    def all_refuse() -> bool:
        with ThreadPoolExecutor(2) as pool:  # more than one at a time, so that both workers answer
            answers = list(pool.map(ask, range(2)))
        refusing.update(worker_of(each.headers) for each in answers if is_limited(each, "address_connections"))
        return len(refusing) == limited.workers

    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(limited.connect(additional_headers=address))
            client.send("hello", token=limited.token(user))  # without one it would be closed after a while
            client.receive("welcome")
        eventually(all_refuse)
        with limited.connect(additional_headers=from_("198.51.100.2")):
            pass
        assert limited_total(limited, "address_connections") > 0
    eventually(lambda: ask().status == 200)


def enters(service: Service, user: str) -> bool:
    """Return whether a user gets a stream; otherwise the close code must be 4005."""
    with service.connect() as client:
        client.send("hello", token=service.token(user))
        try:
            return client.receive()["type"] == "welcome"
        except ConnectionClosed as closed:
            assert closed.rcvd and closed.rcvd.code == 4005
            return False


def test_streams_of_a_user(limited: Service, user: str) -> None:
    """The streams of a user are limited; the next is closed with 4005, and other users are accepted."""
    streams = [limited.client(user) for _ in range(3)]
    eventually(lambda: not enters(limited, user))  # the workers know of each other's streams
    assert enters(limited, f"{user}-2")
    for each in streams:
        each.close()
    eventually(lambda: enters(limited, user))


def test_failed_authentication(limited: Service, user: str) -> None:
    """An address that guesses has to pause, on each way in. Others at the address authenticate meanwhile."""
    address = from_("198.51.100.9")
    guess, right = address | {"Authorization": "Bearer wrong-wrong-wrong"}, {"Authorization": f"Bearer {API_KEY}"}
    events = guess | {"Accept": "text/event-stream"}
    own = {"Authorization": f"Bearer {limited.token(user)}"}

    def closes() -> bool:
        answer = limited.request("GET", "/v1/stream?since=0-0", headers=events)
        return answer.status == 200 and '"code":4005' in answer.text and "retry: " in answer.text

    for path in ("/v1/status", "/v1/inbox", "/v1/stream"):
        eventually(lambda path=path: is_limited(limited.request("GET", path, headers=guess), "address_failures"))
        assert limited.request("GET", "/v1/status", headers=address | right).status == 200
    eventually(closes)
    assert limited.request("GET", "/v1/inbox", headers=address | own).status == 200
    assert "198.51.100.9: a pause of" in limited.log
    assert limited.metric("notifier_refused_credentials_total") >= 6


def test_a_guess_in_the_hello(limited: Service, user: str) -> None:
    """Tokens in a hello count, too: the close code becomes 4005. Others at the address are welcome meanwhile."""
    address = from_("198.51.100.7")

    def guess() -> bool:
        with limited.connect(additional_headers=address) as client:
            client.send("hello", token="wrong")
            code = client.close_code()
        assert code in (4001, 4005)
        return code == 4005

    eventually(guess)
    with limited.connect(additional_headers=address) as client:
        client.send("hello", token=limited.token(user))
        assert client.receive()["type"] == "welcome"


def test_actions_and_publications(limited: Service, user: str) -> None:
    """Frames, posted frames and requests of a user share a limit; the connection stays open."""
    token = limited.token(user, publish=[user])
    headers = {"Authorization": f"Bearer {token}", "Content-Type": JSON}
    with limited.connect() as client:
        client.send("hello", token=token)
        assert refusal(client, "read", up_to="1-1")["limit"] == "user_actions"
        for path, body in (
            ("/v1/inbox/read", b'{"up_to": "1-1"}'),
            ("/v1/stream", b'{"type":"read","up_to":"1-1"}'),
            ("/v1/stream", b'{"type":"ack","cursor":"1-1"}'),
        ):
            eventually(partial(refuses, limited, path, body, headers))
        assert refusal(client, "publish", topic=user, notification={"data": 1})["limit"] == "user_publications"


def refusal(client: Client, type: str, **members: object) -> dict[str, Any]:
    """Send a frame until it is refused, and return the problem."""
    answers: list[dict[str, Any]] = []

    def is_refused() -> bool:
        answers.append(client.ask(type, **members))
        return answers[-1]["type"] == "error"

    eventually(is_refused)
    problem: dict[str, Any] = answers[-1]["problem"]
    return problem


def refuses(service: Service, path: str, body: bytes, headers: dict[str, str]) -> bool:
    return is_limited(service.request("POST", path, body, headers), "user_actions")


def test_reconnecting_does_not_help(limited: Service, user: str) -> None:
    """The rate of publications is the user's, not the connection's."""
    published = 0
    began = time.monotonic()
    for _ in range(12):
        with limited.client(user, token=limited.token(user, publish=[user])) as client:
            published += client.ask("publish", topic=user, notification={"data": 1})["type"] == "ok"
    seconds = time.monotonic() - began
    assert published <= 2 * 2 + seconds + 1  # at most a burst for each worker, before they have settled


def test_quotas(limited: Service, user: str) -> None:
    """New topics are limited per day. Topics that exist can still be published to, and each line has its answer."""
    numbers = itertools.count()

    def to_topics(*numbers: int) -> list[Any]:
        return [{"to": {"topics": [f"{user}-{number}"]}, "title": "x"} for number in numbers]

    def creates() -> Answer:
        return limited.publish(to_topics(next(numbers))[0])

    assert [creates().status for _ in range(3)] == [201, 201, 201]
    eventually(lambda: all(answer.status == 429 for answer in limited.from_each_worker(creates)))
    lines = to_topics(0, 1, 10_000, 2)
    assert [line["status"] for line in limited.publish(lines).json] == [201, 201, 429, 201]
    refused = creates()
    assert is_limited(refused, "key_daily_topics", "quota_exceeded")
    assert refused.headers["RateLimit-Policy"] == '"key_daily_topics";q=3;w=86400'
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    large = {"to": {"users": [user]}, "title": "x", "data": "x" * 30_000}
    statuses = [limited.publish(large).status for _ in range(12)]
    assert statuses[0] == 201 and 429 in statuses
    eventually(lambda: is_limited(limited.publish(large), "key_daily_bytes", "quota_exceeded"))
    passing = large | {"retain": "none"}
    assert limited.publish(passing).status == 201
    small = passing | {"data": 1}

    def with_a_new_key() -> Answer:
        return limited.publish(small, {"Idempotency-Key": f"{user}-{next(numbers)}"})

    eventually(lambda: is_limited(with_a_new_key(), "key_daily_bytes", "quota_exceeded"))
    assert limited.publish(small).status == 201


def test_a_slow_body(limited: Service, user: str) -> None:
    """A body that does not arrive in time is answered 408, over HTTP and as the last line of a batch."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {API_KEY}\r\n"
    note = b'{"to": {"users": ["%s"]}, "title": "x", "retain": "none"}\n' % user.encode()
    with (
        socket.create_connection(("127.0.0.1", limited.port), DEADLINE) as single,
        socket.create_connection(("127.0.0.1", limited.port), DEADLINE) as batch,
    ):
        single.sendall(f"{head}Content-Type: {JSON}\r\nContent-Length: 1000\r\n\r\n{{".encode())
        batch.sendall(f"{head}Content-Type: {NDJSON}\r\nContent-Length: 1000\r\n\r\n".encode() + note + b"{")
        with HTTPResponse(single, method="POST") as answer:
            answer.begin()
            assert (answer.status, json.loads(answer.read())["code"]) == (408, "request_timeout")
        lines = batch.makefile("rb").read()
        assert b'"line":1,"status":201' in lines and b'"status":408' in lines
    assert limited_total(limited, "body_rate") >= 2


def test_a_slow_head(limited: Service) -> None:
    """A head that does not arrive in time is answered 408; a connection without a request is closed."""
    with (
        socket.create_connection(("127.0.0.1", limited.port), DEADLINE) as slow,
        socket.create_connection(("127.0.0.1", limited.port), DEADLINE) as silent,
    ):
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        assert slow.makefile("rb").read().startswith(b"HTTP/1.1 408 ")
        assert silent.makefile("rb").read() == b""
    assert limited_total(limited, "head_timeout") >= 1


def test_requests_in_flight(limited: Service, user: str) -> None:
    """Requests whose bodies are slow take up only a part of the places: more of them are answered at once."""
    head = f"POST /v1/inbox/read HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {limited.token(user)}\r\n"

    def take_only_a_part() -> bool:
        """Send them, and return whether they were all in flight at a time: this machine may be too slow for that."""
        socks = [socket.create_connection(("127.0.0.1", limited.port), DEADLINE) for _ in range(8)]
        for sock in socks:
            sock.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        answers: dict[str, Counter[int]] = {}  # by worker
        for sock in socks:
            with sock, HTTPResponse(sock, method="POST") as answer:
                answer.begin()
                answers.setdefault(worker_of(answer.headers), Counter())[answer.status] += 1
                problem = json.loads(answer.read())
                assert problem["status"] == 408 or problem["limit"] == "user_requests"
        assert all(found.keys() <= {408, 429} for found in answers.values())
        return all(found[408] == min(found.total(), 2) for found in answers.values())

    eventually(take_only_a_part)


def test_answers_that_are_not_read(limited: Service) -> None:
    """Requests count for as long as their answers wait to be read, and a client that reads too slowly is cut off."""
    path, address = "/static/notifier-inbox.js", from_("192.0.2.77")
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.77\r\n\r\n".encode()
    answers: list[Answer] = []

    def is_refused() -> bool:
        answers.append(limited.request("GET", path, headers=address))
        return is_limited(answers[-1], "address_requests")

    def are_cut(total: float) -> bool:
        return limited_total(limited, "response_rate") >= total

    def count() -> bool:
        """Return whether a request was refused while clients did not read: this machine may be too slow for that."""
        cut = limited_total(limited, "response_rate")
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                slow = stack.enter_context(socket.socket())
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                slow.settimeout(DEADLINE)
                slow.connect(("127.0.0.1", limited.port))
                with contextlib.suppress(OSError):  # it may have been cut off meanwhile
                    slow.sendall(400 * request)  # answers of 12 MB
            eventually(lambda: is_refused() or are_cut(cut + 4))
            if answers[-1].status != 429:
                return False
            eventually(lambda: are_cut(cut + 4))
            eventually(lambda: limited.request("GET", path, headers=address).status == 200)
        return True

    eventually(count)


def test_frames(user: str) -> None:
    """A client that sends too many frames is closed with 4005; others stay."""
    with Service(workers=1, user_frame_rate=10) as service, service.client(f"{user}-2") as other:
        with Peer(service.port, "/v1/stream") as flooder:
            flooder.send(raw.text(type="hello", token=service.token(user)), raw.frame(raw.PING, b"") * 100)
            *_, last = flooder.frames()
            assert last.close_code == 4005
        assert other.ask("read", up_to="1-1")["type"] == "ok"
        assert limited_total(service, "user_frames") >= 1


def test_replays(user: str) -> None:
    """A user who requests too many replays is closed with 4005, and resumes later without a loss."""
    with Service(workers=1, user_replay_rate=2000, replay_overlap=0) as service:
        with service.client(user) as client:
            since, closed = client.welcome["cursor"], False
        next_millisecond()  # without an overlap, entries of the cursor's millisecond are not replayed
        for number in range(40):
            assert service.publish({"to": {"users": [user]}, "data": [number, "x" * 4000]}).status == 201
        seen: list[int] = []

        def resume() -> bool:
            nonlocal since, closed
            with service.connect() as client:
                client.send("hello", token=service.token(user), since=since)
                try:
                    while True:
                        frame = client.receive()
                        assert not frame.get("lost")
                        if frame["type"] == "notification":
                            seen.append(frame["notification"]["data"][0])
                            since = frame["cursor"]
                        if seen and seen[-1] == 39:
                            return True
                except ConnectionClosed as end:
                    closed = bool(end.rcvd and end.rcvd.code == 4005)
            return False

        eventually(resume, 4 * DEADLINE)
        assert closed and seen == list(range(40))
