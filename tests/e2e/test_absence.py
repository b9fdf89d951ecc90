"""Replays respect collapse keys, TTLs, recalls and retention."""

import pytest

from tests.kit.service import Client, Service
from tests.kit.waiting import eventually


@pytest.fixture
def cursor(service: Service, user: str) -> str:
    """The cursor of a client that disconnects after one notification."""
    with service.client(user) as client:
        publish(service, user, "seen")
        return str(client.receive("notification")["cursor"])


def publish(service: Service, user: str, title: str, **members: object) -> str:
    """Publish a notification and return its id."""
    answer = service.publish({"to": {"users": [user]}, "title": title, **members})
    assert answer.status == 201, answer
    return str(answer.json["id"])


def come_back(service: Service, user: str, cursor: str) -> list[str]:
    """Return the replay of a client that reconnects, without the notification that it has seen."""
    with service.client(user, since=cursor) as client:
        assert client.welcome["lost"] == []
        return [sent for sent in read_replay(client) if sent != "seen"]


def read_replay(client: Client) -> list[str]:
    """Return the titles, and the ids of removals, up to the ping that ends a replay."""
    sent = []
    while (frame := client.receive("notification", "removed", "lost", "ping"))["type"] != "ping":
        assert frame["type"] != "lost", frame
        sent.append(frame["id"] if frame["type"] == "removed" else frame["notification"]["title"])
    return sent


def test_collapse(service: Service, user: str, cursor: str) -> None:
    """A replay has the last notification of a collapse key, and the others, in order."""
    for title in ("10 %", "50 %"):
        publish(service, user, title, collapse_key="upload")
    publish(service, user, "between")
    publish(service, user, "100 %", collapse_key="upload")
    assert come_back(service, user, cursor) == ["between", "100 %"]


def test_collapse_of_what_was_seen(service: Service, user: str) -> None:
    """A client that has seen a notification gets its replacement in the replay."""
    with service.client(user) as client:
        publish(service, user, "10 %", collapse_key="upload")
        cursor = str(client.receive("notification")["cursor"])
    publish(service, user, "100 %", collapse_key="upload")
    assert come_back(service, user, cursor) == ["100 %"]


def test_ttl(service: Service, user: str, cursor: str) -> None:
    """An expired notification is not replayed, and not reported as lost."""
    publish(service, user, "for a day", ttl=86_400)
    publish(service, user, "for an hour", ttl=3600, collapse_key="k")
    assert come_back(service, user, cursor) == ["for a day", "for an hour"]
    publish(service, user, "for a moment", ttl=1, collapse_key="k")
    eventually(lambda: come_back(service, user, cursor) == ["for a day"])


@pytest.mark.parametrize(
    ("retain", "kept"), [("inbox", ["then", "after"]), ("history", ["then", "after"]), ("none", ["after"])]
)
def test_retain(service: Service, user: str, cursor: str, retain: str, kept: list[str]) -> None:
    """A replay has only retained notifications; the others are not reported as lost."""
    publish(service, user, "then", retain=retain)
    publish(service, user, "after")
    assert come_back(service, user, cursor) == kept


def test_recall(service: Service, user: str, cursor: str) -> None:
    """A recalled notification is not replayed, but its removal is."""
    wrong = publish(service, user, "wrong")
    publish(service, user, "right")
    assert service.recall(wrong).status == 204
    assert come_back(service, user, cursor) == ["right", wrong]


def test_recall_of_what_was_seen(service: Service, user: str) -> None:
    """A client that has seen a notification gets its removal in the replay."""
    with service.client(user) as client:
        wrong = publish(service, user, "wrong")
        cursor = str(client.receive("notification")["cursor"])
    assert service.recall(wrong).status == 204
    assert come_back(service, user, cursor) == [wrong]


def test_a_ping_before_the_hello(user: str) -> None:
    """A ping before the hello has no cursor."""
    with Service(workers=1, heartbeat=1, hello_timeout=20) as service, service.connect() as client:
        publish(service, user, "missed")
        assert "cursor" not in client.receive("ping")
