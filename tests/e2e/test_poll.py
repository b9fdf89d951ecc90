"""Long polls: a client that polls with the cursor of the last answer misses nothing."""

import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.kit.polls import waiting
from tests.kit.processes import children
from tests.kit.service import Answer, Service
from tests.kit.valkey import pid_of, running_valkey
from tests.kit.waiting import DEADLINE, eventually


def poll(service: Service, user: str, *items: tuple[str, object], token: str = "", **query: object) -> Answer:
    """Return the answer to a poll."""
    headers = {"Authorization": f"Bearer {token or service.token(user, ['*'])}"}
    return service.request("GET", f"/v1/stream?{urlencode([*items, *query.items()])}", headers=headers)


def frames(answer: Answer) -> list[dict[str, Any]]:
    """Return the frames of an answer, without the first ping."""
    assert answer.status == 200, answer.text
    listed: list[dict[str, Any]] = answer.json["frames"]
    assert listed[0] == {"type": "ping"}
    return listed[1:]


def data(answer: Answer) -> list[Any]:
    return [frame["notification"]["data"] for frame in frames(answer) if frame["type"] == "notification"]


def highest(answer: Answer) -> str:
    """Return the cursor for the next poll."""
    cursors = [frame["cursor"] for frame in frames(answer) if "cursor" in frame]
    return max(cursors, key=lambda text: tuple(map(int, text.split("-"))))


@pytest.fixture(scope="module")
def alone() -> Iterator[Service]:
    """A service with one worker, whose metrics count all connections, and a short heartbeat."""
    with Service(workers=1, heartbeat=5) as service:
        yield service


