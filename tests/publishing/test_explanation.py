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
