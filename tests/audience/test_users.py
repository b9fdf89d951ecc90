"""Users on a real server: erasing and exporting them."""

import json
from uuid import uuid4

import msgspec
import redis

from tests.kit.worker import FUTURE, Make, Worker


def keys_of(client: redis.Redis, word: str) -> set[str]:
    """Return the keys whose name contains a word."""
    return {key.decode() for key in client.scan_iter(match="*", count=10_000) if word in key.decode()}


def test_erase(make: Make, client: redis.Redis) -> None:
    """After an erasure only the keys that remember it are left, and no other key names the user."""
    worker, name = make(), f"erased-{uuid4().hex}"
    worker.members.add("t", [name, "bob"])
    worker.inbox.set_mutes(name, ["a"], ["u"])
    shared = worker.publish(name, "bob", "all", collapse_key="k", ttl=600)
    own = [worker.publish(name, idempotency=f"{name}-{number}"[-40:], type="a") for number in range(3)]
    topic = worker.publish("#t")
    worker.recall(own[0])
    worker.publish(name, retain="history")
    worker.inbox.acknowledge({name: (FUTURE, None)})
    for action in ("seen", "read", "archive"):
        worker.act(name, action, own[1], shared, topic)
    worker.act(name, "unread", up_to=FUTURE)
    assert len([key for key in keys_of(client, name) if f"user:{name}" in key]) > 10
    worker.users.erase(name)
    left = {key for key in keys_of(client, name) if "idempotency" not in key}
    assert left == {worker.store.of(f"user:{name}", what) for what in ("cut", "erased")}
    assert 0 < client.pttl(left.pop()) <= 3_600_000
    assert worker.members.page("t", "", 9) == ["bob"]
    assert worker.log.find(shared) == ["user:bob", "all"]
    assert [worker.log.find(id) for id in own] == [None] * 3
    assert worker.counts("bob") == (2, 2)
    view = worker.inbox.view(name)
    assert (view.state.revision, view.state.topics, view.state.mutes) == (0, {}, {})
    worker.users.erase(name)  # a repetition does no harm


def test_begin_again(worker: Worker) -> None:
    """After an erasure the inbox has the items of `all`, unread."""
    worker.publish("all")
    worker.act("alice", "read", up_to=FUTURE)
    worker.users.erase("alice")
    assert worker.counts("alice") == (1, 1)
    worker.publish("alice")
    assert worker.counts("alice") == (2, 2)


def test_export(worker: Worker) -> None:
    """An export contains all items, also archived ones, the history, topics and mutes."""
    worker.members.add("t", ["alice"])
    ids = [worker.publish(to) for to in ("alice", "all", "#t") for _ in range(50)]
    worker.act("alice", "archive", *ids[::2])
    history = worker.publish("alice", retain="history")
    worker.inbox.set_mutes("alice", ["a:b"], ["u"])
    export = json.loads(msgspec.json.encode(worker.users.export("alice")))
    assert sorted(item["notification"]["id"] for item in export["inbox"]) == sorted(ids)
    assert {item["notification"]["id"] for item in export["inbox"] if item["archived"]} == set(ids[::2])
    assert [each["id"] for each in export["history"]] == [history]
    assert (export["user"], export["topics"]) == ("alice", ["t"])
    assert export["mutes"] == {"types": ["a:b"], "topics": ["u"]}
