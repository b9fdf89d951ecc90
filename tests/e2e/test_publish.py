"""Publishing by clients: in order, once, with their own name, and at no cost to others."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit import raw
from tests.kit.raw import Peer
from tests.kit.service import Answer, Client, Service
from tests.kit.valkey import pid_of, running_valkey
from tests.kit.waiting import eventually


@pytest.fixture(scope="module")
def fast() -> Iterator[Service]:
    """A service with a high publish rate for clients."""
    with Service(client_publish_rate=10_000) as service:
        yield service


def claims(service: Service, user: str, topics: tuple[str, ...] = ("*",), publish: tuple[str, ...] = ("*",)) -> str:
    return service.token(user, topics, publish=list(publish))


def client(service: Service, user: str, topic: str = "", since: str | None = None) -> Client:
    """Return a client that may publish to all topics and subscribes to one."""
    return service.client(user, [topic] if topic else [], since=since, token=claims(service, user))


def post(service: Service, token: str, frame: object, **headers: str) -> Answer:
    return service.request("POST", "/v1/stream", frame, {"Authorization": f"Bearer {token}", **headers})  # type: ignore[arg-type]


def publish(topic: str, data: object, **members: object) -> dict[str, Any]:
    return {"type": "publish", "topic": topic, "notification": {"data": data}, **members}


def say(client: Client, topic: str, data: object, **members: object) -> None:
    client.socket.send(json.dumps(publish(topic, data, **members)))


def test_order(fast: Service, user: str) -> None:
    """Publications of one connection arrive in order on all workers, and are answered in order."""
    with client(fast, user) as publisher:
        readers = [client(fast, f"{user}-{number}", user) for number in range(6)]
        for number in range(500):
            say(publisher, user, number, ref=str(number))
        answers = [publisher.receive("ok", "error") for _ in range(500)]
        assert [answer["ref"] for answer in answers] == [str(number) for number in range(500)]
        for reader in readers:
            with reader:
                frames = [reader.receive("notification") for _ in range(500)]
            assert [frame["notification"]["data"] for frame in frames] == list(range(500))
            assert [(frame["notification"]["id"], frame["cursor"]) for frame in frames] == [
                (answer["id"], answer["cursor"]) for answer in answers
            ]
            assert {frame["notification"]["sender"] for frame in frames} == {user}


def test_echo(fast: Service, user: str) -> None:
    """With `echo: false` the publishing connection gets no copy; the user's other connections do."""
    tabs = [client(fast, user, user) for _ in range(6)]
    publisher = tabs[0]
    for number in range(20):
        say(publisher, user, number, ref="r", echo=bool(number % 2))
    for tab in tabs[1:]:
        assert [tab.receive("notification")["notification"]["data"] for _ in range(20)] == list(range(20))
    heard = []
    oks = 0
    while len(heard) + oks < 30:
        frame = publisher.receive("ok", "notification")
        if frame["type"] == "ok":
            oks += 1
        else:
            heard.append(frame["notification"]["data"])
    assert heard == list(range(1, 20, 2))
    for tab in tabs:
        tab.close()


def test_echo_of_who_does_not_listen(fast: Service, user: str) -> None:
    """A connection can publish without echo to a topic before it subscribes to it."""
    with client(fast, user) as publisher, client(fast, f"{user}-2", user) as other:
        assert publisher.ask("publish", topic=user, notification={"data": 1}, echo=False)["type"] == "ok"
        assert other.receive("notification")["notification"]["data"] == 1
        publisher.ask("subscribe", topic=user)
        say(other, user, 2)
        assert publisher.receive("notification")["notification"]["data"] == 2


def test_a_replay_has_it(fast: Service, user: str) -> None:
    """A replay includes publications without echo, with the ids of their answers."""
    with client(fast, user, user) as publisher:
        cursor = publisher.welcome["cursor"]
        ok = publisher.ask("publish", topic=user, notification={"data": 1}, echo=False)
    with client(fast, user, user, since=cursor) as again:
        assert again.receive("notification")["notification"]["id"] == ok["id"]


