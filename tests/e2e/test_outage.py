"""Redis is down, hangs or has too few replicas, workers end: publishers get errors, and clients lose nothing."""

import contextlib
import http.client
import os
import shutil
import signal
import time
from collections.abc import Iterator

import pytest
import redis

from chaos.aside import running_aside
from notifier.protocol.clock import Clock
from notifier.settings import BrokerSettings
from tests.kit.broker import append, broker_of, sharded
from tests.kit.outage import FAST, Valkey, is_ready, url, valkey
from tests.kit.processes import children
from tests.kit.service import API_KEY, JSON, Service
from tests.kit.waiting import DEADLINE, eventually, next_millisecond


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A Valkey that tests stop and kill; each leaves it running."""
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def _with_server(server: Valkey) -> Iterator[Service]:
    with Service(redis_url=server.url, **FAST) as service:
        yield service


@pytest.fixture(scope="module")
def _embedded() -> Iterator[Service]:
    with Service(**FAST) as service:
        yield service


@pytest.fixture
def service(_with_server: Service) -> Service:
    """A service that uses `server`, and has recovered from the test before."""
    eventually(_with_server.is_ready)
    return _with_server


@pytest.fixture
def embedded(_embedded: Service) -> Service:
    """A service with an embedded Valkey, which has recovered from the test before."""
    eventually(_embedded.is_ready)
    return _embedded


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_outage(server: Valkey, service: Service, fault: signal.Signals, user: str) -> None:
    """While Redis hangs or is down, publishing and readiness answer 503; afterwards nothing is lost."""
    note = {"to": {"users": [user]}, "title": "kept"}
    with service.client(user) as client:
        assert service.publish(note).status == 201
        assert client.receive("notification")["notification"]["title"] == "kept"
        server.signal(fault)
        refused = service.publish(note | {"title": "refused"})
        assert (refused.status, refused.json["code"]) == (503, "broker_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        eventually(lambda: not is_ready(service))
        if fault == signal.SIGKILL:
            server.start()
        else:
            server.signal(signal.SIGCONT)
        eventually(lambda: service.publish(note | {"title": "after"}).status == 201)
        titles = [client.receive("notification")["notification"]["title"]]
        # The rejected publication may have been written: a server that hung processes what it has received.
        if titles == ["refused"]:
            titles = [client.receive("notification")["notification"]["title"]]
        assert titles == ["after"]
        eventually(lambda: is_ready(service))


def test_a_subscription_that_was_cut(server: Valkey, service: Service, user: str) -> None:
    """A worker whose subscription Redis closed subscribes again, and delivers what it missed."""
    with service.client(user) as client:
        with redis.Redis(port=server.port) as control:
            for number in range(20):
                control.client_kill_filter(_type="pubsub")
                note, once = {"to": {"users": [user]}, "data": number}, {"Idempotency-Key": f"{user}-{number}"}
                # A worker may learn only now that the test before has killed the server of its other connections.
                eventually(lambda note=note, once=once: service.publish(note, once).status == 201)
        assert [client.receive("notification")["notification"]["data"] for _ in range(20)] == list(range(20))


def test_a_lost_script(server: Valkey, service: Service, user: str) -> None:
    """A publication loads the scripts again that Redis has lost."""
    with redis.Redis(port=server.port) as control:
        control.script_flush()
    assert service.publish({"to": {"users": [user]}, "title": "again"}).status == 201


def test_replicas(user: str) -> None:
    """With NOTIFIER_MIN_REPLICAS, a publication on too few replicas is not acknowledged."""
    with valkey() as server, valkey(replica_of=server.port) as replica:
        note = {"to": {"users": [user]}, "title": "safe"}
        with Service(redis_url=server.url, min_replicas=1, **FAST) as service:
            assert service.publish(note).status == 201
            replica.end()
            refused = service.publish(note)
            assert (refused.status, refused.json["code"]) == (503, "broker_unavailable")
            replica.start()
            eventually(lambda: service.publish(note).status == 201)


def test_a_worker_that_dies(embedded: Service, user: str) -> None:
    """Clients of a killed worker resume on another one and have missed nothing."""
    with embedded.client(user) as client:
        cursor = client.welcome["cursor"]
        for pid in children(embedded.pid):
            os.kill(pid, signal.SIGKILL)
        assert client.close_code() is None
    eventually(lambda: embedded.publish({"to": {"users": [user]}, "title": "meanwhile"}).status == 201)
    eventually(embedded.is_ready)  # until then a new worker may refuse streams
    with embedded.client(user, since=cursor) as client:
        assert client.receive("notification")["notification"]["title"] == "meanwhile"


def test_reload(embedded: Service, user: str) -> None:
    """A reload sends every connection the time to reconnect, and loses nothing."""
    clients = [embedded.client(user) for _ in range(20)]
    cursor, workers = clients[0].welcome["cursor"], children(embedded.pid)
    os.kill(embedded.pid, signal.SIGHUP)
    drains = [client.receive("drain")["retry_after_ms"] for client in clients]
    assert len(set(drains)) > 1, "all would come back at once"
    assert [client.close_code() for client in clients] == [1012] * len(clients)
    eventually(lambda: not set(workers) & set(children(embedded.pid)))
    eventually(lambda: embedded.publish({"to": {"users": [user]}, "title": "reloaded"}).status == 201)
    eventually(embedded.is_ready)  # until then a new worker may refuse streams
    with embedded.client(user, since=cursor) as client:
        assert client.receive("notification")["notification"]["title"] == "reloaded"
        assert client.welcome["lost"] == []


def test_a_log_that_lost_its_end(user: str) -> None:
    """A loss in a failover is reported to clients that reconnect; a new database is reported to all."""
    with valkey() as server, Service(redis_url=server.url, replay_overlap=0, **FAST) as service:
        channel, key = f"user:{user}", f"n:{{user:{user}}}"
        with service.client(user) as client, redis.Redis(port=server.port) as control:
            first = service.publish({"to": {"users": [user]}, "title": "kept"}).json["channels"][0]["cursor"]
            meta = control.hget(f"{key}:meta", "logged")
            last = service.publish({"to": {"users": [user]}, "title": "lost"}).json["channels"][0]["cursor"]
            assert [client.receive("notification")["cursor"] for _ in range(2)] == [first, last]
            control.xdel(f"{key}:log", last)
            control.hset(f"{key}:meta", "logged", meta)
            control.client_kill_filter(_type="pubsub")
            eventually(lambda: control.hget(f"{key}:meta", "floor") == last.encode())
            after = service.publish({"to": {"users": [user]}, "title": "after"}).json["channels"][0]["cursor"]
            assert client.receive("notification")["cursor"] == after
        with service.client(user, since=first) as client:
            assert client.welcome["lost"] == [channel]
            assert client.receive("notification")["cursor"] == after
        with service.client(user) as client, redis.Redis(port=server.port) as control:
            control.flushall()
            control.client_kill_filter(_type="pubsub")
            assert client.receive("lost")["channels"] == [channel, "all"]


def test_a_log_that_lost_its_end_and_goes_on(user: str) -> None:
    """The loss is reported if others publish before the worker that received the lost entry subscribes again."""
    with valkey() as server, running_aside(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with Service(redis_url=url, replay_overlap=0, **FAST | {"workers": 1}) as service:
            key, note = f"n:{{user:{user}}}", {"to": {"users": [user]}, "title": "x"}
            with service.client(user) as client, redis.Redis(port=server.port) as control:
                first = service.publish(note).json["channels"][0]["cursor"]
                meta = control.hget(f"{key}:meta", "logged")
                last = service.publish(note).json["channels"][0]["cursor"]
                assert [client.receive("notification")["cursor"] for _ in range(2)] == [first, last]
                control.xdel(f"{key}:log", last)
                control.hset(f"{key}:meta", "logged", meta)
                proxy.silence()
                after = service.publish(note).json["channels"][0]["cursor"]
                assert client.receive("notification")["cursor"] == after
            with service.client(user, since=first) as client:
                assert client.welcome["lost"] == [f"user:{user}"]
                assert client.receive("notification")["cursor"] == after
            assert service.metric("notifier_regressions_total") == 1


def test_a_loss_that_another_worker_finds(user: str) -> None:
    """Clients of a worker that has not received the lost entry are notified at once, and when they resume."""
    channel = f"user:{user}"
    with valkey() as server, Service(redis_url=server.url, replay_overlap=0, **FAST) as service:
        other = broker_of(BrokerSettings(redis_url=server.url, redis_timeout=DEADLINE), Clock())
        with contextlib.closing(other.store), redis.Redis(port=server.port) as control:
            kept = append(other.log, channel)
            keys = [f"{sharded(channel)}:{what}" for what in ("log", "meta")]
            before = {key: control.dump(key) for key in keys}
            append(other.log, channel)
            for key, value in before.items():
                control.restore(key, 0, value or b"", replace=True)
            next_millisecond()  # otherwise the next entry gets the same id
            note = {"to": {"users": [user]}, "title": "after"}
            with service.client(user, since=str(kept)) as client, service.client(user) as away:
                assert client.welcome["lost"] == []
                service.publish(note)
                after = away.receive("notification")["cursor"]
                away.close()
                assert other.log.note_lost_ends() == 1
                assert client.receive("lost")["channels"] == [channel]
            with service.client(user, since=after) as client:
                assert client.welcome["lost"] == [channel]
            with service.client(user, since=service.publish(note).json["channels"][0]["cursor"]) as client:
                assert client.welcome["lost"] == []


def test_a_clock_that_stepped_back(user: str) -> None:
    """A worker that starts after the clock of Redis was set back continues from the latest known time."""
    with valkey() as server, redis.Redis(port=server.port) as control:
        hour_ahead = 1000 * int(time.time()) + 3_600_000
        control.set("n:{nodes}:beat", hour_ahead)
        with Service(redis_url=server.url, **FAST) as service, service.client(user, since=f"{hour_ahead}-0") as client:
            assert client.welcome["lost"] == []
            answer = service.publish({"to": {"users": [user]}, "title": "later"})
            frame = client.receive("notification")
            assert frame["cursor"] == answer.json["channels"][0]["cursor"] >= f"{hour_ahead}-0"


def test_the_embedded_valkey_is_watched(embedded: Service, user: str) -> None:
    """A killed embedded Valkey is restarted automatically, with all its data."""
    with redis.Redis(unix_socket_path=str(embedded.directory / "valkey.sock")) as control:
        with embedded.client(user) as client:
            cursor = client.welcome["cursor"]
            assert embedded.publish({"to": {"users": [user]}, "title": "kept"}).status == 201
            os.kill(control.info("server")["process_id"], signal.SIGKILL)
            eventually(lambda: embedded.publish({"to": {"users": [user]}, "title": "after"}).status == 201)
        eventually(lambda: is_ready(embedded))
        with embedded.client(user, since=cursor) as client:
            titles = [client.receive("notification")["notification"]["title"] for _ in range(2)]
            assert titles == ["kept", "after"]


def test_one_directory_one_service(embedded: Service) -> None:
    """A second service on the same data directory does not start, and does not affect the first."""
    second = Service(**FAST, data_dir=embedded.directory)
    with pytest.raises(AssertionError, match="Another service uses"):
        second.start()
    shutil.rmtree(second.directory)
    assert embedded.publish({"to": {"users": ["alice"]}, "title": "still there"}).status == 201


def test_export_that_is_cut_off(server: Valkey, service: Service, user: str) -> None:
    """An export that Redis cannot complete ends without its last chunk. A later one is complete."""
    lines = [{"to": {"users": [user]}, "title": "x", "body": "x" * 30_000}] * 400
    assert service.publish(lines).status == 200
    path, headers = f"/v1/users/{user}/export", {"Authorization": f"Bearer {API_KEY}"}
    with contextlib.closing(service.dial()) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Transfer-Encoding"]) == (200, "chunked")
        assert answer.read(1000).startswith(b'{"user":"')
        server.signal(signal.SIGKILL)
        with pytest.raises(http.client.IncompleteRead):
            while answer.read(1 << 20):
                pass
    assert "was cut off" in service.log
    server.start()

    def is_complete() -> bool:
        try:
            return service.request("GET", path, headers=headers).status == 200
        except http.client.IncompleteRead:  # on a busy machine, Redis may take too long once more
            return False

    eventually(is_complete)


def test_members_removed_while_subscriptions_are_refused(user: str) -> None:
    """Publications after a removal reach no former member, also from a worker that subscribes again later."""
    names, topic = [f"{user}-{number}" for number in range(200)], f"{user}:topic"
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": JSON}
    path = f"/v1/topics/{topic}/members"
    with (
        valkey() as server,
        running_aside(server.port) as proxy,
        Service(redis_url=url(proxy.port), **FAST) as service,
        contextlib.ExitStack() as stack,
    ):
        assert service.request("POST", path, {"add": names}, headers).json["added"] == 200
        clients = [stack.enter_context(service.client(name)) for name in names[:40]]
        assert service.publish({"to": {"topics": [topic]}, "title": "member"}).status == 201
        assert {client.receive("notification")["notification"]["title"] for client in clients} == {"member"}
        proxy.ask(lambda proxy: setattr(proxy, "deafens", True))
        proxy.silence()
        assert service.request("POST", path, {"remove": names}, headers).json["removed"] == 200
        assert service.publish({"to": {"topics": [topic]}, "title": "former"}).status == 201
        eventually(service.is_unready)
        assert service.publish({"to": {"topics": [topic]}, "title": "former"}).status == 201
        proxy.ask(lambda proxy: proxy.heal())
        eventually(service.is_ready)
        assert service.publish({"to": {"users": names[:40]}, "title": "own"}).status == 201
        assert {client.receive("notification")["notification"]["title"] for client in clients} == {"own"}
