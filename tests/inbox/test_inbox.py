"""The inbox on a real server: actions, mutes, copies, and how long anything is stored."""

import random
import struct
import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
import redis

from notifier.broker.log import Append
from notifier.protocol import cursor, digest, notification
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import NOTIFICATION
from notifier.protocol.inbox_frames import Acknowledge
from notifier.protocol.inbox_state import ACTIONS
from tests.kit.chance import share
from tests.kit.waiting import DEADLINE, eventually, next_millisecond
from tests.kit.worker import FUTURE, NOBODY, Make, Worker, time_of


class TestActions:
    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    @pytest.mark.parametrize("aim", ["ids", "up_to"])
    def test_each(self, worker: Worker, to: str, aim: str) -> None:
        """Archived items are read and read items are seen, on every kind of channel and for every kind of target."""
        worker.members.add("t", ["alice"])
        id = worker.publish(to)
        next_millisecond()
        for action, flags, counts in [
            ("seen", "s", (1, 0)),
            ("read", "sr", (0, 0)),
            ("unread", "s", (1, 0)),
            ("archive", "sra", (0, 0)),
            ("unarchive", "sr", (0, 0)),
            ("archive", "sra", (0, 0)),
            ("unread", "s", (1, 0)),
            ("archive", "sra", (0, 0)),
            ("read", "sra", (0, 0)),
        ]:
            change = worker.act("alice", action, id) if aim == "ids" else worker.act("alice", action, up_to=FUTURE)
            assert (worker.flags("alice", id), change.view.counts, change.unknown) == (flags, counts, []), action
            assert worker.counts("alice") == counts

    @pytest.mark.parametrize("to", ["alice", "all"])
    def test_again(self, worker: Worker, to: str) -> None:
        """A repeated action changes nothing, and the revision stays the same."""
        id = worker.publish(to)
        for action in ("seen", "read", "archive", "unarchive", "unread"):
            first, second = (worker.act("alice", action, id) for _ in range(2))
            assert (first.changed, second.changed) == (True, False)
            assert first.view.state.revision == second.view.state.revision

    def test_unknown(self, worker: Worker) -> None:
        """Ids of other users, of entries that are not items, and invented ones are unknown; the others are changed."""
        foreign, history = worker.publish("bob"), worker.publish("alice", retain="history")
        before = worker.publish("#t")
        worker.members.add("t", ["alice"])
        recalled, own = worker.publish("alice"), worker.publish("alice")
        worker.recall(recalled)
        wrong = [foreign, history, before, recalled, NOBODY, "x", 'é"\\', "*"]
        change = worker.act("alice", "read", *wrong, own)
        assert (change.unknown, change.changed) == (wrong, True)
        assert worker.counts("bob") == (1, 1)
        again = worker.act("alice", "read", *wrong)
        assert (again.unknown, again.changed) == (wrong, False)
        assert worker.act("nobody", "read", foreign, NOBODY).unknown == [foreign, NOBODY]

    def test_ephemeral(self, make: Make, client: redis.Redis) -> None:
        """Ephemeral notifications remove nothing from a log, whatever the settings: lists and counts agree."""
        worker, short = make(), make(topic_history_age=1)
        worker.members.add("t", ["alice"])
        worker.publish("#t")
        begin = time_of(client)
        eventually(lambda: time_of(client) > begin + 1000)
        short.publish("#t", retain="none")
        assert (len(worker.items("alice")), worker.counts("alice")) == (1, (1, 1))

    def test_a_thousand(self, worker: Worker) -> None:
        """One action changes a thousand items, on the user's channel and on others."""
        worker.members.add("t", ["alice"])
        ids = worker.publish_each(["alice", "#t"] * 500)
        for action, counts in [("read", (0, 0)), ("unread", (1000, 0)), ("archive", (0, 0))]:
            change = worker.act("alice", action, *ids)
            assert (change.view.counts, change.unknown) == (counts, [])

    def test_counted(self, worker: Worker) -> None:
        """The ids of an action count, also unknown ones, and up to a cursor the items that it changes one by one."""
        worker.members.add("t", ["alice"])
        ids = worker.publish_each(["alice", "#t"] * 10)
        worker.act("alice", "read", *ids, NOBODY, "x")
        worker.act("alice", "unread", up_to=FUTURE)
        assert [each for each in worker.counted if each[1]] == [("alice", 22), ("alice", 20)]

    def test_up_to(self, worker: Worker) -> None:
        """Up to a cursor includes that item and none after it, even within a millisecond and across channels."""
        worker.members.add("t", ["alice"])
        ids = [worker.publish(to) for _ in range(20) for to in ("alice", "all", "#t")]
        items = worker.items("alice")[::-1]
        assert sorted(ids) == sorted(notification.id_of(item.body) for item in items)
        for number in (0, 7, 8, 30, 59):
            place = items[number].cursor
            worker.act("alice", "read", up_to=place)
            unread = {(item.cursor, item.channel) for item in worker.items("alice", status="unread")}
            assert unread == {(item.cursor, item.channel) for item in items if item.cursor > place}
            assert worker.counts("alice").unread == len(unread)
        worker.act("alice", "unread", up_to=items[7].cursor)
        assert worker.counts("alice").unread == sum(item.cursor <= items[7].cursor for item in items)

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_later_items_stay_unread(self, worker: Worker, to: str) -> None:
        """A cursor in the future covers what exists now: the next item is unread, even in the same millisecond."""
        worker.members.add("t", ["alice"])
        for _ in range(50):
            worker.publish(to)
            assert worker.act("alice", "archive", up_to=FUTURE).view.counts == (0, 0)
            id = worker.publish(to)
            assert worker.counts("alice") == (1, 1)
            assert worker.ids("alice") == worker.ids("alice", status="unread") == [id]
            worker.act("alice", "archive", id)

    def test_up_to_now(self, worker: Worker) -> None:
        """The cursor of a new item covers the item, though its millisecond is not over."""
        for to in ("alice", "all") * 25:
            place = cursor.parse(worker.answer(to)["channels"][0]["cursor"])
            assert worker.act("alice", "read", up_to=place).view.counts == (0, 0)
            worker.publish(to)
            assert worker.counts("alice") == (1, 1)
            worker.act("alice", "read", up_to=FUTURE)

    def test_covered_items(self, worker: Worker) -> None:
        """Items that are marked as unread after all were read count, until all are read again."""
        ids = [worker.publish(to) for to in ("alice", "all") * 3]
        worker.act("alice", "read", up_to=FUTURE)
        for number, id in enumerate(ids, 1):
            assert worker.act("alice", "unread", id).view.counts == (number, 0)
        assert set(worker.ids("alice", status="unread")) == set(ids)
        assert worker.act("alice", "read", up_to=FUTURE).view.counts == (0, 0)

    def test_a_past_cursor(self, worker: Worker) -> None:
        """A cursor before everything neither sets nor clears a flag."""
        id = worker.publish("alice")
        worker.act("alice", "read", up_to=FUTURE)
        worker.act("alice", "read", up_to=Cursor(5, 0))
        assert worker.flags("alice", id) == "sr"
        assert worker.counts("nobody") == (0, 0)