def test_collapse_keys(fast: Service, user: str) -> None:
    """A user replaces only what they have published: a client that was offline receives all others'."""
    with client(fast, user, user) as reader:
        cursor = reader.welcome["cursor"]
    note = {"to": {"topics": [user]}, "collapse_key": "k"}
    assert fast.publish(note | {"data": "backend, replaced"}).status == 201
    assert fast.publish(note | {"data": "backend"}).status == 201
    for name, data in (("a", "a, replaced"), ("b", "b"), ("a", "a")):
        frame = publish(user, None)
        frame["notification"] = {"data": data, "collapse_key": "k"}
        assert post(fast, claims(fast, f"{user}-{name}"), frame).status == 200
    with client(fast, user, user, cursor) as reader:
        found = [reader.receive("notification")["notification"] for _ in range(3)]
    assert [each["data"] for each in found] == ["backend", "b", "a"]
    assert {each["collapse_key"] for each in found} == {"k"}


def test_publish_before_the_welcome(fast: Service, user: str) -> None:
    """A client can publish before its welcome; the answer comes after it."""
    with fast.connect() as early:
        early.send("hello", token=claims(fast, user), topics=[user])
        say(early, user, 1, ref="r")
        assert early.receive()["type"] == "welcome"
        frames = [early.receive() for _ in range(2)]
        assert {frame["type"] for frame in frames} == {"ok", "notification"}


def test_idempotency(fast: Service, user: str) -> None:
    """A repetition with the same idempotency key publishes nothing; another body with the key is rejected."""
    with client(fast, f"{user}-2", user) as reader:
        frame = {"topic": user, "notification": {"data": 1}, "idempotency_key": "a key"}
        with client(fast, user) as first:
            ok = first.ask("publish", **frame)
        with client(fast, user) as second:
            again = second.ask("publish", **frame)
            assert (again["id"], again["cursor"]) == (ok["id"], ok["cursor"])
            other = second.ask("publish", **frame | {"notification": {"data": 2}})
            assert other["problem"]["code"] == "idempotency_mismatch"
        posted = post(fast, claims(fast, user), {"type": "publish", **frame})
        assert (posted.status, posted.json["id"]) == (200, ok["id"])
        stranger = post(fast, claims(fast, f"{user}-3"), {"type": "publish", **frame})
        assert stranger.json["id"] != ok["id"]
        frames = [reader.receive("notification")["notification"] for _ in range(2)]
        assert [(note["id"], note["sender"]) for note in frames] == [
            (ok["id"], user),
            (stranger.json["id"], f"{user}-3"),
        ]


def test_rate(service: Service, user: str) -> None:
    """After a burst of twenty, publications are rejected with the time to wait."""
    with client(service, user, user) as publisher:
        answers: list[dict[str, Any]] = []

        def is_refused() -> bool:
            for number in range(len(answers), len(answers) + 60):
                say(publisher, user, number, ref=str(number))
            answers.extend(publisher.receive("ok", "error") for _ in range(60))
            return any(answer["type"] == "error" for answer in answers)

        eventually(is_refused)
        taken = [answer["ref"] for answer in answers if answer["type"] == "ok"]
        refused = [answer["problem"] for answer in answers if answer["type"] == "error"]
        assert taken[:20] == [str(number) for number in range(20)] and refused
        assert {(problem["code"], problem["retry_after"]) for problem in refused} == {("rate_limited", 1)}


