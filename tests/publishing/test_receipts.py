"""Receipts on a real server: deliveries, reads and archivings."""

import random
import time
from typing import Any

import pytest
import redis

from notifier.broker.log import Append
from notifier.errors import RateLimited
from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION
from notifier.protocol.frames import Ack
from notifier.protocol.inbox_frames import Acknowledge, read_ack
from tests.kit.broker import body_of, new_id
from tests.kit.waiting import DEADLINE, next_millisecond
from tests.kit.worker import FUTURE, Make, Worker


def receipts_of(worker: Worker, id: str) -> dict[str, dict[str, Any]]:
    channels = worker.log.find(id) or []
    return {each.pop("channel"): each for each in worker.receipts.of(id, channels)}


def test_user(worker: Worker) -> None:
    """A receipt has the times when an item was first delivered, read and archived, until it is marked otherwise."""
    id = worker.publish("alice")
    [receipt] = receipts_of(worker, id).values()
    assert [receipt[name] for name in ("delivered_at", "read_at", "archived_at")] == [None, None, None]
    worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, BEGINNING)})
    worker.act("alice", "archive", up_to=FUTURE)
    [receipt] = receipts_of(worker, id).values()
    assert receipt["stored_at"] <= receipt["delivered_at"] <= receipt["read_at"] <= receipt["archived_at"]
    worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, BEGINNING)})
    worker.act("alice", "archive", id)
    assert list(receipts_of(worker, id).values()) == [receipt]
    worker.act("alice", "unread", id)
    [after] = receipts_of(worker, id).values()
    assert after == receipt | {"read_at": None, "archived_at": None}


def test_shared(worker: Worker) -> None:
    """Receipts of shared channels count how many users have received, read and archived an item, each user once."""
    worker.members.add("t", ["alice", "bob", "carol"])
    id = worker.publish("#t", "all")
    for user, action in [("alice", "read"), ("bob", "archive"), ("carol", "seen")]:
        for _ in range(2):
            worker.inbox.acknowledge({user: Acknowledge(FUTURE, BEGINNING)})
            worker.act(user, action, id)
    assert receipts_of(worker, id)["all"] | {"stored_at": 0} == {
        "stored_at": 0,
        "delivered": 3,
        "read": 2,
        "archived": 1,
    }
    for user in ("alice", "bob", "carol"):
        worker.act(user, "read", up_to=FUTURE)
    assert receipts_of(worker, id)["all"]["read"] == 3
    worker.act("bob", "unread", id)
    receipt = receipts_of(worker, id)["all"]
    assert (receipt["read"], receipt["archived"]) == (2, 0)


def test_ack_since(worker: Worker) -> None:
    """An ack does not cover items from before its `since`."""
    first, second = worker.answer("alice"), worker.answer("alice")
    place = cursor.parse(first["channels"][0]["cursor"])
    worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, place)})
    receipts = [receipts_of(worker, each["id"])["user:alice"] for each in (first, second)]
    assert [receipt["delivered_at"] is None for receipt in receipts] == [True, False]


def test_ack_without_since(worker: Worker) -> None:
    """An ack without `since` covers its entry, and none before it that the client may not have received."""
    answers = []
    for _ in range(3):
        next_millisecond()  # entries of several channels may have the same cursor
        answers.append(worker.answer("alice", "all"))
    place = answers[1]["channels"][0]["cursor"]
    worker.inbox.acknowledge({"alice": read_ack(Ack(cursor=place))})
    receipts = [receipts_of(worker, each["id"])["user:alice"] for each in answers]
    assert [receipt["delivered_at"] is None for receipt in receipts] == [True, False, True]
    assert receipts_of(worker, answers[0]["id"])["all"]["delivered"] == 0


def test_acks_again(worker: Worker, client: redis.Redis) -> None:
    """Acks that are repeated, or go back, do not record again what is recorded."""
    places = [cursor.parse(worker.answer("alice")["channels"][0]["cursor"]) for _ in range(5)]
    next_millisecond()
    receipts = worker.store.of("user:alice", "receipts")

    def recorded(up_to: int, since: int | None) -> set[int]:
        client.delete(receipts)
        begin = places[up_to].previous if since is None else places[since]
        worker.inbox.acknowledge({"alice": Acknowledge(places[up_to], begin)})
        entries = {field.decode().removesuffix(":d") for field in client.hkeys(receipts)}
        return {number for number, place in enumerate(places) if str(place) in entries}

    for up_to, since, new in [
        (0, None, {0}),
        (2, 1, {2}),
        (2, 1, set()),
        (1, 1, set()),
        (2, 0, {1}),
        (3, 0, {3}),
        (3, 0, set()),
        (2, 1, set()),
        (4, None, {4}),
        (4, 0, set()),
    ]:
        assert recorded(up_to, since) == new, (up_to, since)