class TestMutes:
    def test_type(self, worker: Worker) -> None:
        """Items of a muted type are stored and listed as muted, and not counted; the publisher's answer has this."""
        worker.publish("alice", type="a")
        worker.inbox.set_mutes("alice", ["a"], [])
        answer = worker.answer("alice", "bob", type="a")
        assert [channel.get("suppressed") for channel in answer["channels"]] == ["muted_type", None]
        everybody = worker.publish("all", type="a")
        assert worker.counts("alice") == (1, 1)
        assert worker.counts("bob") == (2, 2)
        assert worker.flags("alice", answer["id"]) == worker.flags("alice", everybody) == "srm"
        assert len(worker.ids("alice", status="unread")) == 1

    def test_topic(self, worker: Worker) -> None:
        """Items of a muted topic are not counted, whatever their type; earlier items stay unchanged."""
        worker.members.add("t", ["alice"])
        before = worker.publish("#t")
        next_millisecond()
        worker.inbox.set_mutes("alice", [], ["t"])
        after = worker.publish("#t", type="a")
        assert worker.counts("alice") == (1, 1)
        assert (worker.flags("alice", before), worker.flags("alice", after)) == ("", "srm")

    @pytest.mark.parametrize("topics", ["tu", "ut"])
    def test_one_of_two_topics(self, worker: Worker, topics: str) -> None:
        """A notification of a muted topic and of another one counts, as an item of the other."""
        for topic in topics:
            worker.members.add(topic, ["alice"])
        worker.inbox.set_mutes("alice", [], ["t"])
        next_millisecond()
        id = worker.publish("#t", "#u")
        assert worker.counts("alice") == (1, 1)
        [item] = worker.items("alice")
        assert (item.channel, worker.flags("alice", id)) == ("topic:u", "")
        assert worker.act("alice", "read", id).view.counts == (0, 0)

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_unmute(self, worker: Worker, to: str) -> None:
        """Items that arrived while muted stay uncounted when the mute is lifted; later items count."""
        worker.members.add("t", ["alice"])
        worker.inbox.set_mutes("alice", ["a"], ["t"])
        muted = worker.publish(to, type="a")
        worker.inbox.set_mutes("alice", ["b"], [])
        assert worker.counts("alice") == (0, 0)
        assert worker.flags("alice", muted).startswith("sr")
        worker.publish(to, type="a")
        assert worker.counts("alice") == (1, 1)

    def test_replace(self, worker: Worker) -> None:
        """Mutes are replaced as a whole; a mute that stays keeps its beginning, and each change has a revision."""
        worker.inbox.set_mutes("alice", ["a", "b"], ["t"])
        first = worker.inbox.view("alice").state
        worker.inbox.set_mutes("alice", ["b", "c"], [])
        second = worker.inbox.view("alice").state
        assert set(second.mutes) == {"type:b", "type:c"}
        assert second.mutes["type:b"] == first.mutes["type:b"]
        assert second.revision == first.revision + 1
        worker.inbox.set_mutes("alice", ["b", "c"], [])
        assert worker.inbox.view("alice").state.revision == second.revision

    def test_history(self, worker: Worker) -> None:
        """Mutes do not apply to notifications for the history only."""
        worker.inbox.set_mutes("alice", ["a"], [])
        assert "suppressed" not in worker.answer("alice", type="a", retain="history")["channels"][0]


