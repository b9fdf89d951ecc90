"""An embedded server that is killed before it has written what it acknowledged: clients learn what is lost."""

import os
import signal
from collections.abc import Iterator

import pytest
import redis

from notifier.server.embedded_valkey import EmbeddedValkey
from tests.kit.service import Service, eventually
from tests.kit.valkey import pid_of


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service(workers=1) as service:
        yield service


def test_acknowledged_and_lost(service: Service, user: str) -> None:
    """Notifications to offline users that the server acknowledged and then lost are reported as lost."""
    server = EmbeddedValkey(service.directory)
    topic = f"{user}:topic"
    with service.client(f"{user}-2") as client:  # the worker must not be subscribed to the channels that lose something
        since = client.welcome["cursor"]
    with redis.Redis(unix_socket_path=str(server.socket)) as control:
        # From here on the server writes nothing, as on a disk that does not answer.
        control.config_set("appendonly", "no")
        for recipient in ({"users": [user]}, {"topics": [topic]}):
            assert service.publish({"to": recipient, "title": "lost"}).status == 201
        killed = pid_of(server)
        os.kill(killed, signal.SIGKILL)
    eventually(lambda: is_another(server, killed) and service.is_ready())
    with service.client(user, [topic], since=since) as client:
        assert sorted(client.welcome["lost"]) == [f"topic:{topic}", f"user:{user}"]
    assert service.publish({"to": {"users": [user]}, "title": "next"}).status == 201


def is_another(server: EmbeddedValkey, killed: int) -> bool:
    """Return whether another server answers."""
    try:
        return pid_of(server) != killed
    except redis.RedisError:
        return False
