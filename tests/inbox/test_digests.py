"""Digests on a real server: what leaves a log, and what a failover loses, leaves inboxes too."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import redis

from notifier.errors import RateLimited
from notifier.inbox import digests
from notifier.inbox.digests import Digests
from notifier.protocol import notification
from notifier.protocol.cursor import BEGINNING
from notifier.protocol.digest import Digest
from notifier.protocol.inbox_state import Counts, InboxState
from tests.kit.turns import Turns
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


class TestReading:
    """What is read of logs at once, and who pays for it."""

    def test_long_bodies(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of long notifications about a megabyte is read at a time, and all of them are found."""
        worker, replies = make(), list[tuple[int, int]]()
        ids = [worker.publish("all", data="x" * 60_000) for _ in range(60)]
        carry_out = worker.store.carry_out

        def note(commands: list[bytes], **options: Any) -> list[Any]:
            found = carry_out(commands, **options)
            replies.extend((len(reply[3]), reply[5]) for reply in found if isinstance(reply, list) and len(reply) == 6)
            return found

        monkeypatch.setattr(worker.store, "carry_out", note)
        assert worker.counts("alice") == (60, 60)
        assert [number for number, _ in replies] == [20, 20, 20]
        assert all(60_000 * number <= size < 61_000 * number for number, size in replies)
        assert [item.id for item in worker.inbox.view("alice").shared()] == ids

    def test_many_channels(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write reads 16 channels at most; all pages of all channels are read."""
        topics = [f"t{number}" for number in range(40)]
        worker.publish_each([f"#{topic}" for topic in topics for _ in range(3)])
        carry_out, numbers = worker.store.carry_out, list[int]()

        def note(commands: list[bytes], **options: Any) -> list[Any]:
            numbers.append(len(commands))
            return carry_out(commands, **options)

        monkeypatch.setattr(worker.store, "carry_out", note)
        monkeypatch.setattr(digests, "_PAGE", 2)
        found = worker.digests.of(f"topic:{topic}" for topic in topics)
        assert [len(digest) for digest in found.values()] == [3] * 40
        assert max(numbers) == 16 and sum(numbers) == 80

    def test_charge(self, worker: Worker) -> None:
        """The user of a request pays for entries that were not in memory, and at least 1,024 bytes for each."""
        charged: list[tuple[str, int]] = []
        reading = Digests(worker.store, lambda user, size: charged.append((user, size)))
        worker.publish("all")
        worker.publish("all", data="x" * 5000)
        state = worker.inbox.states(["alice"])[0]
        assert reading.view("alice", state).counts == (2, 2)
        [(user, size)] = charged
        assert user == "alice" and 1024 + 5000 < size < 1024 + 5300
        assert reading.view("bob", state).counts == (2, 2) and len(charged) == 1
        worker.publish("all")
        assert reading.views([state])[0].counts == (3, 3) and len(charged) == 1

    def test_too_much(self, worker: Worker) -> None:
        """A request that has read too much ends; the next one goes on with what is left."""
        topics = [f"t{number}" for number in range(20)]
        worker.publish_each([f"#{topic}" for topic in topics])
        refused: list[int] = []

        def charge(user: str, size: int) -> None:
            if not refused:
                refused.append(size)
                raise RateLimited(retry_after=1)

        reading = Digests(worker.store, charge)
        state = InboxState(topics=dict.fromkeys(topics, BEGINNING))
        with pytest.raises(RateLimited):
            reading.view("alice", state)
        assert refused == [15 * 1024]
        assert reading.view("alice", state).counts == (20, 20)


def test_turns(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a long log is read, others have their turn, also readers of other channels."""
    worker.publish_each(["all"] * 100 + ["#t"])
    turns, follow = Turns(monkeypatch), Digest.follow
    lengths: list[int] = []

    def slowly(digest: Digest, first: bytes, rows: Iterable[Any], in_turns: Any) -> None:
        def slow() -> Iterator[Any]:
            for each in rows:
                turns.work()
                yield each
                lengths.append(len(digest))

        follow(digest, first, slow(), in_turns)

    monkeypatch.setattr(Digest, "follow", slowly)
    assert worker.counts("alice") == (100, 100)
    assert turns.count >= 99 and lengths == list(range(1, 101))
