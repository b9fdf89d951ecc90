"""`/readyz` answers 503 while a worker has no subscription or Redis accepts no writes, and 200 afterwards."""

from collections.abc import Callable, Iterator

import pytest
import redis

from chaos.aside import Aside, running_aside
from tests.kit.outage import FAST, Valkey, url, valkey
from tests.kit.service import Service
from tests.kit.waiting import DEADLINE, eventually


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A Valkey for all tests of this module; each leaves it without a fault."""
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def service(server: Valkey) -> Iterator[Service]:
    """A service that takes no pause of a busy machine for a silence."""
    with Service(redis_url=server.url, **FAST | {"broker_deadline": DEADLINE}) as service:
        yield service


@pytest.fixture(scope="module")
def proxy(server: Valkey) -> Iterator[Aside]:
    """A proxy between `proxied` and the server."""
    with running_aside(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def proxied(proxy: Aside) -> Iterator[Service]:
    with Service(redis_url=url(proxy.port), **FAST) as service:
        yield service


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
def test_a_redis_that_refuses_writes(
    server: Valkey, service: Service, fault: Callable[[redis.Redis], None], user: str
) -> None:
    """While Redis rejects writes no worker is ready, but subscriptions and replays continue."""
    eventually(service.is_ready)
    before = lost_subscriptions(service)
    with redis.Redis(port=server.port) as control:
        note = {"to": {"users": [user]}, "title": "kept"}
        with service.client(user) as client:
            cursor = service.publish(note).json["channels"][0]["cursor"]
            fault(control)
            try:
                eventually(service.is_unready)
                assert service.publish(note | {"title": "refused"}).status == 503
                if fault is not demoted:  # a replica may miss what is published elsewhere: no client is served from it
                    with service.client(user, since=cursor) as late:
                        assert late.receive("notification")["notification"]["title"] == "kept"
            finally:
                heal(control)
            eventually(service.is_ready)
            assert service.publish(note | {"title": "after"}).status == 201
            titles = [client.receive("notification")["notification"]["title"] for _ in range(2)]
            assert titles == ["kept", "after"]
    if fault is not demoted:
        assert lost_subscriptions(service) == before


def lost_subscriptions(service: Service) -> tuple[float, float]:
    """Return how often a worker found that it heard nothing, and that its subscription was silent."""
    return service.metric("notifier_deaf_total"), service.metric("notifier_silences_total")


def test_too_few_replicas(server: Valkey) -> None:
    """With NOTIFIER_MIN_REPLICAS, no worker is ready while too few replicas are connected."""
    with valkey(replica_of=server.port) as replica, Service(redis_url=server.url, min_replicas=1, **FAST) as service:
        replica.end()
        eventually(service.is_unready)
        replica.start()
        eventually(service.is_ready)


def test_a_worker_that_cannot_hear(proxy: Aside, proxied: Service, user: str) -> None:
    """A worker that can publish, but receives nothing from Redis, is not ready."""
    eventually(proxied.is_ready)
    proxy.ask(lambda proxy: setattr(proxy, "deafens", True))
    try:
        proxy.silence()
        eventually(proxied.is_unready)
        assert proxied.publish({"to": {"users": [user]}, "title": "written"}).status == 201
    finally:
        proxy.ask(lambda proxy: proxy.heal())
    eventually(proxied.is_ready)


def test_a_subscriber_that_is_silently_dead(proxy: Aside, proxied: Service, user: str) -> None:
    """Workers detect a subscription that is open but silent, subscribe again, and lose nothing."""
    eventually(proxied.is_ready)
    silences = proxied.metric("notifier_silences_total")
    clients = [proxied.client(user) for _ in range(8)]
    try:
        proxy.silence()
        for number in range(20):
            assert proxied.publish({"to": {"users": [user]}, "data": number}).status == 201
        for client in clients:
            assert [client.receive("notification")["notification"]["data"] for _ in range(20)] == list(range(20))
        assert proxied.metric("notifier_silences_total") > silences
        eventually(proxied.is_ready)
    finally:
        for client in clients:
            client.close()
