"""Metrics and health, which are the same on all workers."""

import os
import signal

import redis

from tests.kit.outage import FAST, valkey
from tests.kit.processes import children
from tests.kit.service import Service
from tests.kit.waiting import eventually


def test_all_workers_are_counted() -> None:
    """Metrics sum all workers; the connections of a killed worker no longer count."""
    with Service(workers=2) as service:
        clients = [service.client("alice") for _ in range(20)]
        try:
            for _ in range(10):
                assert service.publish({"to": {"users": ["alice"]}, "title": "counted"}).status == 201
            for client in clients:
                client.receive("notification")
            eventually(lambda: service.metric("notifier_connections") == 20)
            eventually(lambda: service.metric("notifier_deliveries_total") == 200)
            assert service.metric("notifier_publications_total") == 10
            assert service.metric("notifier_heartbeat_age_seconds") < 20
            for pid in children(service.pid):
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: service.metric("notifier_connections") == 0)
            assert service.metric("notifier_publications_total") == 10
        finally:
            for client in clients:
                client.close()


def test_failed_publications(user: str) -> None:
    """Publications that Redis rejected are counted, with and without an idempotency key."""
    with valkey() as server, Service(redis_url=server.url, **FAST) as service:
        note = {"to": {"users": [user]}, "title": "refused"}
        with redis.Redis(port=server.port) as control:
            control.config_set("maxmemory", "100kb")
        assert [service.publish(note, headers).status for headers in ({}, {"Idempotency-Key": "a key"})] == [503, 503]
        assert service.metric("notifier_publish_failures_total") == 2
        server.signal(signal.SIGKILL)
        assert [service.publish(note, headers).status for headers in ({}, {"Idempotency-Key": "a key"})] == [503, 503]
        assert service.metric("notifier_publish_failures_total") == 4


def test_ready_and_alive(service: Service) -> None:
    """A running worker is healthy and ready."""
    assert service.request("GET", "/healthz").json == {"status": "ok"}
    assert service.request("GET", "/readyz").json == {"status": "ready"}
