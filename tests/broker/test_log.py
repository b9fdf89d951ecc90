"""The logs and their scripts, on a real server."""

import time
from collections.abc import Callable
from uuid import uuid4

import pytest
import redis

from notifier.broker.log import PAGE, Append, Appended, Log
from notifier.broker.redis_connection import pack
from notifier.errors import BrokerUnavailable
from notifier.protocol import cursor
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, EXPIRED, HISTORY, NOTIFICATION, REMOVED, Page
from tests.kit.broker import Listener, Make, append, bodies, body_of, ids, new_id, now, publish, read, sharded
from tests.kit.waiting import DEADLINE, next_millisecond

AGE = 1  # seconds: the shortest time after which something can be too old
DAY = 86400 * 1000  # ms
NEVER_HEARD_OF = Cursor(10**15, 0)  # a position behind everything


class TestIds:
    def test_rise(self, log: Log, user: str) -> None:
        """Ids of a channel rise, also within a millisecond."""
        cursors = [append(log, user) for _ in range(50)]
        assert cursors == sorted(set(cursors))
        assert ids(read(log, user)) == cursors

    def test_time(self, log: Log, user: str) -> None:
        """An id is the time of the server."""
        before = now()
        assert before <= append(log, user).ms <= now()

    def test_clock_of_the_future(self, make: Make, user: str, topic: str) -> None:
        """An id is not before what its worker has seen elsewhere."""
        clock = Clock()
        ahead = now() + DAY
        clock.observe(ahead)
        log = make(clock).log
        assert append(log, user).ms == append(log, topic).ms == ahead

    def test_never_back(self, make: Make, user: str) -> None:
        """All ids after an id of the future are higher, for every worker and every kind of entry."""
        clock = Clock()
        clock.observe(now() + DAY)
        cursors = [append(make(clock).log, user)]
        for kind in (NOTIFICATION, EPHEMERAL, HISTORY, EPHEMERAL, REMOVED):
            cursors.append(append(make().log, user, kind=kind))
        assert cursors == sorted(set(cursors))

    def test_ends(self, make: Make, log: Log, user: str, topic: str) -> None:
        """The last entry of each log is returned; an empty log ends at the beginning."""
        last = [append(log, user) for _ in range(3)][-1]
        append(log, user, kind=EPHEMERAL)
        assert make().log.log_ends([topic, user]) == [(BEGINNING,) * 3, (last, BEGINNING, BEGINNING)]

    def test_floor(self, make: Make, user: str) -> None:
        """The floor of a log is returned with its last entry."""
        cursors = [append(make(max_history=2).log, user) for _ in range(3)]
        assert make().log.log_ends([user]) == [(cursors[2], cursors[0], BEGINNING)]

    def test_no_ends(self, log: Log) -> None:
        """Without channels no ends are returned."""
        assert log.log_ends([]) == []


