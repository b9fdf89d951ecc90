"""The inbox and all that belongs to it, on a real server: each `Worker` stands for one process of the service."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import redis

from notifier.audience.members import Members
from notifier.audience.users import Users
from notifier.broker.database import Database
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Log
from notifier.broker.store import Store
from notifier.errors import Problem
from notifier.inbox.digests import Digests
from notifier.inbox.inbox import Change, Inbox
from notifier.inbox.listing import InboxLists, Listed
from notifier.protocol import cursor, notification
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.protocol.inbox_query import Query
from notifier.protocol.inbox_request import Target
from notifier.protocol.inbox_view import Counts
from notifier.protocol.notification import Limits
from notifier.publishing.publisher import Post, Publisher
from notifier.publishing.receipts import Receipts
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import Settings
from tests.kit.waiting import DEADLINE, eventually

FUTURE = Cursor(10**15, 0)
NOBODY = "019a0000-0000-7000-8000-000000000000"


class Worker:
    """What one worker has of the inbox. `prefix` parts the tests: `all` is everybody's."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.clock = clock = Clock()
        self.store = store
        self.digests = Digests(store)
        self.inbox = Inbox(settings, store, self.digests, clock)
        self.lists = InboxLists(store, self.digests)
        self.members = Members(settings, store, self.inbox)
        self.users = Users(store, self.inbox, self.lists, self.members)
        self.receipts = Receipts(store, self.inbox, self.members)
        self.log = Log(settings, store, clock)
        Database(settings, store, clock).birth()  # which advances the clock
        self._publisher = Publisher(self.log, IdempotencyKeys(settings, store), clock, settings)

    def publish(self, *to: str, idempotency: str = "", **members: Any) -> str:
        """Publish to users, topics (`#orders`) or `all`, and return the id."""
        return str(self.answer(*to, idempotency=idempotency, **members)["id"])

    def answer(self, *to: str, idempotency: str = "", **members: Any) -> dict[str, Any]:
        """The same, but return the answer."""
        topics = [name[1:] for name in to if name.startswith("#")]
        users = [name for name in to if name != "all" and not name.startswith("#")]
        address = {"users": users, "topics": topics, "all": "all" in to}
        body = json.dumps({"to": address, "title": "x", **members}).encode()
        post = Post(notification.parse(body, Limits()), body, idempotency)
        [answer] = self._publisher.publish([post])
        assert not isinstance(answer, Problem), answer
        parsed: dict[str, Any] = json.loads(answer.json)
        return parsed

    def recall(self, id: str) -> None:
        self.log.recall(id, notification.time_of(id) or 0)

    def act(self, user: str, action: str, *ids: str, up_to: Cursor | None = None) -> Change:
        return self.inbox.act(user, action, Target(ids, up_to))

    def counts(self, user: str) -> Counts:
        return self.inbox.view(user).counts

    def items(self, user: str, **query: Any) -> list[Listed]:
        """Return the whole list, by pages."""
        asked, items = Query(**query), []
        while True:
            page = self.lists.page(user, asked)
            assert len(page.items) == asked.limit or page.next is None
            items += page.items
            if page.next is None:
                return items
            asked = asked._replace(before=page.next)

    def ids(self, user: str, **query: Any) -> list[str]:
        return [notification.id_of(item.body) for item in self.items(user, **query)]

    def flags(self, user: str, id: str) -> str:
        """Return what was done with an item: letters of seen, read, archived, muted."""
        items = self.items(user) + self.items(user, status="archived")
        [flags] = [item.flags for item in items if notification.id_of(item.body) == id]
        return "".join(letter for letter, is_set in zip("sram", flags, strict=True) if is_set)


Make = Callable[..., Worker]


@pytest.fixture
def make(valkey: EmbeddedValkey) -> Iterator[Make]:
    """Makes workers of one service, with settings of their own; each test has its own `all`."""
    prefix = f"t{uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> Worker:
            chosen = Settings(**{"redis_url": valkey.url, "redis_prefix": prefix} | settings)
            return Worker(stack.enter_context(contextlib.closing(Store(chosen))), chosen)

        yield make


@pytest.fixture
def worker(make: Make) -> Worker:
    return make()


