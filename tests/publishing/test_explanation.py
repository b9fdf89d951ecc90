"""Explanations on a real server."""

import json

from notifier.protocol import notification
from notifier.protocol.notification import Limits
from tests.kit.worker import Worker


def test_explain(worker: Worker) -> None:
    """An explanation has the outcome for each recipient with its reason, and nothing is published."""
    worker.members.add("t", ["alice", "bob"])
    worker.inbox.set_mutes("alice", ["a"], [])
    worker.inbox.set_mutes("bob", [], ["t"])
    body = json.dumps({"to": {"users": ["alice", "bob"], "topics": ["t"], "all": True}, "type": "a"}).encode()
    found = {each["channel"]: each for each in worker.explanation.of(notification.parse(body, Limits()))}
    assert {name: each["reason"] for name, each in found.items()} == {
        "user:alice": "muted_type",
        "user:bob": "offline",
        "topic:t": "offline",
        "all": "offline",
    }
    assert [(each["counted"], each["stored"]) for each in found.values()].count((True, True)) == 3
    members = {each["user"]: each["reason"] for each in found["topic:t"]["members"]}
    assert (members, found["topic:t"]["member_count"]) == ({"alice": "muted_type", "bob": "muted_topic"}, 2)
    assert worker.counts("bob") == (0, 0)


def test_members_that_may_not_be_named(worker: Worker) -> None:
    """Members that the API key does not grant are counted, and not named."""
    worker.members.add("t", ["alice", "bob"])
    publication = notification.parse(b'{"to":{"topics":["t"]},"title":"x"}', Limits())
    [found] = worker.explanation.of(publication, lambda user: user == "bob")
    assert ([each["user"] for each in found["members"]], found["member_count"]) == (["bob"], 2)


def test_counted(worker: Worker) -> None:
    """The channels and the members that are named are counted before their inboxes are read."""
    for topic in ("t", "u"):
        worker.members.add(topic, ["alice", "bob"])
    publication = notification.parse(b'{"to":{"users":["carol"],"topics":["t","u"]},"title":"x"}', Limits())
    counted: list[int] = []
    worker.explanation.of(publication, count=counted.append)
    assert counted == [3, 2, 2]


def test_most_members(worker: Worker) -> None:
    """An explanation names at most a hundred members of a topic, and a thousand of all topics."""
    topics = [f"t{number}" for number in range(12)]
    for topic in topics:
        worker.members.add(topic, [f"user{number}" for number in range(101)])
    body = json.dumps({"to": {"topics": topics}, "title": "x"}).encode()
    found = worker.explanation.of(notification.parse(body, Limits()))
    assert [len(each["members"]) for each in found] == [100] * 10 + [0, 0]
    assert {each["member_count"] for each in found} == {101}