class TestAppend:
    def test_as_it_came(self, log: Log, user: str) -> None:
        """A body is stored byte for byte, with its kind."""
        body = b'{"id":"x","title":"caf\\u00e9 \xc3\xa9  \x7f"}'
        for kind in (NOTIFICATION, HISTORY, REMOVED):
            append(log, user, body, kind)
        assert [(each.kind, each.body, each.previous) for each in read(log, user).entries] == [
            (kind, body, b"") for kind in (NOTIFICATION, HISTORY, REMOVED)
        ]

    def test_batches(self, log: Log, user: str, topic: str) -> None:
        """Each publication has its answers, one for each channel, in order."""
        batches = [
            [Append(user, NOTIFICATION, b"1"), Append(topic, NOTIFICATION, b"1")],
            [],
            [Append(user, NOTIFICATION, b"2")],
        ]
        first, nothing, second = log.append(batches, [])
        assert (len(first), nothing, len(second)) == (2, [], 1)
        assert [str(each) for each in ids(read(log, user))] == [first[0].cursor, second[0].cursor]
        assert [str(each) for each in ids(read(log, topic))] == [first[1].cursor]
        assert log.append([], []) == []

    def test_push(self, log: Log, user: str, listen: Callable[[str], Listener]) -> None:
        """Workers receive the id, the id of the log's previous entry, the kind and the body."""
        first = append(log, user, b"{ 1 }")
        listener = listen(user)
        second, third = append(log, user, b"{ 2 }", HISTORY), append(log, user, b"x", REMOVED)
        assert listener.receive(2) == [b"%b %b h { 2 }" % (str(second).encode(), str(first).encode())] + [
            b"%b %b r x" % (str(third).encode(), str(second).encode())
        ]

    def test_first_push(self, log: Log, user: str, listen: Callable[[str], Listener]) -> None:
        """The first entry of a channel has 0-0 as the previous id."""
        listener = listen(user)
        assert listener.receive(0) == []
        first = append(log, user)
        assert listener.receive(1) == [b"%b 0-0 i {}" % str(first).encode()]

    def test_online(self, log: Log, user: str, topic: str, listen: Callable[[str], Listener]) -> None:
        """The result of an append states whether a worker is subscribed to the channel."""
        listen(user)
        [results] = log.append([[Append(user, NOTIFICATION, b"{}"), Append(topic, NOTIFICATION, b"{}")]], [])
        assert [result.online for result in results] == [True, False]

    def test_ephemeral(self, log: Log, user: str, listen: Callable[[str], Listener]) -> None:
        """An entry that is not retained is received with an id of its own, is in no log, and no entry follows it."""
        first = append(log, user)
        listener = listen(user)
        passing = append(log, user, b"{ 1 }", EPHEMERAL)
        second = append(log, user)
        assert first < passing < second
        assert listener.receive(2) == [
            b"%b %b e { 1 }" % (str(passing).encode(), str(first).encode()),
            b"%b %b i {}" % (str(second).encode(), str(first).encode()),
        ]
        assert ids(read(log, user)) == [first, second]

    def test_prefix(self, make: Make, user: str) -> None:
        """Services with different prefixes share nothing."""
        append(make(redis_prefix="one").log, user)
        assert len(ids(read(make(redis_prefix="one").log, user))) == 1
        assert ids(read(make(redis_prefix="two").log, user)) == []

    def test_too_few_replicas(self, make: Make, user: str) -> None:
        """An entry that too few replicas have is not acknowledged."""
        with pytest.raises(BrokerUnavailable):
            append(make(min_replicas=1, redis_timeout=0.2).log, user)


class TestDedupeKeys:
    def test_retry(self, log: Log, user: str, listen: Callable[[str], Listener]) -> None:
        """An append that is tried again under its mark changes nothing, and answers with the first one's cursor."""
        listener = listen(user)
        for kind in (NOTIFICATION, EPHEMERAL):
            mark = str(uuid4())
            first = append(log, user, b"{}", kind, dedupe_key=mark)
            assert append(log, user, b"{ other }", kind, dedupe_key=mark) == first
        last = append(log, user, b"last")
        assert [heard.split(b" ", 3)[3] for heard in listener.receive(3)] == [b"{}", b"{}", b"last"]
        assert bodies(log, user) == [b"{}", b"last"]
        assert last > first

    def test_half(self, log: Log, user: str, topic: str) -> None:
        """A publication that was cut off in the middle is completed by a retry."""
        mark = str(uuid4())
        first = append(log, user, dedupe_key=mark)
        batch = [Append(channel, NOTIFICATION, b"{}", dedupe_key=mark) for channel in (user, topic)]
        [[again, new]] = log.append([batch], [])
        assert again.cursor == str(first)
        assert (ids(read(log, user)), ids(read(log, topic))) == ([first], [cursor.parse(new.cursor)])

    def test_several(self, log: Log, user: str) -> None:
        """Other marks are other publications."""
        assert append(log, user, dedupe_key="one") < append(log, user, dedupe_key="two")
        assert len(bodies(log, user)) == 2


