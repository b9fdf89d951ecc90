"""The moment of an answer: notifications that are published after it follow the new mutes and memberships."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.events import EventStream
from tests.kit.service import API_KEY, Client, Service
from tests.kit.waiting import next_millisecond

ROUNDS, FEW_ROUNDS = 30, 5
Titles = Callable[[str], list[str]]  # reads until a title, and returns all titles
Way = Callable[[Service, str, str], contextlib.AbstractContextManager[Titles]]
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


def titles_until(client: Client | EventStream, last: str) -> list[str]:
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
            next_millisecond()
    listed = service.request(
        "GET", "/v1/inbox?limit=100", headers={"Authorization": f"Bearer {service.token(user)}"}
    ).json
    titles = [item["notification"]["title"] for item in listed["items"] if item["channel"].startswith("topic:")]
    assert titles == [f"new {number}" for number in reversed(range(ROUNDS))]


class News:
    """The titles that a client has not received yet: replays begin some seconds before the cursor."""

    def __init__(self) -> None:
        self._received = {"before"}

    def of(self, titles: list[str]) -> list[str]:
        """Return those of some titles that are new."""
        new = [title for title in titles if title not in self._received]
        self._received.update(new)
        return new


@contextlib.contextmanager
def reconnecting(service: Service, user: str, since: str) -> Iterator[Titles]:
    """Read what a client is sent that connects when it reads, with a cursor from before."""

    def titles(last: str) -> list[str]:
        with service.client(user, since=since) as client:
            assert client.welcome["lost"] == []
            return titles_until(client, last)

    yield titles


@contextlib.contextmanager
def by_sse(service: Service, user: str, since: str) -> Iterator[Titles]:
    """Read what an open event stream is sent."""
    with EventStream(service, service.token(user), since=since) as stream:
        assert stream.receive("welcome")["lost"] == []
        yield lambda last: titles_until(stream, last)


@contextlib.contextmanager
def by_polls(service: Service, user: str, since: str) -> Iterator[Titles]:
    """Read by a long poll that is begun when it reads."""

    def titles(last: str) -> list[str]:
        headers, found = {"Authorization": f"Bearer {service.token(user)}"}, list[str]()
        cursor = since
        while last not in found:
            frames = service.request("GET", f"/v1/stream?since={cursor}", headers=headers).json["frames"]
            assert [frame["lost"] for frame in frames if frame["type"] == "welcome"] == [[]]
            found += [frame["notification"]["title"] for frame in frames if frame["type"] == "notification"]
            cursor = max((frame["cursor"] for frame in frames if "cursor" in frame), key=rank)
        return found

    yield titles


def rank(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))


WAYS = (reconnecting, by_sse, by_polls)


def own_cursor(service: Service, user: str) -> str:
    """Publish to the user, and return the cursor of that."""
    return str(service.publish({"to": {"users": [user]}, "title": "before"}).json["channels"][0]["cursor"])


@pytest.mark.parametrize("way", WAYS)
def test_new_member_elsewhere(service: Service, user: str, way: Way) -> None:
    """Other ways out, replays and counts have nothing from before a membership either."""
    news, before = News(), unread(service, user)
    for number in range(FEW_ROUNDS):
        topic, new = f"{user}-{number}", f"{user} new {number}"
        with way(service, user, own_cursor(service, user)) as titles:
            assert service.publish([{"to": {"topics": [topic]}, "title": f"{user} old {each}"} for each in range(40)])
            set_member(service, "PUT", topic, user)
            publish(service, {"topics": [topic]}, new)
            assert [title for title in news.of(titles(new)) if title.startswith(user)] == [new]
    assert unread(service, user) - before == 2 * FEW_ROUNDS  # with those of `own_cursor`


def unread(service: Service, user: str) -> int:
    """Return the number of unread items of a user, with those that other tests sent to everyone."""
    headers = {"Authorization": f"Bearer {service.token(user)}"}
    return int(service.request("GET", "/v1/inbox/counts", headers=headers).json["counts"]["unread"])


@pytest.mark.parametrize("way", WAYS)
def test_unmuted_elsewhere(service: Service, user: str, way: Way) -> None:
    """Other ways out and replays have every notification of a type that was muted before, and nothing is lost."""
    type, news = f"type-of-{user}", News()
    for number in range(FEW_ROUNDS):
        expected = [f"{user} {kind} {number}" for kind in ("all", "user")]
        mute(service, user, type)
        with way(service, user, own_cursor(service, user)) as titles:
            mute(service, user)
            for kind, title in zip(("all", "user"), expected, strict=True):
                publish(service, ADDRESSES[kind](user), title, type)
            publish(service, {"users": [user]}, f"{user} end {number}")
            found = [title for title in news.of(titles(f"{user} end {number}")) if title.startswith(user)]
            assert sorted(found) == sorted([*expected, f"{user} end {number}"])


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
