"""Delivery across workers, to clients that reconnect, and to slow clients."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit import raw
from tests.kit.numbers import publish_numbers
from tests.kit.processes import children, is_alive
from tests.kit.raw import Peer
from tests.kit.service import Client, Service
from tests.kit.valkey import pid_of, running_valkey
from tests.kit.waiting import DEADLINE, eventually


@pytest.fixture(scope="module")
def deep() -> Iterator[Service]:
    """A service whose topics keep 20,000 notifications, and which is patient with clients that do not read."""
    with Service(workers=1, lag_timeout=10 * DEADLINE, max_history=20_000) as service:
        yield service


def read_numbers(client: Client, count: int) -> list[int]:
    return [client.receive("notification")["notification"]["data"] for _ in range(count)]


def slow_reader(service: Service, token: str, topic: str) -> Peer:
    """Return a subscriber with a small receive buffer that reads only on request."""
    peer = Peer(service.port, "/v1/stream", receive_buffer=4096)
    peer.send(raw.text(type="hello", token=token, topics=[topic]))
    assert read(peer, "welcome")
    return peer


def read(peer: Peer, *types: str) -> dict[str, Any]:
    """Return the next frame of these types; without types, the next notification."""
    while (frame := peer.read_json())["type"] not in (types or ("notification",)):
        pass
    return frame


def test_every_worker_hears_every_worker(service: Service, user: str) -> None:
    """Connections on both workers receive what either worker publishes."""
    with service.on_each_worker(user) as clients:
        for number in range(20):
            assert service.publish({"to": {"users": [user]}, "data": number}).status == 201
        for client in clients:
            assert read_numbers(client, 20) == list(range(20))


def test_resume(service: Service, user: str) -> None:
    """A client that resumes with its cursor gets what it missed on all its channels, in cursor order, once."""
    topic = f"topic-of-{user}"
    with service.client(user, [topic]) as client:
        assert service.publish({"to": {"users": [user]}, "data": 0}).status == 201
        cursor = client.receive("notification")["cursor"]
        for number in range(1, 300):
            to = {"topics": [topic]} if number % 3 else {"users": [user]}
            assert service.publish({"to": to, "data": number}).status == 201
        read_numbers(client, 299)  # otherwise its worker might deliver the rest live
    with service.client(user, [topic], since=cursor) as client:
        frames = [client.receive("notification") for _ in range(300)]
    # 0 is within the overlap. Entries of two channels in the same millisecond come in either order.
    assert sorted(frame["notification"]["data"] for frame in frames) == list(range(300))
    cursors = [tuple(map(int, frame["cursor"].split("-"))) for frame in frames]
    assert cursors == sorted(cursors)
    for channel in (f"user:{user}", f"topic:{topic}"):
        numbers = [frame["notification"]["data"] for frame in frames if frame["channel"] == channel]
        assert numbers == sorted(numbers)
    assert all(frame["replay"] for frame in frames)
    assert client.welcome["lost"] == []


def test_resume_beyond_the_history(user: str) -> None:
    """A client that was offline for longer than the history covers gets the rest, and the loss."""
    with Service(workers=1, max_history=100, replay_overlap=0, recent_bytes=0) as service:
        with service.client(user) as client:
            cursor = client.welcome["cursor"]
        for number in range(150):
            assert service.publish({"to": {"users": [user]}, "data": number}).status == 201
        with service.client(user, since=cursor) as client:
            assert client.welcome["lost"] == [f"user:{user}"]
            assert read_numbers(client, 100) == list(range(50, 150))


def test_resume_without_redis(user: str) -> None:
    """A client that was offline briefly is served from memory, including what the log has dropped."""
    with Service(workers=1, max_history=100) as service:
        with service.client(user) as client:
            cursor = client.welcome["cursor"]
            for number in range(150):
                assert service.publish({"to": {"users": [user]}, "data": number}).status == 201
            assert read_numbers(client, 150) == list(range(150))
        reads = service.metric("notifier_log_reads_total")
        with service.client(user, since=cursor) as client:
            assert client.welcome["lost"] == []
            assert read_numbers(client, 150) == list(range(150))
        assert service.metric("notifier_log_reads_total") == reads


def test_return_at_once(user: str) -> None:
    """Clients that resume at the same time from different cursors share reads of the log."""
    with running_valkey() as valkey, Service(workers=1, redis_url=valkey.url, recent_bytes=0) as service:
        all_of = {"to": {"all": True}, "title": "for everybody"}
        cursors = [service.publish(all_of).json["channels"][0]["cursor"] for _ in range(5)]
        clients = [service.connect() for _ in range(40)]
        server = pid_of(valkey)
        os.kill(server, signal.SIGSTOP)  # so that all clients wait
        try:
            for number, client in enumerate(clients):
                token = service.token(f"{user}-{number}")
                client.send("hello", token=token, since=cursors[number % len(cursors)])
            assert all(pong.wait(DEADLINE) for pong in [client.socket.ping() for client in clients])  # all were read
        finally:
            os.kill(server, signal.SIGCONT)
        for client in clients:
            with client:
                while client.receive("notification")["cursor"] != cursors[-1]:
                    pass
        assert service.metric("notifier_replayed_total") >= 40
        assert service.metric("notifier_log_reads_total") < 40 + 40, "each read for itself"


def test_subscribe_with_since(service: Service, user: str) -> None:
    """A subscription with a cursor is replayed before it is confirmed."""
    topic = f"topic-of-{user}"
    token = service.token(user, [topic])
    cursor = service.publish({"to": {"topics": [topic]}, "data": 0}).json["channels"][0]["cursor"]
    assert service.publish({"to": {"topics": [topic]}, "data": 1}).status == 201
    with service.client(user, token=token) as client:
        client.send("subscribe", ref="again", topic=topic, since=cursor)
        replayed = [client.receive("notification") for _ in range(2)]
        assert [frame["notification"]["data"] for frame in replayed] == [0, 1]
        answer = client.receive()
        assert (answer["type"], answer["ref"], answer["topics"]) == ("ok", "again", [topic])
        assert service.publish({"to": {"topics": [topic]}, "data": 2}).status == 201
        live = client.receive()
        assert live["notification"]["data"] == 2 and "replay" not in live
        assert client.ask("unsubscribe", topic=topic)["topics"] == []


def test_subscribe_with_another_since(user: str) -> None:
    """Subscribing to a topic a second time, with a later cursor, loses nothing."""
    topic = f"topic-of-{user}"
    with Service(workers=1, replay_overlap=0) as service, service.connect() as client:
        answers = [service.publish({"to": {"topics": [topic]}, "data": number}) for number in range(6)]
        cursors = [answer.json["channels"][0]["cursor"] for answer in answers]
        client.send("hello", token=service.token(user, [topic]), topics=[topic], since=cursors[0])
        client.send("subscribe", ref="again", topic=topic, since=cursors[4])
        assert read_numbers(client, 5) == [1, 2, 3, 4, 5]
        assert client.receive("ok")["ref"] == "again"


def test_join_before_the_welcome(user: str) -> None:
    """A subscription without a cursor, made while the welcome waits for Redis, starts with the next publication."""
    topic = f"topic-of-{user}"
    with running_valkey() as valkey, Service(workers=1, redis_url=valkey.url) as service, service.client(user):
        assert service.publish({"to": {"topics": [topic]}, "data": "before"}).status == 201
        server = pid_of(valkey)
        with service.connect() as client:
            os.kill(server, signal.SIGSTOP)
            try:
                client.send("hello", token=service.token(user, [topic]))
                client.send("subscribe", ref="1", topic=topic)
                assert client.socket.ping().wait(DEADLINE)  # both frames have been read
            finally:
                os.kill(server, signal.SIGCONT)
            frames = [client.receive("welcome", "notification", "lost", "ok") for _ in range(2)]
            assert [frame["type"] for frame in frames] == ["welcome", "ok"]
            assert frames[0]["lost"] == []


def test_retained_for_nobody(service: Service, user: str) -> None:
    """A notification with `retain: none` reaches connected clients, and no replay."""
    with service.client(user) as client:
        cursor = client.welcome["cursor"]
        assert service.publish({"to": {"users": [user]}, "title": "now", "retain": "none"}).status == 201
        assert client.receive("notification")["notification"]["title"] == "now"
    assert service.publish({"to": {"users": [user]}, "title": "later"}).status == 201
    with service.client(user, since=cursor) as client:
        assert client.receive("notification")["notification"]["title"] == "later"


def test_collapse(service: Service, user: str) -> None:
    """A client that reconnects gets only the last notification of a collapse key."""
    cursor = None
    for percent in (10, 50, 100):
        note = {"to": {"users": [user]}, "data": percent, "collapse_key": "upload"}
        cursor = cursor or service.publish(note | {"collapse_key": "other"}).json["channels"][0]["cursor"]
        assert service.publish(note).status == 201
    with service.client(user, since=cursor) as client:
        assert read_numbers(client, 2) == [10, 100]
        assert client.welcome["lost"] == []


def test_recall(service: Service, user: str) -> None:
    """A recall is sent to connected clients; clients that reconnect do not get the notification."""
    with service.client(user) as client:
        id = service.publish({"to": {"users": [user]}, "title": "wrong"}).json["id"]
        cursor = client.receive("notification")["cursor"]
        assert service.request("DELETE", f"/v1/notifications/{id}").status == 401
        assert service.recall(id).status == 204
        removed = client.receive("removed")
        assert (removed["id"], removed["channel"]) == (id, f"user:{user}")
    with service.client(user, since=cursor) as client:
        assert client.receive()["type"] == "removed"


def test_a_client_that_stops_reading(deep: Service) -> None:
    """A client that stops reading during 10,000 publications gets all of them later, in order; others do not wait."""
    topic, token = "deep", deep.token("slow", ["deep"])
    with slow_reader(deep, token, topic) as slow, deep.client("fast", [topic]) as fast:
        for start in range(1, 10_001, 1_000):
            publish_numbers(deep, topic, start, start + 999)
            assert read_numbers(fast, 1_000) == list(range(start, start + 1_000))
        assert [read(slow)["notification"]["data"] for _ in range(10_000)] == list(range(1, 10_001))
        publish_numbers(deep, topic, 10_001, 10_001)
        assert read(slow)["notification"]["data"] == 10_001


def test_a_client_that_stops_reading_for_too_long_loses_by_name(service: Service, user: str) -> None:
    """A client that stops reading for longer than the history covers gets the history, and the loss."""
    topic = f"topic-of-{user}"
    token, other = service.token(user, [topic]), f"{user}-2"
    with service.on_each_worker(other) as others, slow_reader(service, token, topic) as slow:
        publish_numbers(service, topic, 1, 10_000)
        assert service.publish({"to": {"users": [other]}, "data": "end"}).status == 201
        assert [read_numbers(client, 1) for client in others] == [["end"]] * 2  # the workers have received everything
        numbers, lost = [], []
        while not numbers or numbers[-1] < 10_000:
            frame = read(slow, "notification", "lost")
            if frame["type"] == "lost":
                lost.append(frame["channels"])
                gap = len(numbers)
            else:
                numbers.append(frame["notification"]["data"])
        assert lost == [[f"topic:{topic}"]]
        assert numbers[:gap] == list(range(1, gap + 1))  # sent before the gap
        assert numbers[gap:] == list(range(9_001, 10_001))  # the history


def test_the_data_survive_the_service(user: str) -> None:
    """After the service was killed and restarted, a client resumes and has missed nothing."""
    with Service(workers=2) as service:
        with service.client(user) as client:
            cursor = client.welcome["cursor"]
        assert service.publish({"to": {"users": [user]}, "title": "kept"}).status == 201
        master = service.pid
        workers = children(master)
        os.kill(master, signal.SIGKILL)
        eventually(lambda: not any(is_alive(pid) for pid in workers))
        service.stop()
        service.start()
        with service.client(user, since=cursor) as client:
            assert client.receive("notification")["notification"]["title"] == "kept"
            assert client.welcome["lost"] == []