class TestBounds:
    def test_number(self, make: Make, user: str) -> None:
        """A log has a maximum number of entries; the last trimmed entry is its floor."""
        log = make(max_history=3).log
        cursors = [append(log, user) for _ in range(3)]
        assert read(log, user).floor == BEGINNING
        cursors += [append(log, user) for _ in range(2)]
        assert read(log, user) == Page(read(log, user).entries, True, cursors[1])
        assert ids(read(log, user)) == cursors[2:]

    def test_smaller_number(self, make: Make, user: str) -> None:
        """If the limit is lower than before, all entries above it are trimmed."""
        cursors = [append(make().log, user) for _ in range(10)]
        last = append(make(max_history=2).log, user)
        assert ids(read(make().log, user)) == [cursors[-1], last]
        assert read(make().log, user).floor == cursors[-2]

    def test_age(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """Entries that are too old are trimmed by the next append; subscribers still receive all new entries."""
        log = make(topic_history_age=AGE, max_history=10**6).log
        listener = listen(topic)
        cursors: list[Cursor] = []
        deadline = time.monotonic() + DEADLINE
        page = read(log, topic)
        while page.floor == BEGINNING or not page.entries:  # after a pause, the whole log has expired
            assert time.monotonic() < deadline, "nothing falls out"
            cursors += [append(log, topic) for _ in range(5)]
            page = read(log, topic)
        assert ids(page)[0] == cursors[cursors.index(page.floor) + 1]
        assert cursors[-1].ms - page.floor.ms > 1000 * AGE
        assert [heard.split()[0].decode() for heard in listener.receive(len(cursors))] == [
            str(each) for each in cursors
        ]

    def test_ages(self, make: Make, client: redis.Redis, user: str, topic: str) -> None:
        """Logs live as long as their entries may; their metadata live longer."""
        log = make(topic_history_age=100, user_history_age=200).log
        for channel, age in ((topic, 100_000), (user, 200_000), ("all", 200_000)):
            append(log, channel)
            base = sharded(channel)
            assert age <= client.pttl(f"{base}:log") <= 1.1 * age
            assert client.pttl(f"{base}:meta") > 7 * DAY

    def test_nothing_stays_for_ever(self, log: Log, client: redis.Redis, topic: str) -> None:
        """Every key that a channel makes expires, in whatever order its entries come."""
        append(log, topic, kind=EPHEMERAL)
        append(log, topic, dedupe_key="m")
        append(log, topic, collapse_key="k")
        publish(log, topic)
        keys = list(client.scan_iter(f"*{topic}*"))
        assert len(keys) == 4
        assert {key: client.pttl(key) for key in keys if client.pttl(key) < 0} == {}

    def test_ttl(self, make: Make, user: str) -> None:
        """An entry that has outlived its ttl is not read, and is trimmed without counting as lost."""
        log = make(max_history=2).log
        append(log, user, b"old", expires=now() - 1)
        kept = append(log, user, b"kept", expires=now() + DAY)
        assert ids(read(log, user)) == [kept]
        append(log, user)
        assert read(log, user).floor == BEGINNING
        append(log, user)
        assert read(log, user).floor == kept

    def test_floor_among_expired(self, make: Make, user: str) -> None:
        """If several entries are trimmed at once, the last one that had not expired is the floor."""
        cursors = [append(make().log, user, expires=expires) for expires in (0, now() - 1, 0, now() - 1)]
        append(make(max_history=1).log, user)
        assert read(make().log, user).floor == cursors[2]


class TestRegression:
    """A log that lacks entries that were seen: an incomplete replica has been promoted."""

    def lose_the_end(self, make: Make, client: redis.Redis, user: str) -> tuple[Cursor, Cursor]:
        """Append two entries and lose the second; return both."""
        kept = append(make().log, user)
        meta = client.hgetall(f"{sharded(user)}:meta")
        lost = append(make().log, user)
        client.xdel(f"{sharded(user)}:log", str(lost))
        client.hset(f"{sharded(user)}:meta", mapping=meta)
        next_millisecond()  # in which no entry gets the id of the lost one
        return kept, lost

    def test_noted(self, make: Make, client: redis.Redis, user: str) -> None:
        """An entry that was seen and no longer exists counts as trimmed. All later ids follow the time of the find."""
        kept, lost = self.lose_the_end(make, client, user)
        clock = Clock()
        clock.observe(now() + DAY)
        before = append(make().log, user, kind=EPHEMERAL)
        make(clock).log.note_regression([(user, lost)])
        [(last, floor, found)] = make().log.log_ends([user])
        assert (last, floor) == (kept, lost)
        assert (read(make().log, user).floor, read(make().log, user).found) == (lost, found)
        assert max(before, clock.cursor) < found < append(make().log, user)

    def test_announced(self, make: Make, client: redis.Redis, user: str, listen: Callable[[str], Listener]) -> None:
        """Workers that are subscribed to the channel are notified of a loss, once."""
        _, lost = self.lose_the_end(make, client, user)
        listener = listen(user)
        for _ in range(2):
            make().log.note_regression([(user, lost)])
        append(make().log, user)
        announced, after = listener.receive(2)
        [ends] = make().log.log_ends([user])
        assert announced == b"lost %b" % str(ends.found).encode()
        assert after.startswith(str(ends.last).encode())

    def test_found(self, make: Make, client: redis.Redis, user: str) -> None:
        """The time of a find is no entry that can be lost."""
        _, lost = self.lose_the_end(make, client, user)
        make().log.note_regression([(user, lost)])
        [ends] = make().log.log_ends([user])
        append(make().log, user)
        assert make().log.note_regression([(user, ends.found)]) == 0

    def test_gone_on(self, make: Make, client: redis.Redis, user: str) -> None:
        """A loss is recorded once, even if other entries were appended before it was detected."""
        kept, lost = self.lose_the_end(make, client, user)
        last = append(make().log, user)
        assert [make().log.note_regression([(user, lost)]) for _ in range(2)] == [1, 0]
        assert make().log.log_ends([user])[0][:2] == (last, lost)

    @pytest.mark.parametrize("key", ["", "one"])
    @pytest.mark.parametrize("later", [["one"], ["one", "one"], ["one", "recalled"], ["one"] * 40])
    def test_replaced_nothing(self, make: Make, client: redis.Redis, user: str, key: str, later: list[str]) -> None:
        """Later entries that replace or remove others do not hide a loss: they have not removed what was lost."""
        kept, lost = self.lose_an_entry(make, client, user, key)
        for each in later:
            if each == "recalled":
                make().log.recall(publish(make().log, user))
            else:
                last = append(make().log, user, collapse_key=each)
        assert [make().log.note_regression([(user, lost)]) for _ in range(2)] == [1, 0]
        assert make().log.log_ends([user])[0][1] == lost
        assert read(make().log, user).floor == lost
        assert {kept, last} <= set(ids(read(make().log, user)))

    def lose_an_entry(self, make: Make, client: redis.Redis, user: str, key: str = "") -> tuple[Cursor, Cursor]:
        """Append two entries, and return to the moment between them; return both."""
        kept, pattern = append(make().log, user), f"{sharded(user)}:*"
        before = {name: client.dump(name) for name in client.scan_iter(pattern, count=1000)}
        lost = append(make().log, user, collapse_key=key)
        client.delete(*client.scan_iter(pattern, count=1000))
        for name, dump in before.items():
            client.restore(name, 0, dump or b"")
        next_millisecond()
        return kept, lost

    def test_nothing_lost(self, log: Log, user: str) -> None:
        """A log that ends at or after the last entry that was seen has lost nothing."""
        cursors = [append(log, user) for _ in range(2)]
        assert log.note_regression([(user, each) for each in cursors]) == 0
        assert read(log, user).floor == BEGINNING

    def test_taken_away(self, log: Log, user: str, topic: str) -> None:
        """Entries that were recalled or replaced are not lost."""
        recalled = publish(log, user)
        replaced = append(log, topic, collapse_key="one")
        [(seen, *_)] = log.log_ends([user])
        log.recall(recalled)
        append(log, topic, collapse_key="one")
        assert log.note_regression([(user, seen), (topic, replaced)]) == 0

    def test_taken_away_before_others(self, log: Log, client: redis.Redis, user: str) -> None:
        """An entry that was replaced is not lost, although a hundred others were replaced after it."""
        replaced = append(log, user, collapse_key="one")
        append(log, user, collapse_key="one")
        log.append([[Append(user, NOTIFICATION, b"{}", collapse_key="other") for _ in range(150)]], [])
        key = f"{sharded(user)}:removed"
        assert client.llen(key) == 100 and 0 < client.pttl(key) <= 600_000
        assert log.note_regression([(user, replaced)]) == 0

    def test_taken_away_long_ago(self, log: Log, client: redis.Redis, user: str) -> None:
        """An entry that was replaced longer ago than a channel remembers is not lost."""
        old = Cursor(now() - 700_000, 0)
        client.xadd(f"{sharded(user)}:log", {"i": "{}", "c": "one"}, id=str(old))
        client.hset(f"{sharded(user)}:collapse", "one", str(old))
        append(log, user, collapse_key="one")
        client.delete(f"{sharded(user)}:removed")  # as if it had expired
        assert log.note_regression([(user, old)]) == 0

    def test_bounds(self, make: Make, client: redis.Redis, user: str) -> None:
        """Entries that are trimmed afterwards do not hide the lost ones."""
        first = append(make().log, user)
        _, lost = self.lose_the_end(make, client, user)
        make().log.note_regression([(user, lost)])
        append(make(max_history=2).log, user)
        assert first not in ids(read(make().log, user))
        assert read(make().log, user).floor == lost

    def test_never_back(self, make: Make, client: redis.Redis, user: str) -> None:
        """A floor does not go down."""
        kept, lost = self.lose_the_end(make, client, user)
        later = lost._replace(ms=lost.ms + 5)
        make().log.note_regression([(user, later)])
        make().log.note_regression([(user, lost)])
        assert read(make().log, user).floor == later

    @pytest.mark.parametrize("key", ["", "k"])
    def test_lost_where_nobody_listened(self, make: Make, client: redis.Redis, user: str, topic: str, key: str) -> None:
        """A worker detects the loss of entries that it has appended itself, even without subscribers."""
        log = make().log
        kept, other = append(log, user), append(log, topic)
        lost = append(log, user, dedupe_key=key)
        append(log, topic, kind=EPHEMERAL)
        assert log.note_lost_ends() == 0
        client.xdel(f"{sharded(user)}:log", str(lost))
        client.hset(f"{sharded(user)}:meta", mapping={"logged": str(kept), "last": str(kept)})
        assert log.note_lost_ends() == 1
        assert log.note_lost_ends() == 0
        assert [ends[:2] for ends in make().log.log_ends([user, topic])] == [(kept, lost), (other, BEGINNING)]

    def test_lost_before_others(self, make: Make, client: redis.Redis, user: str) -> None:
        """A worker detects the loss of its entries also if it appends others before it looks for them."""
        broker = make()
        append(broker.log, user)
        assert broker.log.note_lost_ends() == 0
        keys = [f"{sharded(user)}:{what}" for what in ("log", "meta")]
        before = {key: client.dump(key) for key in keys}
        lost = append(broker.log, user)
        for key, value in before.items():
            client.restore(key, 0, value or b"", replace=True)
        broker.store.close()
        next_millisecond()  # otherwise the next entry gets the same id
        append(broker.log, user)
        assert broker.log.may_have_lost_ends
        assert [broker.log.note_lost_ends() for _ in range(2)] == [1, 0]
        assert not broker.log.may_have_lost_ends
        assert read(make().log, user).floor == lost

    def test_lost_recall(self, make: Make, client: redis.Redis, user: str, topic: str) -> None:
        """A worker detects the loss of a recall that it carried out, even if another one published the notification."""
        id = publish(make().log, user, topic)
        keys = [f"{sharded(user)}:{what}" for what in ("log", "meta", "removed", "collapse")]
        before = {key: client.dump(key) for key in keys}
        log = make().log
        log.recall(id)
        assert log.note_lost_ends() == 0
        [recalled] = ids(read(log, user))
        client.delete(*keys)
        for key, value in before.items():
            if value:
                client.restore(key, 0, value)
        assert log.note_lost_ends() == 1
        assert read(log, user).floor == recalled

    def test_all_lost(self, log: Log, client: redis.Redis, user: str) -> None:
        """A channel without entries has lost those that were seen; the record of the loss expires."""
        seen = Cursor(now() - 5, 0)
        log.note_regression([(user, seen)])
        assert read(log, user).floor >= seen
        assert client.pttl(f"{sharded(user)}:meta") > 0


class TestCollapse:
    def test_replace(self, log: Log, user: str, topic: str) -> None:
        """An entry replaces the one of its channel with the same key, and nothing is lost by that."""
        for channel in (user, topic):
            append(log, channel, b"1", collapse_key="k")
            append(log, channel, b"2", collapse_key="other")
            append(log, channel, b"3")
            append(log, channel, b"4", collapse_key="k")
            assert bodies(log, channel) == [b"2", b"3", b"4"]
            assert read(log, channel).floor == BEGINNING

    def test_other_channels(self, log: Log, user: str, topic: str) -> None:
        """A key counts within its channel."""
        append(log, user, b"1", collapse_key="k")
        append(log, topic, b"2", collapse_key="k")
        assert bodies(log, user) == [b"1"]

    def test_again_and_again(self, make: Make, user: str) -> None:
        """Entries that replace each other never fill a log."""
        log = make(max_history=2).log
        first = append(log, user, b"first")
        for index in range(20):
            append(log, user, b"%d" % index, collapse_key="k")
        assert bodies(log, user) == [b"first", b"19"]
        assert ids(read(log, user))[0] == first

    def test_fell_out(self, make: Make, client: redis.Redis, user: str) -> None:
        """A key whose entry was trimmed is forgotten, and may be used again."""
        log = make(max_history=1).log
        append(log, user, collapse_key="k")
        append(log, user)
        assert client.hkeys(f"{sharded(user)}:collapse") == []
        append(log, user, b"new", collapse_key="k")
        assert bodies(log, user) == [b"new"]

    def test_replaced_later(self, make: Make, client: redis.Redis, user: str) -> None:
        """If an entry is trimmed whose key a later entry has, the later entry keeps the key."""
        log = make(max_history=2).log
        append(log, user, collapse_key="k")
        append(log, user, collapse_key="k")
        append(log, user)
        assert client.hkeys(f"{sharded(user)}:collapse") == [b"k"]

    def test_ttl_and_key(self, log: Log, user: str) -> None:
        """An entry may have a ttl and a key."""
        append(log, user, b"1", expires=now() + DAY, collapse_key="k")
        append(log, user, b"2", expires=now() + DAY, collapse_key="k")
        assert bodies(log, user) == [b"2"]


class TestRead:
    def test_position(self, log: Log, user: str) -> None:
        """Entries after a position are read; the entry at the position is not."""
        cursors = [append(log, user) for _ in range(3)]
        assert ids(read(log, user, cursors[0])) == cursors[1:]
        assert ids(read(log, user, cursors[2])) == []

    def test_pages(self, log: Log, user: str) -> None:
        """A long log is read in pages; only the last page is complete."""
        for _ in range(2):
            log.append([[Append(user, NOTIFICATION, b"{}") for _ in range(PAGE)]], [])
        append(log, user)
        sizes, position, complete = [], BEGINNING, False
        while not complete:
            page = read(log, user, position)
            sizes.append(len(page.entries))
            position, complete = ids(page)[-1], page.complete
        assert sizes == [PAGE, PAGE, 1]

    def test_long_bodies(self, log: Log, user: str) -> None:
        """Pages of long notifications are shorter, and lead to everything."""
        cursors = [append(log, user, b"x" * 20_000) for _ in range(12)]
        page = read(log, user)
        sizes, found = [len(page.entries)], ids(page)
        while not page.complete:
            page = read(log, user, found[-1])
            sizes.append(len(page.entries))
            found += ids(page)
        assert found == cursors
        assert max(sizes) < len(cursors)

    def test_many(self, log: Log, user: str, topic: str) -> None:
        """Where many positions are read at once, each page still leads on."""
        first, *_ = [append(log, user, b"x" * 20_000) for _ in range(3)]
        pages = log.read([(user, BEGINNING)] * 300 + [(topic, BEGINNING)], now())
        assert [ids(page)[:1] for page in pages] == [[first]] * 300 + [[]]

    def test_full_page(self, log: Log, user: str) -> None:
        """A full page is not complete, even if no entry follows it."""
        log.append([[Append(user, NOTIFICATION, b"{}") for _ in range(PAGE)]], [])
        page = read(log, user)
        assert not page.complete
        assert read(log, user, ids(page)[-1]).complete

    def test_page_of_the_dead(self, log: Log, user: str) -> None:
        """A page whose entries have all expired still leads to the entries after it."""
        log.append([[Append(user, NOTIFICATION, b"{}", expires=1) for _ in range(PAGE)]], [])
        last = append(log, user)
        catch_up, found = CatchUp({user: BEGINNING}, 0), []
        for _ in range(5):
            [position] = catch_up.read(lambda _: BEGINNING).values()
            step = catch_up.take({user: read(log, user, position)})
            catch_up.sent(step.entries)
            found += [cursor.parse(entry.id) for _, entry in step.entries if entry.kind != EXPIRED]
            if step.is_last:
                break
            catch_up.pause()
        assert found == [last]

    def test_several(self, log: Log, user: str, topic: str) -> None:
        """Several positions are read at once, in their order, also two of one channel."""
        cursors = [append(log, user) for _ in range(2)]
        other = append(log, topic)
        positions = [(topic, BEGINNING), (user, cursors[0]), (user, BEGINNING), (topic, NEVER_HEARD_OF)]
        pages = log.read(positions, now())
        assert [ids(page) for page in pages] == [[other], cursors[1:], cursors, []]
        assert log.read([], now()) == []

    def test_nothing_known(self, make: Make, client: redis.Redis, user: str) -> None:
        """The losses of a channel are known for `Log.remembers()`, which is longer than its entries are stored."""
        log = make(user_history_age=100).log
        assert read(log, user) == Page([], True, BEGINNING)
        append(log, user)
        assert client.pttl(f"{sharded(user)}:meta") >= log.remembers(user) > 7 * DAY

    def test_expired_log(self, log: Log, client: redis.Redis, user: str) -> None:
        """A log that has expired as a whole has lost all of its entries."""
        last = [append(log, user) for _ in range(2)][-1]
        client.delete(f"{sharded(user)}:log")  # as its age does
        assert read(log, user) == Page([], True, last)

    def test_after_an_expired_log(self, log: Log, client: redis.Redis, user: str) -> None:
        """The entries of an expired log stay lost when a new one is appended."""
        last = [append(log, user) for _ in range(2)][-1]
        client.delete(f"{sharded(user)}:log")  # as its age does
        new = append(log, user)
        page = read(log, user)
        assert ids(page) == [new]
        assert page.floor == last

    def test_emptied_log(self, log: Log, client: redis.Redis, user: str) -> None:
        """A log whose last entry was taken out has lost nothing."""
        append(log, user, collapse_key="k")
        client.xtrim(f"{sharded(user)}:log", maxlen=0, approximate=False)
        assert read(log, user) == Page([], True, BEGINNING)

    def test_read_does_not_change_the_clock(self, make: Make, user: str) -> None:
        """Entries that are read are from the past: they set no clock."""
        clock = Clock()
        append(make().log, user)
        read(make(clock).log, user)
        assert clock.ms == 0


class TestRecall:
    def test_recall(self, log: Log, user: str, topic: str, listen: Callable[[str], Listener]) -> None:
        """A recalled notification is removed from all of its logs, and every subscribed worker is notified."""
        id = publish(log, user, topic)
        other = publish(log, user)
        listeners = [listen(channel) for channel in (user, topic)]
        assert log.recall(id) == [user, topic]
        for listener in listeners:
            [heard] = listener.receive(1)
            assert heard.split(b" ", 2)[2] == b"r " + id.encode()
        entries = read(log, user).entries
        assert [(each.kind, each.body) for each in entries] == [
            (NOTIFICATION, body_of(other)),
            (REMOVED, id.encode()),
        ]
        assert [each.kind for each in read(log, topic).entries] == [REMOVED]
        assert read(log, user).floor == BEGINNING

    def test_find(self, log: Log, user: str, topic: str) -> None:
        """The channels of a notification are known until it is recalled."""
        id = publish(log, user, topic)
        assert log.find(id) == [user, topic]
        log.recall(id)
        assert log.find(id) is None

    def test_twice(self, log: Log, user: str) -> None:
        """A second recall changes nothing."""
        id = publish(log, user)
        log.recall(id)
        entries = read(log, user).entries
        assert log.recall(id) == []
        assert read(log, user).entries == entries

    def test_unknown(self, log: Log) -> None:
        """A notification that was never published is in no log."""
        assert log.find(new_id()) is None
        assert log.recall(new_id()) == []

    def test_gone_already(self, make: Make, user: str) -> None:
        """A trimmed notification can still be recalled, because a client may show it."""
        log = make(max_history=1).log
        id = publish(log, user)
        append(log, user)
        assert log.recall(id) == [user]
        assert [(each.kind, each.body) for each in read(log, user).entries] == [(REMOVED, id.encode())]

    @pytest.mark.parametrize("place", [0, 7, 8, 9, 149])
    def test_long_log(self, log: Log, user: str, place: int) -> None:
        """A notification is found wherever in a long log it is, and no other is taken for it."""
        recalled = [publish(log, user) for _ in range(150)]
        before = bodies(log, user) + [each.body for each in read(log, user, ids(read(log, user))[-1]).entries]
        id = recalled[place]
        log.recall(id)
        first = read(log, user)
        after = [*first.entries, *read(log, user, ids(first)[-1]).entries]
        assert [each.body for each in after] == [*(body for body in before if body != body_of(id)), id.encode()]

    def test_collapse(self, log: Log, client: redis.Redis, user: str) -> None:
        """The key of a recalled notification is forgotten; that of a later one is kept."""
        id = publish(log, user, collapse_key="k")
        log.recall(id)
        keys = f"{sharded(user)}:collapse"
        assert client.hkeys(keys) == []
        publish(log, user, collapse_key="k")
        id = publish(log, user, collapse_key="other")
        log.recall(id)
        assert client.hkeys(keys) == [b"k"]

    def test_others(self, make: Make, client: redis.Redis, user: str) -> None:
        """Other commands are written together with the entries; if one fails, nothing is acknowledged."""
        log, key = make().log, f"{user}:other"
        batch = [Append(user, NOTIFICATION, b"{}")]
        [[result]] = log.append([batch], [], [pack("SET", key, "x")])
        assert isinstance(result, Appended)
        assert client.get(key) == b"x"
        with pytest.raises(BrokerUnavailable):
            log.append([batch], [], [pack("LPUSH", key, "x")])

    def test_too_few_replicas(self, make: Make, user: str) -> None:
        """A recall that too few replicas have is not acknowledged, and can be repeated."""
        id = publish(make().log, user)
        with pytest.raises(BrokerUnavailable):
            make(min_replicas=1, redis_timeout=0.2).log.recall(id)
        assert make().log.recall(id) == [user]

    def test_record_outlives_the_longest_log(self, make: Make, client: redis.Redis, user: str, topic: str) -> None:
        """The channels of a notification are known as long as one of them may have it."""
        log = make(topic_history_age=100, user_history_age=200).log
        id = publish(log, topic, user)
        [key] = client.scan_iter(f"*{id}*")
        assert 100_000 < client.pttl(key) <= 200_000
