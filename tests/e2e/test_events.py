"""Server-Sent Events: the same frames as on a WebSocket, and resuming by Last-Event-ID."""

import ctypes
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.events import EventStream
from tests.kit.numbers import publish_numbers
from tests.kit.processes import children
from tests.kit.service import Service
from tests.kit.valkey import pid_of, running_valkey
from tests.kit.waiting import DEADLINE, eventually

SO_ATTACH_FILTER = 26  # on Linux; Python has no name for it


def stream(service: Service, user: str, topics: tuple[str, ...] = (), **options: Any) -> EventStream:
    """Return a stream that has received its welcome."""
    events = EventStream(service, service.token(user, ["*"]), topics, **options)
    assert events.response.status == 200, events.response.read()
    assert events.receive()["type"] == "welcome"
    return events


def publish(service: Service, user: str, data: object, **members: object) -> str:
    """Publish to a user and return the notification's id."""
    answer = service.publish({"to": {"users": [user]}, "data": data, **members})
    assert answer.status == 201, answer.text
    return str(answer.json["id"])


def numbered(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))


@pytest.fixture(scope="module")
def alone() -> Iterator[Service]:
    """A service with one worker, whose metrics count all connections, and a short heartbeat. It is patient."""
    with Service(workers=1, heartbeat=1, lag_timeout=10 * DEADLINE, max_history=20_000) as service:
        yield service


def test_head(service: Service, user: str) -> None:
    """The answer forbids caching and buffering, and sets the reconnection time."""
    with stream(service, user) as events:
        headers = events.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert 500 <= (events.parser.retry or 0) <= 3000


def test_live(service: Service, user: str) -> None:
    """Notifications arrive in order, each with its cursor as the event id."""
    with stream(service, user, (f"t-{user}",)) as events:
        assert numbered(events.last_id)  # the welcome's
        for number in range(50):
            to = {"topics": [f"t-{user}"]} if number % 2 else {"users": [user]}
            assert service.publish({"to": to, "data": number}).status == 201
        frames = [events.receive("notification") for _ in range(50)]
    for channel, odd in ((f"user:{user}", 0), (f"topic:t-{user}", 1)):
        numbers = [frame["notification"]["data"] for frame in frames if frame["channel"] == channel]
        assert numbers == list(range(odd, 50, 2))


def test_resume(service: Service, user: str) -> None:
    """A client that resumes with Last-Event-ID gets what it missed in cursor order, without a gap."""
    topic = f"t-{user}"
    with stream(service, user, (topic,)) as events:
        publish(service, user, 0)
        assert events.data(1) == [0]
        last = events.last_id
        publish_numbers(service, topic, 1, 300)
        publish(service, user, 301)
        events.data(301)  # otherwise its worker might deliver the rest live
    with stream(service, user, (topic,), last_event_id=last) as events:
        frames = [events.receive("notification") for _ in range(302)]
    # 0 is within the overlap. Entries of two channels in the same millisecond come in either order.
    assert sorted(frame["notification"]["data"] for frame in frames) == list(range(302))
    assert [numbered(frame["cursor"]) for frame in frames] == sorted(numbered(frame["cursor"]) for frame in frames)
    assert all(frame["replay"] for frame in frames)


def test_the_last_event_id_counts_more_than_since(service: Service, user: str) -> None:
    """Last-Event-ID takes precedence over `since`, which is as old as the page."""
    with stream(service, user) as events:
        first = events.last_id
    with stream(service, user, since=first) as events:
        publish(service, user, 0)
        events.data(1)
        later = events.last_id
    late = f"{numbered(later)[0] + 2001}-0"  # beyond the overlap
    with stream(service, user, since=first, last_event_id=late) as events:
        publish(service, user, 1)
        assert events.data(1) == [1]


def test_a_replay_that_is_cut(service: Service, user: str) -> None:
    """An interrupted replay continues from Last-Event-ID."""
    topic = f"t-{user}"
    with stream(service, user, (topic,)) as events:
        last = events.last_id
    publish_numbers(service, topic, 1, 500)
    seen: list[int] = []
    for count in (1, 99, 250, 500):
        with stream(service, user, (topic,), last_event_id=last) as events:
            while len(set(seen)) < count:
                seen += events.data(1)
            last = events.last_id
    assert list(dict.fromkeys(seen)) == list(range(1, 501))