def next_millisecond(client: redis.Redis) -> None:
    """Wait until the server's clock has gone on."""
    before = client.time()
    while client.time()[0] * 1000 + client.time()[1] // 1000 <= before[0] * 1000 + before[1] // 1000:
        pass


def keys_of(client: redis.Redis, word: str) -> set[str]:
    """Return the keys that name somebody, by their last part."""
    return {key.decode() for key in client.scan_iter(match="*", count=10_000) if word in key.decode()}


class TestActions:
    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    @pytest.mark.parametrize("aim", ["ids", "up_to"])
    def test_each(self, worker: Worker, client: redis.Redis, to: str, aim: str) -> None:
        """Each action does what it implies: archived is read, read is seen; on every kind of channel, by every aim."""
        worker.members.add("t", ["alice"])
        id = worker.publish(to)
        next_millisecond(client)
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
        """The same once more changes nothing, and the revision stays."""
        id = worker.publish(to)
        for action in ("seen", "read", "archive", "unarchive", "unread"):
            first, second = (worker.act("alice", action, id) for _ in range(2))
            assert (first.changed, second.changed) == (True, False)
            assert first.view.state.revision == second.view.state.revision

    def test_unknown(self, worker: Worker) -> None:
        """Ids of others, of what is in no inbox, and made-up ones are unknown, and answered alike; the rest is done."""
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
        """What is in no log takes nothing out of one: lists and counts agree, whatever the publisher's settings."""
        worker, short = make(), make(topic_history_age=1)
        worker.members.add("t", ["alice"])
        worker.publish("#t")
        begin = client.time()[0]
        eventually(lambda: client.time()[0] > begin + 1)
        short.publish("#t", retain="none")
        assert (len(worker.items("alice")), worker.counts("alice")) == (1, (1, 1))

    def test_a_thousand(self, worker: Worker) -> None:
        """A thousand items are done with at once, on the user's channel and on others."""
        worker.members.add("t", ["alice"])
        ids = [worker.publish("alice" if number % 2 else "#t") for number in range(1000)]
        for action, counts in [("read", (0, 0)), ("unread", (1000, 0)), ("archive", (0, 0))]:
            change = worker.act("alice", action, *ids)
            assert (change.view.counts, change.unknown) == (counts, [])

    def test_up_to(self, worker: Worker) -> None:
        """Up to a cursor means that one, too, and nothing behind it, also within a millisecond and over channels."""
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
    def test_what_comes_afterwards_stays_unread(self, worker: Worker, to: str) -> None:
        """A cursor in the future means what is there now: what comes next is unread, in the same millisecond too."""
        worker.members.add("t", ["alice"])
        for _ in range(50):
            worker.publish(to)
            assert worker.act("alice", "archive", up_to=FUTURE).view.counts == (0, 0)
            id = worker.publish(to)
            assert worker.counts("alice") == (1, 1)
            assert worker.ids("alice") == worker.ids("alice", status="unread") == [id]
            worker.act("alice", "archive", id)

    def test_up_to_now(self, worker: Worker) -> None:
        """The cursor of what has just come covers it, though its millisecond is not over."""
        for to in ("alice", "all") * 25:
            place = cursor.parse(worker.answer(to)["channels"][0]["cursor"])
            assert worker.act("alice", "read", up_to=place).view.counts == (0, 0)
            worker.publish(to)
            assert worker.counts("alice") == (1, 1)
            worker.act("alice", "read", up_to=FUTURE)

    def test_one_of_those_that_are_covered(self, worker: Worker) -> None:
        """What was taken back of all that is read counts, until all are read again."""
        ids = [worker.publish(to) for to in ("alice", "all") * 3]
        worker.act("alice", "read", up_to=FUTURE)
        for number, id in enumerate(ids, 1):
            assert worker.act("alice", "unread", id).view.counts == (number, 0)
        assert set(worker.ids("alice", status="unread")) == set(ids)
        assert worker.act("alice", "read", up_to=FUTURE).view.counts == (0, 0)

    def test_a_past_cursor(self, worker: Worker) -> None:
        """A cursor before everything changes nothing, and takes nothing back."""
        id = worker.publish("alice")
        worker.act("alice", "read", up_to=FUTURE)
        worker.act("alice", "read", up_to=Cursor(5, 0))
        assert worker.flags("alice", id) == "sr"
        assert worker.counts("nobody") == (0, 0)