class TestCopies:
    def test_once(self, worker: Worker) -> None:
        """A notification to a user, to a topic and to all is one item: it counts once, and one action changes it."""
        worker.members.add("t", ["alice", "bob"])
        worker.members.add("u", ["bob"])
        ids = [worker.publish("alice", "all", "#t", "#u"), worker.publish("#t", "all"), worker.publish("#u", "#t")]
        for user in ("alice", "bob"):
            assert worker.counts(user) == (3, 3)
            assert worker.ids(user) == ids[::-1]
            for number, id in enumerate(ids, 1):
                assert worker.act(user, "read", id).view.counts == (3 - number, 3 - number)
            assert worker.act(user, "unread", *ids).view.counts == (3, 0)
            assert worker.act(user, "archive", up_to=FUTURE).view.counts == (0, 0)
            assert sorted(worker.ids(user, status="archived")) == sorted(ids)

    def test_the_other_remains(self, make: Make) -> None:
        """If the copy on the user's channel leaves the log, another copy is the item, with the same flags."""
        worker = make(max_history=2)
        read, unread = worker.publish("alice", "all"), worker.publish("alice", "all")
        worker.act("alice", "read", read)
        for _ in range(2):
            worker.act("alice", "read", worker.publish("alice"))
        assert worker.counts("alice") == (1, 1)
        assert {read, unread} < set(worker.ids("alice"))
        assert (worker.flags("alice", read), worker.flags("alice", unread)) == ("sr", "")

    def test_recall(self, worker: Worker) -> None:
        """A recalled notification is removed from all of its channels."""
        id = worker.publish("alice", "all")
        worker.recall(id)
        assert worker.counts("alice") == worker.counts("bob") == (0, 0)