def test_topics_with_a_since_of_their_own(service: Service, user: str) -> None:
    """A topic with a cursor is replayed from there and then confirmed; one without has only new notifications."""
    a, b = f"a-{user}", f"b-{user}"
    cursor = service.publish({"to": {"topics": [a]}, "data": "a1"}).json["channels"][0]["cursor"]
    for topic in (a, b):
        assert service.publish({"to": {"topics": [topic]}, "data": f"{topic[0]}2"}).status == 201
    with stream(service, user, (f"{a} {cursor}", b)) as events:
        assert events.data(2) == ["a1", "a2"]
        ok = events.receive()
        assert (ok["type"], ok["ref"], sorted(ok["topics"])) == ("ok", a, [a, b])
        assert service.publish({"to": {"topics": [b]}, "data": "b3"}).status == 201
        assert events.data(1) == ["b3"]


def test_joining_replay_and_live_under_load(alone: Service, user: str) -> None:
    """Streams that resume while much is published miss nothing and get each channel in order."""
    topic, count = f"t-{user}", 6_000
    with stream(alone, user, (topic,)) as events:
        last = events.last_id
    publisher = threading.Thread(
        target=lambda: [publish_numbers(alone, topic, n, n + 99) for n in range(1, count, 100)]
    )
    publisher.start()
    seen: list[int] = []
    while len(seen) < count:
        with stream(alone, user, (topic,), last_event_id=last) as events:
            first, end = events.data(1)[0], min(len(seen) + 1_000, count)
            assert first <= len(seen) + 1
            assert events.data(end - first) == list(range(first + 1, end + 1))
            seen += range(len(seen) + 1, end + 1)
            last = events.last_id
    publisher.join(DEADLINE)
    assert seen == list(range(1, count + 1))


def test_heartbeat(alone: Service, user: str) -> None:
    """A ping is a comment, and advances the last event id."""
    with stream(alone, user) as events:
        before = numbered(events.parser.last_event_id)
        eventually(lambda: events.read_comment() or numbered(events.parser.last_event_id) > before)
        assert set(events.parser.comments) == {" ping"}
        publish(alone, user, 1)
        assert events.data(1) == [1]


def test_resume_from_a_ping(alone: Service, user: str) -> None:
    """A client that resumes from the id of a ping misses nothing."""
    with stream(alone, user) as events:
        before = numbered(events.parser.last_event_id)
        eventually(lambda: events.read_comment() or numbered(events.parser.last_event_id) > before)
        last = events.parser.last_event_id
    publish(alone, user, "missed")
    with stream(alone, user, last_event_id=last) as events:
        assert events.data(1) == ["missed"]


def test_expiry(alone: Service, user: str) -> None:
    """The stream warns before its token expires, then ends with 4001."""
    with EventStream(alone, alone.token(user, expires_in=10)) as events:
        frames = list(events.frames())
    assert [frame["type"] for frame in frames] == ["welcome", "expiring", "close"]
    assert frames[-1]["code"] == 4001


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM])
def test_drain(user: str, sent: signal.Signals) -> None:
    """A restart sends page and browser the time to reconnect; a client that reconnects misses nothing."""
    with Service(workers=1, drain_timeout=3) as service, stream(service, user) as events:
        last = events.last_id
        publish(service, user, "before")
        assert events.data(1) == ["before"]
        [worker] = children(service.pid)
        os.kill(service.pid, sent)
        [drain, close] = [frame for frame in events.frames() if frame["type"] != "state"]
        assert [drain["type"], close["type"]] == ["drain", "close"]
        assert close["code"] == 1012
        assert events.parser.retry == drain["retry_after_ms"]
        if sent is signal.SIGTERM:
            service.stop()
            service.start()
        else:
            eventually(lambda: worker not in children(service.pid) and service.is_ready())
        publish(service, user, "after")
        with stream(service, user, last_event_id=last) as again:
            assert again.data(2) == ["before", "after"]


def test_a_reader_that_stops(alone: Service, user: str) -> None:
    """A client that stops reading is served from the log later: it misses nothing, and others do not wait."""
    topic = f"t-{user}"
    with (
        stream(alone, user, (topic,), receive_buffer=4096) as slow,
        stream(alone, user, (topic,)) as fast,
    ):
        for start in range(1, 10_001, 1_000):
            publish_numbers(alone, topic, start, start + 999)
            assert fast.data(1_000) == list(range(start, start + 1_000))
        # Several heartbeats pass: a slow reader is not disconnected.
        for _ in range(3):
            fast.read_comment()
        assert slow.data(10_000) == list(range(1, 10_001))
        publish_numbers(alone, topic, 10_001, 10_001)
        assert slow.data(1) == [10_001]


@pytest.mark.parametrize("way", ["close", "half-close", "reset"])
def test_a_client_that_goes(alone: Service, user: str, way: str) -> None:
    """A connection is forgotten, however the client closes it."""
    with stream(alone, user) as events:
        eventually(lambda: alone.metric("notifier_connections") == 1)
        match way:
            case "close":
                events.close()
            case "half-close":
                events.socket.shutdown(socket.SHUT_WR)
                assert list(events.frames()) == []
            case "reset":
                events.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                events.close()
        eventually(lambda: alone.metric("notifier_connections") == 0)