def test_rate_of_requests(user: str) -> None:
    """All requests of one user share a rate; other users have their own."""
    with Service(workers=1, client_publish_rate=1) as service:
        token = claims(service, user)
        answers = [post(service, token, publish(user, number)) for number in range(60)]
        assert [answer.status for answer in answers[:2]] == [200, 200]
        refused = [answer for answer in answers if answer.status != 200]
        assert refused and all(answer.status == 429 and answer.headers["Retry-After"] == "1" for answer in refused)
        assert post(service, claims(service, f"{user}-2"), publish(user, 1)).status == 200


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"topic": "elsewhere"}, 403, "forbidden"),
        ({"topic": "a b"}, 422, "invalid_frame"),
        ({"notification": {"title": "x", "sender": "bob"}}, 422, "invalid_notification"),
        ({"notification": {"title": "x", "to": {"all": True}}}, 422, "invalid_notification"),
        ({"notification": {}}, 422, "invalid_notification"),
        ({"notification": [1]}, 400, "malformed_json"),
        ({"notification": None}, 400, "malformed_json"),
        ({"echo": 1}, 422, "invalid_frame"),
        ({"idempotency_key": "ä"}, 422, "invalid_idempotency_key"),
        ({"type": "dance"}, 422, "invalid_frame"),
        ({"ref": "\ud800", "type": "dance"}, 422, "invalid_frame"),
    ],
)
def test_refused(service: Service, user: str, members: dict[str, Any], status: int, code: str) -> None:
    """A frame and a request are rejected for the same reasons, and the connection stays open."""
    token = claims(service, user, publish=(f"{user}:*",))
    frame = publish(f"{user}:1", 1, ref="r") | members
    answer = post(service, token, frame)
    assert (answer.status, answer.json["code"]) == (status, code)
    with service.client(user, token=token) as publisher:
        publisher.socket.send(json.dumps(frame))
        error = publisher.receive()
        assert (error["type"], error["problem"]["status"], error["problem"]["code"]) == ("error", status, code)
        assert error.get("ref") == (None if "\ud800" in frame["ref"] else "r")
        assert publisher.ask("publish", topic=f"{user}:1", notification={"data": 1})["type"] == "ok"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("9" * 309, "number_out_of_range"),
        ("9" * 5000, "number_out_of_range"),
        ("1e400", "number_out_of_range"),
        ("[" * 65 + "]" * 65, "too_deep"),
    ],
    ids=["309 digits", "5000 digits", "exponent", "65 levels"],
)
def test_data_that_some_client_cannot_read(service: Service, user: str, data: str, code: str) -> None:
    """It is rejected on every way in, and a stream stays open."""
    note, token = f'"title":"x","data":{data}', claims(service, user)
    frame = f'{{"type":"publish","ref":"r","topic":"{user}","notification":{{{note}}}}}'
    body = f'{{"to":{{"users":["{user}"]}},{note}}}'
    [line] = service.publish([body.encode()]).json
    with client(service, user) as publisher:
        publisher.socket.send(frame)
        error = publisher.receive("error", "notification")
        assert publisher.ask("publish", topic=user, notification={"data": 1})["type"] == "ok"
    problems = [service.publish(body).json, line, post(service, token, frame).json, error["problem"]]
    assert [problem["status"] for problem in problems] == [422] * 4
    named = problems if code == "number_out_of_range" else problems[:2]  # a frame is checked as a whole before
    assert [[fault["code"] for fault in problem["errors"]] for problem in named] == [[code]] * len(named)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"5", b"\xff", b'{"type":"publish"', b"[" * 60_000])
def test_no_frame(service: Service, user: str, body: bytes) -> None:
    """A body that is not a JSON object is rejected."""
    answer = post(service, claims(service, user), body)
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")


def test_other_frames(service: Service, user: str) -> None:
    """Frames that need a connection cannot be posted."""
    answer = post(service, claims(service, user), {"type": "subscribe", "topic": "a"})
    assert (answer.status, answer.json["code"]) == (422, "invalid_frame")


def test_too_large(service: Service, user: str) -> None:
    """A body above the limit is rejected, with and without a Content-Length."""
    token, body = claims(service, user), json.dumps(publish(user, "x" * 70_000)).encode()
    for sent in (body, iter([body])):
        assert post(service, token, sent).json["code"] == "body_too_large"