@contextlib.contextmanager
def slow_poll(service: Service, user: str, since: str) -> Iterator[socket.socket]:
    """Send a poll, and leave it to the caller to read the answer; little of it fits into the buffers."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(DEADLINE)
        sock.connect(("127.0.0.1", service.port))
        request = f"GET /v1/stream?since={since} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token(user)}"
        sock.sendall(request.encode() + b"\r\n\r\n")
        yield sock


def test_without_since(service: Service, user: str) -> None:
    """A poll without a cursor immediately returns a cursor, and no notifications."""
    service.publish({"to": {"users": [user]}, "data": "old"})
    welcome, ping = frames(poll(service, user, topic="a", wait=1000))
    assert (welcome["type"], welcome["user"], welcome["topics"], welcome["lost"]) == ("welcome", user, ["a"], [])
    assert ping["type"] == "ping" and ping.keys() <= {"type", "cursor"}


def test_what_was_missed(service: Service, user: str) -> None:
    """A poll with a cursor returns missed notifications at once, in order across channels."""
    cursor = highest(poll(service, user))
    for number in range(100):
        to = {"topics": [f"t-{user}"]} if number % 3 else {"users": [user]}
        assert service.publish({"to": to, "data": number}).status == 201
    answer = poll(service, user, since=cursor, topic=f"t-{user}", wait=1000)
    assert sorted(data(answer)) == list(range(100))  # two channels may have entries in the same millisecond
    replayed = [frame for frame in frames(answer) if frame["type"] == "notification"]
    assert all(frame["replay"] for frame in replayed)
    cursors = [tuple(map(int, frame["cursor"].split("-"))) for frame in replayed]
    assert cursors == sorted(cursors)
    assert frames(answer)[-1]["type"] == "ping"


def test_what_comes_next(alone: Service, user: str) -> None:
    """A poll that missed nothing waits for the next notification."""
    cursor = highest(poll(alone, user))
    with waiting(alone, user, since=cursor) as answers:
        assert alone.publish({"to": {"users": [user]}, "data": "next"}).status == 201
    assert data(answers[0]) == ["next"]
    assert "replay" not in frames(answers[0])[1]


def test_nothing_comes(alone: Service, user: str) -> None:
    """A poll without a notification ends with a ping and its cursor."""
    cursor = highest(poll(alone, user))
    for wait in (0, 0.5, 1000):  # the last wait is limited to the heartbeat
        welcome, ping = frames(poll(alone, user, since=cursor, wait=wait))
        assert (welcome["type"], ping["type"]) == ("welcome", "ping")
        assert tuple(map(int, ping["cursor"].split("-"))) >= tuple(map(int, cursor.split("-")))


def test_nothing_is_missed_between_polls(alone: Service, user: str) -> None:
    """Consecutive polls during publishing return everything in order."""
    topic, count = f"t-{user}", 300
    cursor = highest(poll(alone, user, topic=topic))
    publisher = threading.Thread(target=publish_numbers, args=(alone, topic, count))
    publisher.start()
    seen: list[int] = []
    while len(seen) < count:
        answer = poll(alone, user, topic=topic, since=cursor)
        cursor = highest(answer)
        seen += [number for number in data(answer) if number not in seen]
    publisher.join(DEADLINE)
    assert seen == list(range(count))


def publish_numbers(service: Service, topic: str, count: int) -> None:
    for number in range(count):
        assert service.publish({"to": {"topics": [topic]}, "data": number}).status == 201


def test_the_overlap_is_no_news(alone: Service, user: str) -> None:
    """A poll whose replay has only the overlap waits, because a client would poll in a loop otherwise."""
    names = (f"{user}-{number}" for number in itertools.count())

    def has_waited() -> bool:
        """Return whether a poll of a new user waited. If that took longer than it waits, it has ended with a ping."""
        name = next(names)
        assert alone.publish({"to": {"users": [name]}, "data": "seen"}).status == 201
        cursor = highest(poll(alone, name, since="1-0"))
        began = time.monotonic()
        with waiting(alone, name, since=cursor) as answers:
            assert alone.publish({"to": {"users": [name]}, "data": "new"}).status == 201
            took = time.monotonic() - began
        assert data(answers[0]) == ["seen", "new"] or (data(answers[0]) == ["seen"] and took > 1.5)
        return data(answers[0]) == ["seen", "new"]

    eventually(has_waited)


def test_lost(user: str) -> None:
    """A loss is answered at once, even without notifications."""
    options = {"workers": 1, "max_history": 1, "recent_bytes": 0, "replay_overlap": 0}
    with Service(**options) as service, service.client(user) as witness:
        cursor = highest(poll(service, user))
        ids = [service.publish({"to": {"users": [user]}, "data": number}).json["id"] for number in range(3)]
        assert service.recall(ids[2]).status == 204
        assert witness.receive("removed")["id"] == ids[2]  # the worker has received everything
        answer = poll(service, user, since=cursor)
        assert frames(answer)[0]["lost"] == [f"user:{user}"]


def test_topics_with_a_since_of_their_own(service: Service, user: str) -> None:
    """Each topic can have its own cursor."""
    first = [service.publish({"to": {"topics": [f"{name}-{user}"]}, "data": name}) for name in "abc"]
    second = [service.publish({"to": {"topics": [f"{name}-{user}"]}, "data": name.upper()}) for name in "abc"]
    a, b, c = (f"{name}-{user}" for name in "abc")
    late = second[1].json["channels"][0]["cursor"]
    early = first[0].json["channels"][0]["cursor"]
    answer = poll(service, user, ("topic", f"{a} {early}"), ("topic", f"{b} {late}"), ("topic", c))
    assert [item for item in data(answer) if item not in "bB"] == ["a", "A"]  # topic b may have the overlap
    oks = [frame["ref"] for frame in frames(answer) if frame["type"] == "ok"]
    assert oks == [a, b]


def test_refused_topics(service: Service, user: str) -> None:
    """A topic that the token does not grant is named; the others are served."""
    answer = poll(service, user, ("topic", "a"), ("topic", "b"), token=service.token(user, ["b"]))
    welcome, error, _ = frames(answer)
    assert welcome["topics"] == ["b"]
    assert (error["type"], error["problem"]["code"], error["problem"]["topic"]) == ("error", "forbidden", "a")


def test_many_topics(service: Service, user: str) -> None:
    """A hundred topics with unusual names are served, one more is rejected."""
    names = [f"ünï/{number}:日本&=+%?#" for number in range(100)]
    assert frames(poll(service, user, *(("topic", name) for name in names)))[0]["topics"] == names
    answer = poll(service, user, *(("topic", name) for name in [*names, "x"]))
    assert (answer.status, answer.json["code"]) == (422, "too_many_subscriptions")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("since=now", "since"),
        ("since=1", "since"),
        ("wait=soon", "wait"),
        ("wait=-1", "wait"),
        ("since=1-0&wait=1e9", "wait"),
        ("topic=a+b", "topic"),
    ],
)
def test_wrong(service: Service, user: str, query: str, name: str) -> None:
    """An invalid parameter is named."""
    headers = {"Authorization": f"Bearer {service.token(user, ['*'])}"}
    answer = service.request("GET", f"/v1/stream?{query}", headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert answer.json["detail"].startswith(f"{name}: ")


def test_expired(service: Service, user: str) -> None:
    """A token that expires during the wait ends the poll with a complete answer."""
    cursor = highest(poll(service, user))
    answer = poll(service, user, token=service.token(user, expires_in=10), since=cursor, wait=20)
    assert [frame["type"] for frame in frames(answer)] == ["welcome", "expiring", "close"]
    assert frames(answer)[-1]["code"] == 4001


def test_drain(user: str) -> None:
    """A restart ends the poll with a complete answer that contains the time to reconnect."""
    with Service(workers=1) as service:
        cursor = highest(poll(service, user))
        with waiting(service, user, since=cursor) as answers:
            os.kill(service.pid, signal.SIGHUP)
        *_, drain, close = frames(answers[0])
        assert (drain["type"], close["type"], close["code"]) == ("drain", "close", 1012)
        eventually(lambda: len(children(service.pid)) == 1)
        eventually(service.is_ready)  # until then the new worker may refuse streams
        assert service.publish({"to": {"users": [user]}, "data": 1}).status == 201
        assert data(poll(service, user, since=cursor)) == [1]


def test_large(user: str) -> None:
    """A slow reader gets a complete answer that is larger than all buffers."""
    options = {"workers": 1, "max_notification_bytes": 200_000, "send_buffer_bytes": 4096}
    with Service(**options) as service, service.client(user) as witness:
        cursor = highest(poll(service, user))
        notifications = [{"to": {"users": [user]}, "data": [number, "x" * 150_000]} for number in range(20)]
        assert {line["status"] for line in service.publish(notifications).json} == {201}
        for _ in notifications:
            witness.receive("notification")  # the worker has received it
        replayed = service.metric("notifier_replayed_total")
        with slow_poll(service, user, cursor) as sock:
            eventually(lambda: service.metric("notifier_replayed_total") > replayed)
            answer = b"".join(iter(lambda: sock.recv(4096), b""))
        listed = json.loads(answer.partition(b"\r\n\r\n")[2])["frames"]
        numbers = [frame["notification"]["data"][0] for frame in listed if frame["type"] == "notification"]
        assert numbers == list(range(20))


def test_a_worker_is_killed_in_the_middle(user: str) -> None:
    """A truncated answer is not JSON, and a poll with the same cursor returns everything."""
    with Service(workers=1, max_notification_bytes=65536) as service:
        cursor = highest(poll(service, user))
        notifications = [{"to": {"users": [user]}, "data": [number, "x" * 60_000]} for number in range(60)]
        assert {line["status"] for line in service.publish(notifications).json} == {201}
        with slow_poll(service, user, cursor) as sock:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            [worker] = children(service.pid)
            os.kill(worker, signal.SIGKILL)
            cut = b"".join(iter(lambda: sock.recv(65536), b""))
        assert not cut.rstrip().endswith(b"]}")
        eventually(service.is_ready)
        assert [number for number, _ in data(poll(service, user, since=cursor))] == list(range(60))


def test_redis_away(user: str) -> None:
    """While Redis is unavailable a poll ends with a close frame, and a later poll misses nothing."""
    with running_valkey() as valkey, Service(workers=1, redis_url=valkey.url, attach_timeout=1) as service:
        cursor = highest(poll(service, user))
        assert service.publish({"to": {"users": [user]}, "data": "kept"}).status == 201
        server = pid_of(valkey)
        os.kill(server, signal.SIGSTOP)
        try:
            # This worker does not subscribe to the topic yet.
            answer = poll(service, user, topic=f"t-{user}", since=cursor)
        finally:
            os.kill(server, signal.SIGCONT)
        assert [frame["type"] for frame in frames(answer)] == ["close"]
        assert frames(answer)[-1]["code"] == 4004
        eventually(lambda: data(poll(service, user, topic=f"t-{user}", since=cursor, wait=1)) == ["kept"])


def test_recall_and_collapse(alone: Service, user: str) -> None:
    """A poll returns a recall, and of several replacements the last."""
    cursor = highest(poll(alone, user))
    with alone.client(user) as witness:
        for number in range(3):
            assert alone.publish({"to": {"users": [user]}, "data": number, "collapse_key": "k"}).status == 201
        for _ in range(3):
            witness.receive("notification")  # the worker has received it
    answer = poll(alone, user, since=cursor)
    assert data(answer) == [2]
    [id] = [frame["notification"]["id"] for frame in frames(answer) if frame["type"] == "notification"]
    assert alone.recall(id).status == 204
    [removed] = [frame for frame in frames(poll(alone, user, since=highest(answer))) if frame["type"] == "removed"]
    assert (removed["id"], removed["channel"]) == (id, f"user:{user}")


def test_retained_for_nobody(alone: Service, user: str) -> None:
    """A waiting poll returns a notification with `retain: none`."""
    cursor = highest(poll(alone, user))
    with waiting(alone, user, since=cursor) as answers:
        assert alone.publish({"to": {"users": [user]}, "data": "now", "retain": "none"}).status == 201
    assert data(answers[0]) == ["now"]