def test_a_client_that_vanishes(user: str) -> None:
    """A client whose machine no longer answers is detected."""
    with Service(workers=1, heartbeat=1, lag_timeout=1) as service, stream(service, user) as events:
        eventually(lambda: service.metric("notifier_connections") == 1)
        drop_all_that_comes(events.socket)
        eventually(lambda: service.metric("notifier_connections") == 0)


def drop_all_that_comes(sock: socket.socket) -> None:
    """Make the kernel drop each incoming segment before it is acknowledged, by a filter that returns 0."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def test_redis_away(user: str) -> None:
    """While Redis is unavailable, a new stream ends with 4004; an open one continues afterwards."""
    with (
        running_valkey() as valkey,
        Service(workers=1, redis_url=valkey.url, attach_timeout=1, broker_deadline=4) as service,
        stream(service, user) as before,
    ):
        server = pid_of(valkey)
        os.kill(server, signal.SIGSTOP)
        try:
            with EventStream(service, service.token(user, ["*"]), [f"t-{user}"]) as events:
                [close] = events.frames()
        finally:
            os.kill(server, signal.SIGCONT)
        assert (close["type"], close["code"]) == ("close", 4004)
        eventually(lambda: service.publish({"to": {"users": [user]}, "data": "back"}).status == 201)
        assert before.data(1) == ["back"]


def test_a_full_worker(user: str) -> None:
    """A full worker closes a new stream with a time to reconnect, and answers a poll with 503."""
    with Service(workers=1, max_connections=1) as service, stream(service, user) as first:
        with EventStream(service, service.token(user)) as events:
            [close] = events.frames()
            assert (close["type"], close["code"]) == ("close", 4004)
            assert events.parser.retry and events.parser.retry >= 5000
        headers = {"Authorization": f"Bearer {service.token(user)}"}
        answer = service.request("GET", "/v1/stream", headers=headers)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        first.close()
        eventually(lambda: service.metric("notifier_connections") == 0)
        with stream(service, user):
            pass


def test_recall_and_collapse(service: Service, user: str) -> None:
    """A recall arrives live and in a replay; only the last replacement is replayed."""
    with stream(service, user) as events:
        last = events.last_id
        wrong = publish(service, user, "wrong")
        for number in range(3):
            publish(service, user, number, collapse_key="k")
        assert service.recall(wrong).status == 204
        assert events.data(4) == ["wrong", 0, 1, 2]
        removed = events.receive("notification", "removed")
        assert (removed["type"], removed["id"]) == ("removed", wrong)
    with stream(service, user, last_event_id=last) as events:
        assert events.data(1) == [2]
        assert events.receive()["id"] == wrong


def test_retained_for_nobody(service: Service, user: str) -> None:
    """A notification with `retain: none` arrives live and in no replay."""
    with stream(service, user) as events:
        last = events.last_id
        publish(service, user, "now", retain="none")
        publish(service, user, "kept")
        assert events.data(2) == ["now", "kept"]
    with stream(service, user, last_event_id=last) as events:
        assert events.data(1) == ["kept"]


def test_line_breaks(service: Service, user: str) -> None:
    """Line breaks in a text, or between the tokens of the posted JSON, do not break an event."""
    text = "a\nb\rc\r\nd\u2028e\u2029f\u0085g\x0bh\x0ci\0"
    body = json.dumps({"to": {"users": [user]}, "title": text, "data": {text: [text, 1]}}, ensure_ascii=False, indent=2)
    with stream(service, user) as events:
        last = events.last_id
        for sent in (body, body.replace("\n", "\r\n"), body.replace("\n", "\r")):
            assert service.publish(sent).status == 201
        live = [events.receive("notification")["notification"] for _ in range(3)]
    with stream(service, user, last_event_id=last) as events:
        assert [events.receive("notification")["notification"] for _ in range(3)] == live
    assert all(note["title"] == text and note["data"] == {text: [text, 1]} for note in live)


def test_largest(service: Service, user: str) -> None:
    """Notifications of 64 KB arrive complete, live and in a replay."""
    body = json.dumps({"to": {"users": [user]}, "data": ""})
    text = "\u2028" * ((65536 - len(body)) // 3)
    with stream(service, user) as events:
        last = events.last_id
        for _ in range(5):
            assert (
                service.publish(json.dumps({"to": {"users": [user]}, "data": text}, ensure_ascii=False)).status == 201
            )
        assert events.data(5) == [text] * 5
    with stream(service, user, last_event_id=last) as events:
        assert events.data(5) == [text] * 5