class TestWorkers:
    def test_two_devices(self, make: Make) -> None:
        """Two workers change the same items in opposite ways at once: one of them is last, and all workers agree."""
        workers = [make(), make()]
        ids = [workers[0].publish("alice" if number % 2 else "all") for number in range(20)]

        def toggle(worker: Worker, actions: list[str]) -> None:
            for number in range(60):
                worker.act("alice", actions[number % len(actions)], ids[number % 20])
                if not number % 10:
                    worker.act("alice", "read", up_to=FUTURE)

        threads = [
            threading.Thread(target=toggle, args=args)
            for args in zip(workers, (["read", "archive"], ["unread", "unarchive", "seen"]), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        third = make()
        lists = [worker.items("alice") + worker.items("alice", status="archived") for worker in [*workers, third]]
        assert lists[0] == lists[1] == lists[2] and len(lists[0]) == 20
        unread = sum(not item.flags.read for item in lists[0])
        unseen = sum(not item.flags.seen for item in lists[0])
        assert [worker.counts("alice") for worker in [*workers, third]] == [(unread, unseen)] * 3
        for id in ids[::2]:  # each change adds to the counts; their sum is the present state
            [receipt] = third.receipts.of(id, ["all"])
            flags = third.flags("alice", id)
            assert (receipt["read"], receipt["archived"]) == ("r" in flags, "a" in flags)

    def test_forgotten_scripts(self, worker: Worker, client: redis.Redis) -> None:
        """Scripts are loaded again into a server that has forgotten them, as after a restart."""
        steps: list[Callable[[], object]] = [
            lambda: worker.publish("alice"),
            lambda: worker.members.add("t", ["alice"]),
            lambda: worker.counts("alice"),
            lambda: worker.items("alice"),
            lambda: worker.act("alice", "read", up_to=FUTURE),
            lambda: worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, BEGINNING)}),
            lambda: worker.inbox.set_mutes("alice", ["a"], []),
            lambda: worker.receipts.of(NOBODY, ["user:alice"]),
            lambda: worker.users.export("alice"),
            lambda: list(worker.users.export("alice")["history"]),
            lambda: worker.users.erase("alice"),
        ]
        for step in steps:
            client.script_flush()
            step()


class TestLifetimes:
    def test_every_key(self, make: Make, client: redis.Redis) -> None:
        """Every key expires, except for what a backend or a user has set: members, topics and mutes."""
        worker, name = make(), f"user-{uuid4().hex}"
        worker.members.add("t", [name])
        worker.inbox.set_mutes(name, ["a"], [])
        ids = [worker.publish(name, "all", "#t", ttl=600, type=type, collapse_key=type) for type in "ab"]
        worker.inbox.acknowledge({name: Acknowledge(FUTURE, BEGINNING)})
        for action in ("archive", "unarchive", "unread"):
            worker.act(name, action, *ids)
        worker.act(name, "read", up_to=FUTURE)
        worker.users.disconnect(name)
        prefix = worker.store.sharded("x")[:10]
        keys = [key.decode() for key in client.scan_iter(f"{prefix}*", count=1000) if b"{birth:" not in key]
        forever = {key.rpartition(":")[2] for key in keys if client.pttl(key) < 0}
        assert forever == {"members", "topics", "mutes"}
        assert len(keys) > 15

    def test_all_go_together(self, worker: Worker, client: redis.Redis) -> None:
        """All keys about the entries of a log expire with the log: a new item is unread, and no count is negative."""
        read = worker.publish("alice", ttl=600)
        worker.publish("alice", "bob", "#t")
        worker.act("alice", "read", read)
        worker.inbox.acknowledge({"alice": Acknowledge(FUTURE, BEGINNING)})
        names = ("log", "inbox", "expiring", "twins", "read", "seen", "receipts")
        keys = {name: worker.store.of("user:alice", name) for name in names}
        times = {name: client.pexpiretime(key) for name, key in keys.items()}
        assert len(set(times.values())) == 1 and min(times.values()) > 0, times
        client.delete(*keys.values())  # as if they had expired
        view = worker.inbox.view("alice")
        assert (view.counts, view.expires) == ((0, 0), 0)
        worker.publish("alice")
        assert worker.counts("alice") == (1, 1)

    def test_kept_together(self, make: Make, client: redis.Redis) -> None:
        """Muted items stay uncounted for as long as later entries keep the log from expiring."""
        worker = make(user_history_age=1)
        worker.inbox.set_mutes("alice", ["a"], [])
        begin = time_of(client)

        def outlive() -> bool:
            """Publish until the first items are older than the log keeps them."""
            worker.publish("alice", type="a")
            assert worker.counts("alice") == (0, 0)
            return time_of(client) > begin + 1500

        eventually(outlive)
        keys = [worker.store.of("user:alice", key) for key in ("log", "inbox", "read", "seen")]
        with client.pipeline() as at_once:  # they expire soon
            for key in keys:
                at_once.pexpiretime(key)
            assert len(set(at_once.execute())) == 1

    def test_marks_outlive_their_items(self, make: Make, client: redis.Redis) -> None:
        """Flags are kept for as long as an item may be stored."""
        worker = make(user_history_age=100, topic_history_age=100)
        worker.act("alice", "read", worker.publish("all"))
        log = client.pttl(worker.store.of("all", "log"))
        for key in ("state", "exceptions"):
            assert client.pttl(worker.store.of("user:alice", key)) >= 2 * log - 2 * 3_600_000