def test_post_needs_a_token(service: Service, user: str) -> None:
    """Posting needs a token; a cookie is accepted only from an allowed origin."""
    frame, cookie = publish(user, 1), {"Cookie": f"notifier_token={claims(service, user)}"}
    own = {"Origin": f"http://127.0.0.1:{service.port}"}
    assert service.request("POST", "/v1/stream", frame).json["code"] == "invalid_token"
    assert service.request("POST", "/v1/stream", frame, cookie).json["code"] == "foreign_origin"
    assert service.request("POST", "/v1/stream", frame, cookie | {"Origin": "null"}).json["code"] == "foreign_origin"
    assert service.request("POST", "/v1/stream", frame, cookie | own).status == 200


def test_retained_for_nobody(service: Service, user: str) -> None:
    """A client can publish with `retain: none`."""
    with client(service, user, user) as publisher:
        cursor = publisher.welcome["cursor"]
        ok = publisher.ask("publish", topic=user, notification={"type": "typing", "retain": "none"}, echo=False)
        assert ok["type"] == "ok" and ok["cursor"]
        kept = publisher.ask("publish", topic=user, notification={"type": "said"}, echo=False)
    with client(service, user, user, since=cursor) as again:
        assert again.receive("notification")["notification"]["id"] == kept["id"]


def test_broker_away(user: str) -> None:
    """While Redis is unavailable every publication is answered with an error, and later with an ok."""
    with (
        running_valkey() as valkey,
        Service(workers=1, redis_url=valkey.url, redis_timeout=0.5) as service,
        client(service, user, user) as publisher,
    ):
        server = pid_of(valkey)
        os.kill(server, signal.SIGSTOP)
        try:
            for number in range(10):
                say(publisher, user, number, ref=str(number))
            answers = [publisher.receive("ok", "error") for _ in range(10)]
            posted = post(service, claims(service, user), publish(user, "posted"))
        finally:
            os.kill(server, signal.SIGCONT)
        assert [answer["ref"] for answer in answers] == [str(number) for number in range(10)]
        assert {answer["problem"]["code"] for answer in answers} == {"broker_unavailable"}
        assert (posted.status, posted.json["code"]) == (503, "broker_unavailable")
        eventually(lambda: publisher.ask("publish", topic=user, notification={"data": 1})["type"] == "ok")


def test_a_flood(user: str) -> None:
    """A flooding client is limited to its rate, and others are served."""
    # This client may read slowly during its flood and must not be closed for that.
    with Service(workers=1, max_backlog_bytes=10_000_000) as service, service.connect() as flooder:
        flooder.send("hello", token=claims(service, user))
        with client(service, f"{user}-2", f"{user}-2") as other:
            for number in range(10_000):
                say(flooder, user, number, ref="r")
                if not number % 1_000:
                    assert other.ask("publish", topic=f"{user}-2", notification={"data": number}, echo=False)["id"]
        answers = [flooder.receive("ok", "error") for _ in range(10_000)]
        refused = [answer["problem"]["code"] for answer in answers if answer["type"] == "error"]
        assert len(answers) - len(refused) >= 20
        assert set(refused) == {"rate_limited"} and len(refused) > 5_000


def test_a_flood_that_reads_nothing(user: str) -> None:
    """A flooding client that reads no answers is disconnected, and others are served."""
    with Service(workers=1) as service, Peer(service.port, "/v1/stream", receive_buffer=4096) as flooder:
        flooder.send(raw.text(type="hello", token=claims(service, user)))
        frames = b"".join(raw.text(**publish(user, number)) for number in range(100))
        with client(service, f"{user}-2") as other:
            with pytest.raises(ConnectionError):
                while True:
                    flooder.send(frames)
            assert other.ask("publish", topic=user, notification={"data": 1})["type"] == "ok"