class TestList:
    def test_ties(self, worker: Worker) -> None:
        """Pages of any size together are the whole list once, the newest first, over several channels and ties."""
        worker.members.add("t", ["alice"])
        ahead, published = worker.clock.ms + 60_000, set()
        for number in range(25):
            worker.clock.observe(ahead + number // 5)  # each millisecond has several, however slow the machine
            published |= {worker.publish(to) for to in ("alice", "all", "#t")}
        whole = worker.items("alice", limit=100)
        keys = [(item.cursor, item.channel) for item in whole]
        assert keys == sorted(keys, reverse=True)
        assert {notification.id_of(item.body) for item in whole} == published and len(whole) == 75
        for limit in (1, 2, 7, 74, 75):
            assert worker.items("alice", limit=limit) == whole
        cursors = [item.cursor for item in whole]
        assert len({place.ms for place in cursors}) < len(cursors), "no two in one millisecond"

    def test_statuses(self, worker: Worker) -> None:
        """Unread, archived, and all that is not archived."""
        new, read, archived = (worker.publish("alice") for _ in range(3))
        worker.act("alice", "read", read)
        worker.act("alice", "archive", archived)
        assert worker.ids("alice") == [read, new]
        assert worker.ids("alice", status="unread") == [new]
        assert worker.ids("alice", status="archived") == [archived]

    def test_filters(self, worker: Worker) -> None:
        """By type, topic and severity; any of several; pages are full though most does not fit."""
        worker.members.add("t", ["alice"])
        worker.members.add("u", ["alice"])
        own = [worker.publish("alice", type="x" if number % 9 else "y") for number in range(60)]
        topic = [worker.publish("#t", type="y", severity="error"), worker.publish("#u", type="z", severity="critical")]
        assert worker.ids("alice", types=frozenset("y"), limit=2) == [topic[0], *own[::9][::-1]]
        assert worker.ids("alice", topics=frozenset("t")) == topic[:1]
        assert worker.ids("alice", topics=frozenset("tu")) == topic[::-1]
        assert worker.ids("alice", severities=frozenset(["error", "critical"])) == topic[::-1]
        assert worker.ids("alice", types=frozenset("yz"), topics=frozenset("u")) == topic[1:]
        assert worker.ids("alice", types=frozenset("no")) == []

    def test_few_of_many(self, worker: Worker) -> None:
        """Few that fit a filter are found among many that do not, on both kinds of channels."""
        wanted = []
        for number in range(240):
            severity = "critical" if number in (0, 1, 130, 131) else "info"
            id = worker.publish("alice" if number % 2 else "all", severity=severity)
            wanted += [id] if severity == "critical" else []
        for limit in (1, 2, 3, 100):
            assert worker.ids("alice", limit=limit, severities=frozenset({"critical"})) == wanted[::-1]

    def test_recalled_between_pages(self, worker: Worker) -> None:
        """A page goes on where the one before ended, whatever has gone or come meanwhile."""
        for number in range(10):
            worker.publish("alice" if number % 2 else "all")
        ids = worker.ids("alice")[::-1]
        first = worker.lists.page("alice", Query(limit=4))
        worker.recall(ids[6])
        worker.recall(ids[5])
        worker.publish("alice")
        second = worker.lists.page("alice", Query(limit=4, before=first.next))
        assert [notification.id_of(item.body) for item in second.items] == ids[1:5][::-1]

    def test_deep_archive(self, worker: Worker) -> None:
        """Behind hundreds of archived items the others are found."""
        old = worker.publish("alice")
        for _ in range(250):
            worker.publish("alice")
        worker.act("alice", "archive", up_to=FUTURE)
        worker.act("alice", "unarchive", old)
        assert worker.ids("alice") == [old]
        assert len(worker.ids("alice", status="archived", limit=100)) == 250

    def test_another_place(self, worker: Worker) -> None:
        """A place of another list is a place in time here."""
        other = [worker.publish("bob") for _ in range(3)]
        page = worker.lists.page("bob", Query(limit=1))
        assert page.next is not None and len(other) == 3
        mine = worker.publish("alice")
        assert worker.ids("alice", before=page.next) == []
        assert worker.ids("alice") == [mine]

    def test_cursor(self, make: Make) -> None:
        """The cursor of a list covers nothing that is not in it, however much is published while it is read."""
        worker, publisher = make(), make()
        worker.members.add("t", ["alice"])
        over = threading.Event()

        def publish() -> None:
            while not over.is_set():
                for to in ("alice", "all", "#t"):
                    publisher.publish(to)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            for _ in range(40):
                page = worker.lists.page("alice", Query(limit=100))
                worker.act("alice", "read", up_to=page.cursor)
                shown = {(item.cursor, item.channel) for item in page.items}
                oldest = min((item.cursor for item in page.items), default=FUTURE)
                later = worker.lists.page("alice", Query(limit=100)).items
                covered = {(item.cursor, item.channel) for item in later if oldest < item.cursor <= page.cursor}
                assert covered <= shown
        finally:
            over.set()
            thread.join(DEADLINE)


class TestLeaving:
    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_number(self, make: Make, to: str) -> None:
        """Over its bound, an inbox has the newest; what fell out counts no more, read or not."""
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
        """A log that has expired, as nobody published to it any more, takes its items with it."""
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
        """What is recalled leaves list and counts, on every worker; read items too."""
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
        """The last with a collapse key is the item: unread again, and at the top."""
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
        """Who has not looked since does not keep what had been replaced, nor lose what came behind."""
        worker, other = make(), make()
        worker.members.add("t", ["alice"])
        oldest = worker.publish(to)
        worker.publish(to, collapse_key="k")
        assert other.counts("alice") == (2, 2)
        worker.recall(worker.publish(to, collapse_key="k"))
        assert other.counts("alice") == worker.counts("alice") == (1, 1)
        first, last = worker.publish(to, collapse_key="k"), worker.publish(to, collapse_key="k")
        worker.recall(first)  # which is no longer there
        assert other.ids("alice") == worker.ids("alice") == [last, oldest]
        assert other.counts("alice") == worker.counts("alice") == (2, 2)

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_expiry(self, worker: Worker, to: str) -> None:
        """What is past its ttl leaves by itself, and it is known when that will be."""
        worker.members.add("t", ["alice"])
        kept = worker.publish(to)
        assert worker.inbox.view("alice").expires == 0
        short = worker.publish(to, ttl=1)
        worker.publish(to, ttl=600)
        view = worker.inbox.view("alice")
        assert view.counts == (3, 3)
        expires = view.expires
        bodies = {notification.id_of(item.body): json.loads(item.body) for item in worker.items("alice")}
        said = datetime.fromisoformat(bodies[short]["expires_at"]).timestamp()
        assert abs(expires - 1000 * said) <= 1
        deadline = time.monotonic() + DEADLINE
        while worker.inbox.view("alice").expires == expires:
            assert time.monotonic() < deadline
        assert time.time() * 1000 >= expires - 1
        assert worker.counts("alice") == (2, 2)
        assert kept in worker.ids("alice") and short not in worker.ids("alice")
        assert worker.act("alice", "read", short).unknown == [short]
        assert worker.inbox.view("alice").expires > expires


class TestTwins:
    def test_once(self, worker: Worker) -> None:
        """A notification to a user, to a topic and to all is one item, counted once, done with once."""
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
        """Where the one on the user's channel falls out, the other one is the item, with what was done to it."""
        worker = make(max_history=2)
        read, unread = worker.publish("alice", "all"), worker.publish("alice", "all")
        worker.act("alice", "read", read)
        for _ in range(2):
            worker.act("alice", "read", worker.publish("alice"))
        assert worker.counts("alice") == (1, 1)
        assert {read, unread} < set(worker.ids("alice"))
        assert (worker.flags("alice", read), worker.flags("alice", unread)) == ("sr", "")

    def test_recall(self, worker: Worker) -> None:
        """Recalled, it has left all of its channels."""
        id = worker.publish("alice", "all")
        worker.recall(id)
        assert worker.counts("alice") == worker.counts("bob") == (0, 0)


class TestMutes:
    def test_type(self, worker: Worker) -> None:
        """What is of a muted type is stored and listed as muted, not counted; the publisher is told."""
        worker.publish("alice", type="a")
        worker.inbox.set_mutes("alice", ["a"], [])
        answer = worker.answer("alice", "bob", type="a")
        assert [channel.get("suppressed") for channel in answer["channels"]] == ["muted_type", None]
        everybody = worker.publish("all", type="a")
        assert worker.counts("alice") == (1, 1)
        assert worker.counts("bob") == (2, 2)
        assert worker.flags("alice", answer["id"]) == worker.flags("alice", everybody) == "srm"
        assert len(worker.ids("alice", status="unread")) == 1

    def test_topic(self, worker: Worker, client: redis.Redis) -> None:
        """What comes by a muted topic is not counted, whatever its type is; what came before stays as it was."""
        worker.members.add("t", ["alice"])
        before = worker.publish("#t")
        next_millisecond(client)
        worker.inbox.set_mutes("alice", [], ["t"])
        after = worker.publish("#t", type="a")
        assert worker.counts("alice") == (1, 1)
        assert (worker.flags("alice", before), worker.flags("alice", after)) == ("", "srm")

    @pytest.mark.parametrize("topics", ["tu", "ut"])
    def test_one_of_two_topics(self, worker: Worker, client: redis.Redis, topics: str) -> None:
        """What comes by a muted topic and by another one counts, and is an item of the other."""
        for topic in topics:
            worker.members.add(topic, ["alice"])
        worker.inbox.set_mutes("alice", [], ["t"])
        next_millisecond(client)
        id = worker.publish("#t", "#u")
        assert worker.counts("alice") == (1, 1)
        [item] = worker.items("alice")
        assert (item.channel, worker.flags("alice", id)) == ("topic:u", "")
        assert worker.act("alice", "read", id).view.counts == (0, 0)

    @pytest.mark.parametrize("to", ["alice", "all", "#t"])
    def test_unmute(self, worker: Worker, to: str) -> None:
        """What was muted stays uncounted when the mute is lifted; what comes then counts."""
        worker.members.add("t", ["alice"])
        worker.inbox.set_mutes("alice", ["a"], ["t"])
        muted = worker.publish(to, type="a")
        worker.inbox.set_mutes("alice", ["b"], [])
        assert worker.counts("alice") == (0, 0)
        assert worker.flags("alice", muted).startswith("sr")
        worker.publish(to, type="a")
        assert worker.counts("alice") == (1, 1)

    def test_replace(self, worker: Worker) -> None:
        """Mutes are replaced as a whole; what stays muted stays so since then, and each change has a revision."""
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
        """What goes to the history only is muted for nobody."""
        worker.inbox.set_mutes("alice", ["a"], [])
        assert "suppressed" not in worker.answer("alice", type="a", retain="history")["channels"][0]


class TestMembers:
    def test_from_then_on(self, worker: Worker) -> None:
        """A member has what is published from then on; joining again, or leaving and joining, brings nothing back."""
        worker.publish("#t")
        assert worker.members.add("t", ["alice", "bob"]) == (2, [])
        second = worker.publish("#t")
        assert worker.members.add("t", ["alice"]) == (0, [])
        assert worker.ids("alice") == [second]
        assert worker.members.remove("t", ["alice"]) == 1
        assert worker.members.remove("t", ["alice"]) == 0
        worker.publish("#t")
        assert (worker.counts("alice"), worker.counts("bob")) == ((0, 0), (2, 2))
        worker.members.add("t", ["alice"])
        assert worker.counts("alice") == (0, 0)
        worker.publish("#t")
        assert worker.counts("alice") == (1, 1)

    def test_pages(self, worker: Worker) -> None:
        """Members are listed in the order of their names."""
        names = [f"user-{number:02}" for number in range(25)] + ["é", "Z"]
        worker.members.add("t", names)
        found, after = [], ""
        while page := worker.members.page("t", after, 4):
            found += page
            after = page[-1]
        assert found == sorted(names, key=str.encode)
        assert worker.members.count(["t", "nothing"]) == [27, 0]

    def test_too_many(self, make: Make) -> None:
        """Who is a member of as many topics as allowed becomes one of no other, until one is left."""
        worker = make(max_memberships=2)
        for topic in ("a", "b"):
            worker.members.add(topic, ["alice"])
        assert worker.members.add("c", ["alice", "bob"]) == (1, ["alice"])
        assert worker.members.page("c", "", 9) == ["bob"]
        assert worker.members.add("a", ["alice"]) == (0, [])
        worker.members.remove("a", ["alice"])
        assert worker.members.add("c", ["alice"]) == (1, [])
        assert sorted(worker.inbox.view("alice").state.topics) == ["b", "c"]

    def test_nobody(self, worker: Worker) -> None:
        """Nobody is nobody."""
        assert worker.members.add("t", []) == (0, [])
        assert worker.members.remove("t", []) == 0


class TestReceipts:
    def receipts(self, worker: Worker, id: str) -> dict[str, dict[str, Any]]:
        channels = worker.log.find(id) or []
        return {each.pop("channel"): each for each in worker.receipts.of(id, channels)}

    def test_user(self, worker: Worker) -> None:
        """Delivered, read and archived have the time of the first time, until they are taken back."""
        id = worker.publish("alice")
        [receipt] = self.receipts(worker, id).values()
        assert [receipt[name] for name in ("delivered_at", "read_at", "archived_at")] == [None, None, None]
        worker.inbox.acknowledge({"alice": (FUTURE, None)})
        worker.act("alice", "archive", up_to=FUTURE)
        [receipt] = self.receipts(worker, id).values()
        assert receipt["stored_at"] <= receipt["delivered_at"] <= receipt["read_at"] <= receipt["archived_at"]
        worker.inbox.acknowledge({"alice": (FUTURE, Cursor(0, 0))})
        worker.act("alice", "archive", id)
        assert list(self.receipts(worker, id).values()) == [receipt]
        worker.act("alice", "unread", id)
        [after] = self.receipts(worker, id).values()
        assert after == receipt | {"read_at": None, "archived_at": None}

    def test_shared(self, worker: Worker) -> None:
        """Of what is shared it is counted how many have it, have read it, and put it away; each user once."""
        worker.members.add("t", ["alice", "bob", "carol"])
        id = worker.publish("#t", "all")
        for user, action in [("alice", "read"), ("bob", "archive"), ("carol", "seen")]:
            for _ in range(2):
                worker.inbox.acknowledge({user: (FUTURE, None)})
                worker.act(user, action, id)
        assert self.receipts(worker, id)["all"] | {"stored_at": 0} == {
            "stored_at": 0,
            "delivered": 3,
            "read": 2,
            "archived": 1,
        }
        for user in ("alice", "bob", "carol"):
            worker.act(user, "read", up_to=FUTURE)
        assert self.receipts(worker, id)["all"]["read"] == 3
        worker.act("bob", "unread", id)
        receipt = self.receipts(worker, id)["all"]
        assert (receipt["read"], receipt["archived"]) == (2, 0)

    def test_ack_since(self, worker: Worker) -> None:
        """An ack says nothing of what came before its client did."""
        first, second = worker.answer("alice"), worker.answer("alice")
        place = cursor.parse(first["channels"][0]["cursor"])
        worker.inbox.acknowledge({"alice": (FUTURE, place)})
        receipts = [self.receipts(worker, each["id"])["user:alice"] for each in (first, second)]
        assert [receipt["delivered_at"] is None for receipt in receipts] == [True, False]

    def test_ack_of_the_future(self, worker: Worker) -> None:
        """An ack from the future means now: what comes next is not delivered by it."""
        worker.inbox.acknowledge({"alice": (FUTURE, None)})
        worker.inbox.acknowledge({"alice": (FUTURE, None)})
        deadline = time.monotonic() + DEADLINE
        delivered: object = True
        while delivered:  # the millisecond of the ack itself counts as now
            assert time.monotonic() < deadline
            delivered = self.receipts(worker, worker.publish("alice"))["user:alice"]["delivered_at"]

    def test_gone(self, make: Make) -> None:
        """What has left a channel has no receipt there."""
        worker = make(max_history=1)
        id = worker.publish("alice", "all")
        worker.act("alice", "read", id)
        worker.publish("alice")
        assert list(self.receipts(worker, id)) == ["all"]
        worker.recall(id)
        assert self.receipts(worker, id) == {}

    def test_explain(self, worker: Worker) -> None:
        """It is told what would happen with whom, and why; and nothing happens."""
        worker.members.add("t", ["alice", "bob"])
        worker.inbox.set_mutes("alice", ["a"], [])
        worker.inbox.set_mutes("bob", [], ["t"])
        body = json.dumps({"to": {"users": ["alice", "bob"], "topics": ["t"], "all": True}, "type": "a"}).encode()
        found = {each["channel"]: each for each in worker.receipts.explain(notification.parse(body, Limits()))}
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


class TestUsers:
    def test_erase(self, make: Make, client: redis.Redis) -> None:
        """Of whom was erased not one key is left but that of the cut; nor does another key name them."""
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
        worker.users.erase(name)  # once more does no harm

    def test_begin_again(self, worker: Worker) -> None:
        """Who was erased begins anew: with what is everybody's, unread."""
        worker.publish("all")
        worker.act("alice", "read", up_to=FUTURE)
        worker.users.erase("alice")
        assert worker.counts("alice") == (1, 1)
        worker.publish("alice")
        assert worker.counts("alice") == (2, 2)

    def test_export(self, worker: Worker) -> None:
        """An export has all items, archived ones too, the history, topics and mutes."""
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


class TestWorkers:
    def test_two_devices(self, make: Make) -> None:
        """Two workers that do opposite things with the same items at once: one of them was last, and all agree."""
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
        for id in ids[::2]:  # what is shared is counted by each change; the sum is what is so now
            [receipt] = third.receipts.of(id, ["all"])
            flags = third.flags("alice", id)
            assert (receipt["read"], receipt["archived"]) == ("r" in flags, "a" in flags)

    def test_members_at_once(self, make: Make) -> None:
        """Whoever becomes a member and ceases to be one at the same time is in the list of the topic or is not."""
        workers, users = [make(), make()], [f"user-{number}" for number in range(30)]
        for user in users:
            both = [
                threading.Thread(target=act, args=("t", [user]))
                for act in (workers[0].members.add, workers[1].members.remove)
            ]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join(DEADLINE)
        states = workers[0].inbox.states(users)
        having = {user for user, state in zip(users, states, strict=True) if "t" in state.topics}
        assert set(workers[0].members.page("t", "", 100)) == having

    def test_readers_at_once(self, make: Make) -> None:
        """Many that read the same long logs at once all see everything."""
        worker = make()
        for _ in range(1000):
            worker.publish("all")
        found: list[Counts] = []
        threads = [threading.Thread(target=lambda: found.append(worker.counts("alice"))) for _ in range(8)]
        worker.digests.forget()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert found == [(1000, 1000)] * 8

    def test_forgotten_scripts(self, worker: Worker, client: redis.Redis) -> None:
        """A server that has forgotten its scripts, as after a restart, is taught them anew."""
        steps: list[Callable[[], object]] = [
            lambda: worker.publish("alice"),
            lambda: worker.members.add("t", ["alice"]),
            lambda: worker.counts("alice"),
            lambda: worker.items("alice"),
            lambda: worker.act("alice", "read", up_to=FUTURE),
            lambda: worker.inbox.acknowledge({"alice": (FUTURE, None)}),
            lambda: worker.inbox.set_mutes("alice", ["a"], []),
            lambda: worker.receipts.of(NOBODY, ["user:alice"]),
            lambda: worker.users.export("alice"),
            lambda: worker.users.erase("alice"),
        ]
        for step in steps:
            client.script_flush()
            step()


def lose_end(worker: Worker, client: redis.Redis, channel: str, count: int) -> None:
    """Let a log lose its last entries, as in a failover to a replica that did not have them."""
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
        """What a failover has lost of a shared log counts no more; what is published then does."""
        for _ in range(10):
            worker.publish("all")
        assert worker.counts("alice") == (10, 10)
        lose_end(worker, client, "all", lost)
        assert worker.counts("alice") == (10 - lost, 10 - lost)
        worker.publish("all")
        assert worker.counts("alice") == (11 - lost, 11 - lost) and len(worker.ids("alice")) == 11 - lost

    def test_gone_on_behind(self, make: Make, client: redis.Redis) -> None:
        """Where others have gone on behind the loss before it was looked at, it is noticed with the connection."""
        worker, other = make(), make()
        for _ in range(10):
            worker.publish("all")
        assert worker.counts("alice") == (10, 10)
        lose_end(worker, client, "all", 2)
        other.publish("all")
        worker.digests.forget()  # what a worker does when its connection was lost
        assert worker.counts("alice") == other.counts("alice") == (9, 9)

    def test_everything_gone(self, worker: Worker, client: redis.Redis) -> None:
        """On an empty database an inbox is empty, and begins anew."""
        worker.publish("all")
        worker.publish("alice")
        assert worker.counts("alice") == (2, 2)
        client.delete(*(key for key in client.keys(worker.store.sharded("x")[:10] + "*")))
        assert worker.counts("alice") == (0, 0)
        worker.publish("all")
        worker.publish("alice")
        assert worker.counts("alice") == (2, 2)


class TestLifetimes:
    def test_every_key(self, make: Make, client: redis.Redis) -> None:
        """All that is written goes by itself, but for what a backend or a user has set: members, topics and mutes."""
        worker, name = make(), f"user-{uuid4().hex}"
        worker.members.add("t", [name])
        worker.inbox.set_mutes(name, ["a"], [])
        ids = [worker.publish(name, "all", "#t", ttl=600, type=type, collapse_key=type) for type in "ab"]
        worker.inbox.acknowledge({name: (FUTURE, None)})
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
        """What is kept about the entries of a log goes with the log: a new item is unread, and nothing is negative."""
        read = worker.publish("alice", ttl=600)
        worker.publish("alice", "bob", "#t")
        worker.act("alice", "read", read)
        worker.inbox.acknowledge({"alice": (FUTURE, None)})
        names = ("log", "inbox", "expiring", "twins", "read", "seen", "receipts")
        keys = {name: worker.store.of("user:alice", name) for name in names}
        times = {name: client.pexpiretime(key) for name, key in keys.items()}
        assert len(set(times.values())) == 1 and min(times.values()) > 0, times
        client.delete(*keys.values())  # their time has come
        view = worker.inbox.view("alice")
        assert (view.counts, view.expires) == ((0, 0), 0)
        worker.publish("alice")
        assert worker.counts("alice") == (1, 1)

    def test_kept_together(self, make: Make, client: redis.Redis) -> None:
        """What was muted stays uncounted as long as the log is kept by what comes after it."""
        worker = make(user_history_age=2)
        worker.inbox.set_mutes("alice", ["a"], [])
        end = time.monotonic() + 3
        while time.monotonic() < end:
            worker.publish("alice", type="a")
            assert worker.counts("alice") == (0, 0)
        keys = [worker.store.of("user:alice", key) for key in ("log", "inbox", "read", "seen")]
        assert len({client.pexpiretime(key) for key in keys}) == 1

    def test_marks_outlive_what_they_are_about(self, make: Make, client: redis.Redis) -> None:
        """As long as an item may be kept, it is known what was done with it; exceptions of older ones are dropped."""
        worker = make(user_history_age=100, topic_history_age=100)
        ids = [worker.publish("all") for _ in range(2)]
        shared = worker.store.of("user:alice", "shared")
        old = int(time.time() - 3 * 3600) * 1000
        client.zadd(shared, {f"r {old}-0 all": Cursor(old, 0).rank, "r 1-0 topic:x": Cursor(1, 0).rank})
        worker.act("alice", "read", *ids)
        assert {member.split()[1].decode() for member in client.zrange(shared, 0, -1)} == {
            str(item.cursor) for item in worker.items("alice")
        }
        log = client.pttl(worker.store.of("all", "log"))
        for key in ("state", "shared"):
            assert client.pttl(worker.store.of("user:alice", key)) >= 2 * log - 2 * 3_600_000