def exceptions(worker: Worker, client: redis.Redis, user: str) -> dict[str, list[int]]:
    """Return the exceptions that are stored, by field."""
    fields = client.hgetall(worker.store.of(f"user:{user}", "exceptions"))
    return {name.decode(): [rank for (rank,) in struct.iter_unpack("<Q", ranks)] for name, ranks in fields.items()}


class TestExceptions:
    def test_form(self, worker: Worker, client: redis.Redis) -> None:
        """Exceptions are the ranks of items, in order, in whichever order the items were changed."""
        ids = [worker.publish("all") for _ in range(5)]
        ranks = [item.cursor.rank for item in worker.items("alice")[::-1]]
        for number in (2, 4, 0):
            worker.act("alice", "read", ids[number])
        read = {"r all": ranks[::2], "s all": ranks[::2]}
        assert exceptions(worker, client, "alice") == read
        worker.act("alice", "archive", ids[3], ids[2], ids[1])
        assert exceptions(worker, client, "alice") == {"r all": ranks, "s all": ranks, "a all": ranks[1:4]}
        worker.act("alice", "unread", ids[3], ids[1])
        assert exceptions(worker, client, "alice") == {"r all": ranks[::2], "s all": ranks, "a all": ranks[2:3]}
        next_millisecond()  # a mark never covers the current one
        worker.act("alice", "archive", up_to=FUTURE)
        assert not client.exists(worker.store.of("user:alice", "exceptions"))

    def test_entries_that_have_left_their_log(self, make: Make, client: redis.Redis) -> None:
        """Exceptions of entries that were trimmed are removed with the next action."""
        worker = make(max_history=3)
        for _ in range(10):
            worker.act("alice", "archive", worker.publish("all"))
        assert {len(ranks) for ranks in exceptions(worker, client, "alice").values()} == {3}
        assert len(worker.ids("alice", status="archived")) == 3

    def test_replaced_and_recalled_entries(self, worker: Worker, client: redis.Redis) -> None:
        """Exceptions of entries that were replaced or recalled are removed when they are many."""
        kept = worker.publish("all")
        worker.act("alice", "archive", kept)
        most = 0
        for number in range(70):
            id = worker.publish("all", collapse_key="k")
            worker.act("alice", "archive", id)
            if number % 2:
                worker.recall(id)
            most = max(most, *map(len, exceptions(worker, client, "alice").values()))
        assert 50 < most < 60
        assert worker.flags("alice", kept) == "sra"

    def test_a_topic_that_was_left(self, worker: Worker, client: redis.Redis) -> None:
        """Exceptions on a topic that the user has left are removed, but not within a minute."""
        worker.members.add("t", ["alice"])
        worker.act("alice", "read", worker.publish("#t"))
        worker.members.remove("t", ["alice"])
        id = worker.publish("all")
        worker.act("alice", "seen", id)
        assert exceptions(worker, client, "alice").keys() == {"r topic:t", "s topic:t", "s all"}
        worker.clock.observe(worker.clock.ms + 61_000)
        worker.act("alice", "read", id)
        assert exceptions(worker, client, "alice").keys() == {"r all", "s all"}

    def test_expired_entries(self, worker: Worker, client: redis.Redis) -> None:
        """Exceptions of items that have expired stay for a minute: another worker's clock may be behind."""
        # On a busy machine an item may expire before it is archived.
        eventually(lambda: worker.act("alice", "archive", worker.publish("all", ttl=1)).changed)
        eventually(lambda: not worker.ids("alice", status="archived"))
        worker.act("alice", "read", worker.publish("all"))
        assert {name: len(ranks) for name, ranks in exceptions(worker, client, "alice").items()} == {
            "s all": 2,
            "r all": 2,
            "a all": 1,
        }

    @pytest.mark.parametrize("seed", range(3))
    def test_as_a_naive_model(
        self, make: Make, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        """Flags, counts and revisions are exact, whatever is published, replaced, recalled, trimmed and done."""
        monkeypatch.setattr(digest, "_SPARE", 0)
        rng, workers = random.Random(seed), [make(max_history=6), make(max_history=6)]
        workers[0].members.add("t", ["alice"])
        places: dict[str, Cursor] = {}
        flagged: dict[str, set[str]] = {}
        revision = 1

        def stored() -> set[str]:
            logs = [worker.store.of(channel, "log") for channel in ("user:alice", "all", "topic:t")]
            return {fields[b"i"][7:43].decode() for log in logs for _, fields in client.xrange(log) if b"i" in fields}

        for _ in range(share(150)):
            worker, kind = rng.choice(workers), rng.random()
            if kind < 0.4:
                to, key = rng.choice(["alice", "all", "#t"]), rng.choice([None, None, "k"])
                answer = worker.answer(to, **({"collapse_key": key} if key else {}))
                [channel] = answer["channels"]
                places[answer["id"]] = cursor.parse(channel["cursor"])
                flagged[answer["id"]] = set()
            elif kind < 0.5 and stored():
                worker.recall(rng.choice(sorted(stored())))
            else:
                there = stored()
                action = rng.choice(list(ACTIONS))
                flags, on = ACTIONS[action]
                if rng.random() < 0.7:
                    aimed = set(rng.sample(sorted(places), min(len(places), 3)))
                    change = worker.act("alice", action, *sorted(aimed))
                    assert set(change.unknown) == aimed - there
                else:
                    up_to = rng.choice([FUTURE, *places.values()])
                    aimed = {id for id in there if places[id] <= up_to}
                    change = worker.act("alice", action, up_to=up_to)
                before = {id: frozenset(flagged[id]) for id in aimed & there}
                for id in before:
                    flagged[id] = flagged[id] | set(flags) if on else flagged[id] - set(flags)
                has_changed = any(flagged[id] != old for id, old in before.items())
                assert change.changed or not has_changed
                assert has_changed or not change.changed or on  # a mark may move over no item
                revision += change.changed
                assert change.view.state.revision == revision
            there = stored()
            for each in workers:
                items = each.items("alice") + each.items("alice", status="archived")
                listed = {
                    notification.id_of(item.body): {
                        letter for letter, has in zip("sra", item.flags, strict=False) if has
                    }
                    for item in items
                }
                assert listed == {id: flagged[id] for id in there}
                assert each.counts("alice") == tuple(sum(flag not in flagged[id] for id in there) for flag in "rs")
            assert all(len(ranks) <= 12 for ranks in exceptions(workers[0], client, "alice").values())


class TestNamedItems:
    """Items are found by the time in the id of their notification, without reading the whole log."""

    def test_any_order(self, worker: Worker) -> None:
        """Named items are found whenever they were appended, together with unknown ids."""
        ids, moment = [], worker.clock.ms
        for number in range(60):
            worker.clock.observe(moment + 3000 * number)  # ids of a moment, some within the same window
            ids += [_append(worker, made) for made in (worker.clock.ms, worker.clock.ms - 1, worker.clock.ms - 10_001)]
        unknown = [notification.new_id(worker.clock.ms - 7000 * number, bytes(10)) for number in range(20)]
        change = worker.act("alice", "read", *ids[1::2], *unknown, "no-id", *ids[::2][::-1], NOBODY)
        assert set(change.unknown) == {*unknown, "no-id", NOBODY}
        assert change.view.counts == (0, 0)

    def test_what_is_read(self, worker: Worker, client: redis.Redis) -> None:
        """An unknown id, or one that has left the log, reads a few entries of a long log."""
        ids, moment = [], worker.clock.ms
        for number in range(200):
            worker.clock.observe(moment + 20_000 * number)
            ids.append(_append(worker, worker.clock.ms))
        worker.recall(ids[5])
        unknown = notification.new_id(moment + 1, bytes(10))
        for ask in (
            lambda: worker.act("alice", "read", unknown, ids[5]),
            lambda: worker.receipts.of(unknown, ["user:alice"]),
            lambda: worker.act("alice", "read", ids[100]),
        ):
            client.config_resetstat()
            ask()
            # Some are for `all`; the whole log takes 25, as eight entries are read at a time.
            assert client.info("commandstats")["cmdstat_xrange"]["calls"] < 8

    def test_late(self, make: Make, client: redis.Redis) -> None:
        """A notification that was appended long after its id was made is found, until it leaves the log."""
        worker = make(max_history=3)
        key = worker.store.of("user:alice", "late")
        late = [_append(worker, worker.clock.ms - 60_000 - number) for number in range(3)]
        assert worker.act("alice", "read", *late).unknown == []
        assert [len(worker.receipts.of(id, ["user:alice"])) for id in late] == [1] * 3
        assert 0 < client.pexpiretime(key) <= client.pexpiretime(worker.store.of("user:alice", "log"))
        worker.recall(late[1])
        assert worker.act("alice", "read", *late).unknown == [late[1]]
        assert {name.decode() for name in client.hkeys(key)} == {late[0], late[2]}
        worker.publish("alice")
        worker.publish("alice")
        assert worker.act("alice", "read", *late).unknown == late
        assert client.hkeys(key) == []

    def test_late_in_a_quiet_log(self, make: Make, client: redis.Redis) -> None:
        """A late notification is found for as long as its log has it, also if the log was about to expire."""
        worker = make(user_history_age=86400)
        worker.publish("alice")
        log, meta, key = (worker.store.of("user:alice", what) for what in ("log", "meta", "late"))
        client.hset(meta, "kept", time_of(client) - 80_000_000)  # as if nothing had been published since then
        client.pexpire(log, 10_000_000)
        late = _append(worker, worker.clock.ms - 60_000)
        assert client.pexpiretime(key) == client.pexpiretime(log)
        client.delete(meta)  # the next entry renews the log once more
        worker.publish("alice")
        assert client.pexpiretime(key) == client.pexpiretime(log)
        assert worker.act("alice", "read", late).unknown == []

    def test_replaced_late(self, worker: Worker, client: redis.Redis) -> None:
        """A late notification that another one replaces leaves no data."""
        key = worker.store.of("user:alice", "late")
        late = [_append(worker, worker.clock.ms - 60_000, collapse_key="k") for _ in range(3)]
        assert worker.act("alice", "read", *late).unknown == late[:2]
        assert [name.decode() for name in client.hkeys(key)] == late[2:]
        worker.publish("alice", collapse_key="k")
        assert not client.exists(key)


def _append(worker: Worker, made: int, collapse_key: str = "") -> str:
    """Append a notification whose id was made at a time in Unix ms, and return the id."""
    id = notification.new_id(made, uuid4().bytes[:10])
    body = b'{"id":"%b","title":"x"}' % id.encode()
    append = Append("user:alice", NOTIFICATION, body, collapse_key=collapse_key)
    worker.log.append([[append]], [(id, ["user:alice"])])
    return id