def test_acks_with_gaps(worker: Worker, client: redis.Redis) -> None:
    """Nothing is read twice, whatever lies between the acks: a client could repeat one that reads a whole inbox."""
    places = [cursor.parse(worker.answer("alice")["channels"][0]["cursor"]) for _ in range(7)]
    next_millisecond()
    receipts = worker.store.of("user:alice", "receipts")
    for up_to, since, new in [
        (6, 5, {6}),
        (2, 0, {1, 2}),
        (2, 0, set()),
        (4, 3, {4}),
        (2, 0, set()),
        (4, 3, set()),
        (6, 0, {3, 5}),
        (6, 0, set()),
    ]:
        client.delete(receipts)
        worker.inbox.acknowledge({"alice": Acknowledge(places[up_to], places[since])})
        entries = {field.decode().removesuffix(":d") for field in client.hkeys(receipts)}
        assert entries == {str(places[number]) for number in new}, (up_to, since)
    recorded = client.hget(worker.store.of("user:alice", "state"), "recorded")
    assert recorded and recorded.count(b"-") == 1


def test_acks_with_many_gaps(worker: Worker, client: redis.Redis) -> None:
    """A client that leaves gaps everywhere does not fill the memory of Redis."""
    places = [cursor.parse(worker.answer("alice")["channels"][0]["cursor"]) for _ in range(100)]
    next_millisecond()
    for place in places[::2]:
        worker.inbox.acknowledge({"alice": Acknowledge(place, place.previous)})
    key = worker.store.of("user:alice", "state")
    assert (client.hget(key, "recorded") or b"").count(b"-") == 32
    worker.inbox.acknowledge({"alice": Acknowledge(places[-1], BEGINNING)})
    assert (client.hget(key, "recorded") or b"").count(b"-") == 1
    assert client.hlen(worker.store.of("user:alice", "receipts")) == 100


@pytest.mark.parametrize("seed", range(5))
def test_acks_as_a_naive_model(worker: Worker, client: redis.Redis, seed: int) -> None:
    """Whichever ranges are acknowledged, in whichever order, exactly their items are delivered."""
    rng = random.Random(seed)
    places: list[Cursor] = []
    delivered: set[str] = set()
    for _ in range(40):
        places.append(cursor.parse(worker.answer("alice")["channels"][0]["cursor"]))
        up_to = rng.choice(places)
        since = rng.choice([BEGINNING, up_to.previous, *places])
        worker.inbox.acknowledge({"alice": Acknowledge(up_to, since)})
        delivered |= {f"{place}:d" for place in places if since < place <= up_to}
        fields = client.hkeys(worker.store.of("user:alice", "receipts"))
        assert {field.decode() for field in fields} == delivered


def test_ack_of_the_future(worker: Worker) -> None:
    """An ack of a cursor in the future covers what exists now, not later items."""
    worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, BEGINNING)})
    worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, BEGINNING)})
    deadline = time.monotonic() + DEADLINE
    delivered: object = True
    while delivered:  # the ack covers its whole millisecond
        assert time.monotonic() < deadline
        delivered = receipts_of(worker, worker.publish("alice"))["user:alice"]["delivered_at"]


def test_gone(make: Make) -> None:
    """An item that has left a channel has no receipt there."""
    worker = make(max_history=1)
    id = worker.publish("alice", "all")
    worker.act("alice", "read", id)
    worker.publish("alice")
    assert list(receipts_of(worker, id)) == ["all"]
    worker.recall(id)
    assert receipts_of(worker, id) == {}


class TestLongLogs:
    """Logs with much that was appended soon after the id of a notification was made."""

    def fill(self, worker: Worker, channel: str, number: int, id: str) -> str:
        """Append long notifications, and last the one with this id; return its entry."""
        bodies = [body_of(new_id())[:-1] + b',"data":"%b"}' % (b"x" * 60_000)] * number
        items = [Append(channel, NOTIFICATION, body) for body in [*bodies, body_of(id)]]
        [results] = worker.log.append([items], [])
        return str(results[-1].cursor)

    @pytest.mark.parametrize(("number", "steps"), [(0, 1), (1, 1), (15, 1), (24, 2), (60, 3)])
    def test_steps(self, worker: Worker, client: redis.Redis, number: int, steps: int) -> None:
        """A long log is searched a megabyte at a time, until the notification is found or has left the log."""
        id, counted = new_id(), list[int]()
        entry = self.fill(worker, "topic:long", number, id)
        [receipt] = worker.receipts.of(id, ["user:nobody", "topic:long"], counted.append)
        assert receipt["channel"] == "topic:long"
        assert counted == [2, *[1] * (steps - 1)]
        client.xdel(worker.store.of("topic:long", "log"), entry)
        again: list[int] = []
        assert worker.receipts.of(id, ["user:nobody", "topic:long"], again.append) == []
        assert again == counted

    def test_order(self, worker: Worker) -> None:
        """Receipts are in the order of the channels, however long their logs are; few logs are searched at once."""
        id, counted = new_id(), list[int]()
        names = [f"topic:{number}" for number in range(20)]
        for number, name in enumerate(names):
            self.fill(worker, name, 24 * (number % 10 == 0), id)
        assert [each["channel"] for each in worker.receipts.of(id, names, counted.append)] == names
        assert counted == [16, 6] and max(counted) <= 16

    def test_refused(self, worker: Worker) -> None:
        """Nothing is searched that would be too much."""

        def count(number: int) -> None:
            raise RateLimited

        with pytest.raises(RateLimited):
            worker.receipts.of(new_id(), ["all"], count)
