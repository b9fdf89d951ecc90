"""`/readyz` answers 503 while a worker has no subscription or Redis accepts no writes, and 200 afterwards."""

from collections.abc import Callable, Iterator

import pytest
import redis

from chaos.aside import running_aside
from tests.kit.outage import FAST, Valkey, is_ready, url, valkey
from tests.kit.service import Service
from tests.kit.waiting import eventually


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


def out_of_memory(control: redis.Redis) -> None:
    control.config_set("maxmemory", "100kb")


def without_replicas(control: redis.Redis) -> None:
    control.config_set("min-replicas-to-write", 1)


def demoted(control: redis.Redis) -> None:
    control.replicaof("127.0.0.1", 1)


def heal(control: redis.Redis) -> None:
    control.config_set("maxmemory", "0")
    control.config_set("min-replicas-to-write", 0)
    control.replicaof("NO", "ONE")


@pytest.mark.parametrize("fault", [out_of_memory, without_replicas, demoted])
def test_a_redis_that_refuses_writes(server: Valkey, fault: Callable[[redis.Redis], None], user: str) -> None:
    """While Redis rejects writes no worker is ready, but subscriptions and replays continue."""
    with Service(redis_url=server.url, **FAST) as service, redis.Redis(port=server.port) as control:
        note = {"to": {"users": [user]}, "title": "kept"}
        with service.client(user) as client:
            cursor = service.publish(note).json["channels"][0]["cursor"]
            fault(control)
            eventually(lambda: not any(is_ready(service) for _ in range(12)))
            assert service.publish(note | {"title": "refused"}).status == 503
            if fault is not demoted:  # a replica may miss what is published elsewhere, so no client is served from it
                with service.client(user, since=cursor) as late:
                    assert late.receive("notification")["notification"]["title"] == "kept"
            heal(control)
            eventually(lambda: all(is_ready(service) for _ in range(12)))
            assert service.publish(note | {"title": "after"}).status == 201
            titles = [client.receive("notification")["notification"]["title"] for _ in range(2)]
            assert titles == ["kept", "after"]
        if fault is not demoted:
            assert service.metric("notifier_deaf_total") == service.metric("notifier_silences_total") == 0


def test_too_few_replicas(server: Valkey) -> None:
    """With NOTIFIER_MIN_REPLICAS, no worker is ready while too few replicas are connected."""
    with valkey(replica_of=server.port) as replica, Service(redis_url=server.url, min_replicas=1, **FAST) as service:
        replica.end()
        eventually(lambda: not any(is_ready(service) for _ in range(12)))
        replica.start()
        eventually(lambda: all(is_ready(service) for _ in range(12)))


def test_a_worker_that_cannot_hear(server: Valkey, user: str) -> None:
    """A worker that can publish, but receives nothing from Redis, is not ready."""
    with running_aside(server.port) as proxy, Service(redis_url=url(proxy.port), **FAST) as service:
        proxy.ask(lambda proxy: setattr(proxy, "deafens", True))
        proxy.silence()
        eventually(lambda: not any(is_ready(service) for _ in range(12)))
        assert service.publish({"to": {"users": [user]}, "title": "written"}).status == 201
        proxy.ask(lambda proxy: proxy.heal())
        eventually(lambda: all(is_ready(service) for _ in range(12)))


def test_a_subscriber_that_is_silently_dead(server: Valkey, user: str) -> None:
    """Workers detect a subscription that is open but silent, subscribe again, and lose nothing."""
    with running_aside(server.port) as proxy, Service(redis_url=url(proxy.port), **FAST) as service:
        clients = [service.client(user) for _ in range(8)]
        try:
            proxy.silence()
            for number in range(20):
                assert service.publish({"to": {"users": [user]}, "data": number}).status == 201
            for client in clients:
                assert [client.receive("notification")["notification"]["data"] for _ in range(20)] == list(range(20))
            assert service.metric("notifier_silences_total") >= 1
            eventually(lambda: all(is_ready(service) for _ in range(12)))
        finally:
            for client in clients:
                client.close()
