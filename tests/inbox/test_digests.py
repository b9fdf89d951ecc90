"""Digests on a real server: what leaves a log, and what a failover loses, leaves inboxes too."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from uuid import uuid4

import pytest
import redis

from notifier.protocol import notification
from notifier.protocol.inbox_state import Counts
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.worker import FUTURE, Make, Worker


class TestLeaving:
    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_number(self, make: Make, to: str) -> None:
        """A log over its limit has the newest items; removed ones no longer count, read or not."""
        worker = make(max_history=5)
        worker.members.add("t", ["alice"])
        ids = [worker.publish(to) for _ in range(4)]
        worker.act("alice", "read", *ids[:2])
        ids += [worker.publish(to) for _ in range(4)]
        assert worker.ids("alice") == ids[:2:-1]
        assert worker.counts("alice") == (5, 5)
        assert worker.act("alice", "unread", *ids[:3]).unknown == ids[:3]
        ids += [worker.publish(to, retain="history") for _ in range(2)]
        assert worker.counts("alice") == (3, 3)

    def test_the_whole_log(self, worker: Worker, client: redis.Redis) -> None:
        """A log that has expired for lack of publications has no items."""
        worker.publish("all")
        worker.publish("#t")
        worker.members.add("t", ["alice"])
        worker.publish("#t")
        assert worker.counts("alice") == (2, 2)
        for channel, left in (("topic:t", 1), ("all", 0)):
            client.delete(worker.store.of(channel, "log"))
            assert worker.counts("alice") == (left, left) and len(worker.ids("alice")) == left

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_recall(self, make: Make, to: str) -> None:
        """Recalled items leave list and counts on every worker, read items too."""
        worker, other = make(), make()
        worker.members.add("t", ["alice"])
        first, second, third = (worker.publish(to) for _ in range(3))
        worker.act("alice", "read", first)
        assert other.counts("alice") == (2, 2)
        for id, counts in [(second, (1, 1)), (first, (1, 1)), (third, (0, 0))]:
            worker.recall(id)
            assert worker.counts("alice") == other.counts("alice") == counts
        assert worker.ids("alice") == other.ids("alice") == []

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_collapse(self, make: Make, to: str) -> None:
        """The last notification with a collapse key is the item: it is unread, and at the top."""
        worker, other = make(), make()
        worker.members.add("t", ["alice"])
        worker.publish(to, collapse_key="k")
        middle = worker.publish(to)
        worker.act("alice", "archive", up_to=FUTURE)
        assert other.counts("alice") == (0, 0)
        last = worker.publish(to, collapse_key="k")
        assert worker.counts("alice") == other.counts("alice") == (1, 1)
        assert (other.ids("alice"), other.ids("alice", status="archived")) == ([last], [middle])
        worker.publish(to, collapse_key="k", retain="history")
        assert worker.counts("alice") == other.counts("alice") == (0, 0)
        assert worker.ids("alice") == other.ids("alice") == []

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_a_replacement_that_is_recalled(self, make: Make, to: str) -> None:
        """A worker that reads later neither keeps an item that was replaced, nor misses one that came after it."""
        worker, other = make(), make()
        worker.members.add("t", ["alice"])
        oldest = worker.publish(to)
        worker.publish(to, collapse_key="k")
        assert other.counts("alice") == (2, 2)
        worker.recall(worker.publish(to, collapse_key="k"))
        assert other.counts("alice") == worker.counts("alice") == (1, 1)
        first, last = worker.publish(to, collapse_key="k"), worker.publish(to, collapse_key="k")
        worker.recall(first)  # which had been replaced
        assert other.ids("alice") == worker.ids("alice") == [last, oldest]
        assert other.counts("alice") == worker.counts("alice") == (2, 2)

    def test_expiry(self, make: Make) -> None:
        """Items leave when their `ttl` is over, and the view has the time of the next expiry."""
        steps = [self.expire(make(redis_prefix=f"t{uuid4().hex[:8]}"), to) for to in ("alice", "all", "#t")]
        for each in steps:
            next(each)
        for each in steps:  # they expire at the same time
            assert next(each, "done") == "done"

    def expire(self, worker: Worker, to: str) -> Iterator[None]:
        worker.members.add("t", ["alice"])
        kept = worker.publish(to)
        assert worker.inbox.view("alice").expires == 0
        short = worker.publish(to, ttl=5)  # it must still be there at the yield
        worker.publish(to, ttl=600)
        view = worker.inbox.view("alice")
        assert view.counts == (3, 3)
        expires = view.expires
        bodies = {notification.id_of(item.body): json.loads(item.body) for item in worker.items("alice")}
        said = datetime.fromisoformat(bodies[short]["expires_at"]).timestamp()
        assert abs(expires - 1000 * said) <= 1
        yield
        eventually(lambda: worker.inbox.view("alice").expires != expires)
        assert time.time() * 1000 >= expires - 1
        assert worker.counts("alice") == (2, 2)
        assert kept in worker.ids("alice") and short not in worker.ids("alice")
        assert worker.act("alice", "read", short).unknown == [short]
        assert worker.inbox.view("alice").expires > expires


def lose_end(worker: Worker, client: redis.Redis, channel: str, count: int) -> None:
    """Remove the last entries of a log, as a failover to a replica does that did not have them."""
    log, meta = worker.store.of(channel, "log"), worker.store.of(channel, "meta")
    entries = client.xrange(log)
    client.delete(log)
    for entry, fields in entries[:-count]:
        client.xadd(log, fields, entry)
    last = entries[-count - 1][0] if len(entries) > count else b"0-0"
    client.hset(meta, mapping={"logged": last, "last": last})


class TestFailover:
    @pytest.mark.parametrize("lost", [1, 3, 9])
    def test_lost_end(self, worker: Worker, client: redis.Redis, lost: int) -> None:
        """Entries of a shared log that a failover has lost no longer count; those published afterwards do."""
        for _ in range(10):
            worker.publish("all")
        assert worker.counts("alice") == (10, 10)
        lose_end(worker, client, "all", lost)
        assert worker.counts("alice") == (10 - lost, 10 - lost)
        worker.publish("all")
        assert worker.counts("alice") == (11 - lost, 11 - lost) and len(worker.ids("alice")) == 11 - lost

    def test_published_before_the_loss_was_noticed(self, make: Make, client: redis.Redis) -> None:
        """If others have published before a worker reads the log again, its lost connection reveals the loss."""
        worker, other = make(), make()
        for _ in range(10):
            worker.publish("all")
        assert worker.counts("alice") == (10, 10)
        lose_end(worker, client, "all", 2)
        other.publish("all")
        worker.digests.forget()  # as a worker does when it loses its connection
        assert worker.counts("alice") == other.counts("alice") == (9, 9)

    def test_everything_gone(self, worker: Worker, client: redis.Redis) -> None:
        """After all data was lost an inbox is empty, and counts new items."""
        worker.publish("all")
        worker.publish("alice")
        assert worker.counts("alice") == (2, 2)
        client.delete(*(key for key in client.keys(worker.store.sharded("x")[:10] + "*")))
        assert worker.counts("alice") == (0, 0)
        worker.publish("all")
        worker.publish("alice")
        assert worker.counts("alice") == (2, 2)


def test_readers_at_once(make: Make) -> None:
    """Threads that read the same long log at once all get all of it."""
    worker = make()
    worker.publish_each(["all"] * 1000)
    found: list[Counts] = []
    threads = [threading.Thread(target=lambda: found.append(worker.counts("alice"))) for _ in range(8)]
    worker.digests.forget()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert found == [(1000, 1000)] * 8
