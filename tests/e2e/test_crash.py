"""A worker that is killed during a publication: the retry completes it and publishes nothing twice."""

import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from chaos.aside import Aside, running_aside
from tests.kit.outage import FAST, Valkey, valkey
from tests.kit.processes import children
from tests.kit.service import Answer, Service
from tests.kit.waiting import eventually

USERS = [f"user-{number}" for number in range(1000)]
NOTE = {"to": {"users": USERS}, "title": "once", "data": "x" * 200}
KEY = {"Idempotency-Key": "the same"}
PART = 200_000  # bytes: enough for the claim and some of the entries, but by far not all


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def way(server: Valkey) -> Iterator[Aside]:
    """The proxy between the service and Valkey."""
    with running_aside(server.port) as way:
        yield way


@pytest.fixture
def service(way: Aside) -> Iterator[Service]:
    settings = FAST | {"idempotency_lease": 1, "redis_timeout": 20, "workers": 1}
    with Service(redis_url=f"redis://127.0.0.1:{way.port}/0", **settings) as service:
        yield service


def counts(control: redis.Redis) -> Counter[int]:
    """Return the number of users per number of entries in their log."""
    with control.pipeline(transaction=False) as pipeline:
        for user in USERS:
            pipeline.xlen(f"n:{{user:{user}}}:log")
        return Counter(pipeline.execute())


def crash(service: Service, way: Aside) -> None:
    """Publish, stop the connection to Valkey during the write, and kill the worker."""
    publisher = threading.Thread(target=try_to_publish, args=(service,))
    way.ask(lambda proxy: [link.die_after(PART) for link in proxy.links])
    publisher.start()
    eventually(lambda: way.ask(lambda proxy: any(link.is_dead for link in proxy.links)))
    [worker] = children(service.pid)
    os.kill(worker, signal.SIGKILL)
    publisher.join()


def try_to_publish(service: Service) -> Answer | None:
    """Return the answer, or None if the worker was killed."""
    with suppress(OSError, http.client.HTTPException):
        return service.publish(NOTE, KEY)
    return None


def retry(service: Service) -> Answer:
    """Retry until the lease of the first request has expired, as a publisher should."""
    answers: list[Answer | None] = []

    def is_created() -> bool:
        answers.append(answer := try_to_publish(service))
        assert answer is None or answer.status in (201, 409, 503), answer
        return answer is not None and answer.status == 201

    eventually(is_created)
    assert answers[-1]
    return answers[-1]


def test_a_worker_that_dies_in_the_middle(server: Valkey, way: Aside, service: Service) -> None:
    """After a crash during the write to 1,000 channels, a retry completes it and publishes nothing twice."""
    with redis.Redis(port=server.port) as control:
        with service.client(USERS[0]) as first, service.client(USERS[-1]) as last:
            cursors = [client.welcome["cursor"] for client in (first, last)]
            crash(service, way)
        eventually(lambda: counts(control)[1] > 100)  # Valkey may still read what has reached it
        before = counts(control)
        assert before.keys() == {0, 1}, before  # some users have the entry, some do not
        answer = retry(service)
        assert counts(control) == {1: len(USERS)}
        assert service.publish(NOTE, KEY).headers["Idempotency-Replayed"] == "true"
        assert service.publish(NOTE, KEY).json == answer.json
        assert counts(control) == {1: len(USERS)}
    for user, cursor, receipt in ((USERS[0], cursors[0], 0), (USERS[-1], cursors[1], -1)):
        with service.client(user, since=cursor) as client:
            frame: dict[str, Any] = client.receive("notification")
            assert frame["notification"]["id"] == answer.json["id"]
            assert frame["cursor"] == answer.json["channels"][receipt]["cursor"]
