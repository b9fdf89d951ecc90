"""The moment of an answer: notifications that are published after it follow the new mutes and memberships."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.service import API_KEY, Client, Service

ROUNDS = 30
ADDRESSES: dict[str, Callable[[str], dict[str, Any]]] = {
    "user": lambda user: {"users": [user]},
    "topic": lambda user: {"topics": [f"{user}-topic"]},
    "all": lambda user: {"all": True},
}


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with Service(workers=request.param) as service:
        yield service


def mute(service: Service, user: str, *types: str) -> None:
    """Mute types, and no others."""
    headers = {"Authorization": f"Bearer {service.token(user)}", "Content-Type": "application/json"}
    assert service.request("PUT", "/v1/inbox/mutes", {"types": list(types)}, headers).status == 200


def set_member(service: Service, method: str, topic: str, user: str) -> None:
    """Add or remove a member of a topic."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    assert service.request(method, f"/v1/topics/{topic}/members/{user}", headers=headers).status == 204


def publish(service: Service, to: dict[str, Any], title: str, type: str = "t") -> str:
    """Publish, and return the notification's id."""
    answer = service.publish({"to": to, "title": title, "type": type})
    assert answer.status == 201, answer
    return str(answer.json["id"])


def titles_until(client: Client, last: str) -> list[str]:
    """Return the titles of the notifications that arrive, up to and including one."""
    titles: list[str] = []
    while last not in titles:
        titles.append(client.receive("notification")["notification"]["title"])
    return titles


@pytest.mark.parametrize("kind", ADDRESSES)
def test_unmuted(service: Service, user: str, kind: str) -> None:
    """After a mute was lifted, every notification of that type is delivered to open connections."""
    to, type = ADDRESSES[kind](user), f"type-of-{user}"
    with service.client(user, [f"{user}-topic"]) as client:
        for number in range(ROUNDS):
            mute(service, user, type)
            mute(service, user)
            publish(service, to, f"{user} {number}", type)
            assert titles_until(client, f"{user} {number}")[-1] == f"{user} {number}"


@pytest.mark.parametrize("kind", ADDRESSES)
def test_muted(service: Service, user: str, kind: str) -> None:
    """After a type was muted, no notification of that type is delivered to open connections."""
    to, type = ADDRESSES[kind](user), f"type-of-{user}"
    with service.client(user, [f"{user}-topic"]) as client:
        for number in range(ROUNDS):
            mute(service, user, type)
            publish(service, to, f"{user} muted {number}", type)
            publish(service, {"users": [user]}, f"{user} {number}")
            own = [title for title in titles_until(client, f"{user} {number}") if title.startswith(user)]
            assert own == [f"{user} {number}"]
            mute(service, user)


def test_new_member(service: Service, user: str) -> None:
    """A new member receives nothing from before the membership, even from the same millisecond."""
    with service.client(user) as client:
        for number in range(ROUNDS):
            topic = f"{user}-{number}"
            publish(service, {"topics": [topic]}, "first")
            batch = service.publish([{"to": {"topics": [topic]}, "title": f"old {each}"} for each in range(40)])
            assert batch.status == 200
            set_member(service, "PUT", topic, user)
            publish(service, {"topics": [topic]}, f"new {number}")
            assert titles_until(client, f"new {number}") == [f"new {number}"]
    listed = service.request(
        "GET", "/v1/inbox?limit=100", headers={"Authorization": f"Bearer {service.token(user)}"}
    ).json
    titles = [item["notification"]["title"] for item in listed["items"] if item["channel"].startswith("topic:")]
    assert titles == [f"new {number}" for number in reversed(range(ROUNDS))]


def test_former_member(service: Service, user: str) -> None:
    """A former member receives nothing from after the membership."""
    topic = f"{user}-topic"
    with service.client(user) as client:
        for number in range(ROUNDS):
            set_member(service, "PUT", topic, user)
            publish(service, {"topics": [topic]}, f"member {number}")
            titles_until(client, f"member {number}")
            set_member(service, "DELETE", topic, user)
            publish(service, {"topics": [topic]}, f"former {number}")
            publish(service, {"users": [user]}, f"own {number}")
            assert titles_until(client, f"own {number}") == [f"own {number}"]
