"""Users on a real server: erasing and exporting them."""

import json
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import redis

from notifier.protocol.cursor import BEGINNING
from notifier.protocol.inbox_frames import Acknowledge
from tests.kit.worker import FUTURE, Make, Worker


def keys_of(client: redis.Redis, word: str) -> set[str]:
    """Return the keys whose name contains a word."""
    return {key.decode() for key in client.scan_iter(match="*", count=10_000) if word in key.decode()}


def read(export: dict[str, Any]) -> Any:
    """Return an export as a client reads it."""
    lists = {name: [each for few in export[name] for each in few] for name in ("inbox", "history")}
    return json.loads(msgspec.json.encode(export | lists))


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
    worker.inbox.acknowledge({name: Acknowledge(FUTURE, BEGINNING)})
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
    export = read(worker.users.export("alice"))
    assert sorted(item["notification"]["id"] for item in export["inbox"]) == sorted(ids)
    assert [item["archived"] for item in export["inbox"]] == [False] * 75 + [True] * 75
    assert {item["notification"]["id"] for item in export["inbox"] if item["archived"]} == set(ids[::2])
    assert [each["id"] for each in export["history"]] == [history]
    assert (export["user"], export["topics"]) == ("alice", ["t"])
    assert export["mutes"] == {"types": ["a:b"], "topics": ["u"]}


@pytest.mark.parametrize("retain", ["inbox", "history"])
def test_long_export(worker: Worker, monkeypatch: pytest.MonkeyPatch, retain: str) -> None:
    """However much is stored, an export has less than a megabyte in memory; its flags are those of its beginning."""
    ids = [worker.publish("alice", body="x" * 30_000, retain=retain) for _ in range(100)]
    export = worker.users.export("alice")
    worker.act("alice", "archive", *ids)
    sizes = []
    execute = worker.store.execute

    def measure(*arguments: Any, **options: Any) -> list[Any]:
        replies = execute(*arguments, **options)
        sizes.append(len(repr(replies)))
        return replies

    monkeypatch.setattr(worker.store, "execute", measure)
    found = read(export)
    assert max(sizes) < 1_000_000
    assert sum(sizes) > 3_000_000
    listed = found["history"] or [item["notification"] for item in found["inbox"]]
    assert sorted(each["id"] for each in listed) == sorted(ids)
    assert not any(item["archived"] for item in found["inbox"])


def test_items_that_leave(make: Make) -> None:
    """Items that leave their log while an export is read are left out; the export is complete otherwise."""
    worker = make(max_history=40)
    ids = [worker.publish("alice") for _ in range(40)]
    export = worker.users.export("alice")
    for _ in range(15):
        worker.publish("alice")
    assert [item["notification"]["id"] for item in read(export)["inbox"]] == ids[:14:-1]
