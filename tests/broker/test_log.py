"""The broker and its scripts, on a real server."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from notifier.broker.log import PAGE, Append, Appended, Broker
from notifier.broker.redis_connection import RedisConnection, pack
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, Problem
from notifier.protocol import cursor, notification
from notifier.protocol.catch_up import EPHEMERAL, EXPIRED, HISTORY, NOTIFICATION, REMOVED, CatchUp, Page
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import Settings
from tests.kit.valkey import DEADLINE

AGE = 1  # seconds: the shortest time after which something can be too old
DAY = 86400 * 1000  # ms
NEVER_HEARD_OF = Cursor(10**15, 0)  # a position behind everything


Make = Callable[..., Broker]


@pytest.fixture
def make(valkey: EmbeddedValkey) -> Iterator[Make]:
    """Makes the broker of another worker, with settings of its own."""
    with contextlib.ExitStack() as stack:

        def make(clock: Clock | None = None, **settings: Any) -> Broker:
            chosen = Settings(redis_url=valkey.url, **settings)
            store = stack.enter_context(contextlib.closing(Store(chosen)))
            return Broker(chosen, store, clock or Clock())

        yield make


@pytest.fixture
def broker(make: Make) -> Broker:
    return make()


@pytest.fixture
def user() -> str:
    """The channel of a user whom no other test knows."""
    return f"user:{uuid4()}"


@pytest.fixture
def topic() -> str:
    """The channel of a topic that no other test knows."""
    return f"topic:{uuid4()}"


def sharded(channel: str) -> str:
    """The pub/sub channel that carries a channel, which its keys begin with."""
    return f"n:{{{channel}}}"


def now() -> int:
    return int(time.time() * 1000)


def new_id() -> str:
    return notification.new_id(now() - 1000, uuid4().bytes[:10])


def body_of(id: str) -> bytes:
    return b'{"id":"%b","title":"x"}' % id.encode()


def append(broker: Broker, channel: str, body: bytes = b"{}", kind: bytes = NOTIFICATION, **options: Any) -> Cursor:
    """Append one entry, and return where it stands."""
    [[result]] = broker.append([[Append(channel, kind, body, **options)]], [])
    assert isinstance(result, Appended), result
    return cursor.parse(result.cursor)


def publish(broker: Broker, *channels: str, **options: Any) -> str:
    """Append a notification that can be recalled, and return its id."""
    id = new_id()
    batch = [Append(channel, NOTIFICATION, body_of(id), **options) for channel in channels]
    [results] = broker.append([batch], [(id, list(channels))])
    assert all(isinstance(result, Appended) for result in results), results
    return id


def read(broker: Broker, channel: str, position: Cursor = BEGINNING) -> Page:
    [page] = broker.read([(channel, position)], now())
    assert isinstance(page, Page), page
    return page


def ids(page: Page | Problem) -> list[Cursor]:
    """Return the entries of a page that can be sent."""
    assert isinstance(page, Page), page
    return [cursor.parse(entry.id) for entry in page.entries if entry.kind != EXPIRED]


def bodies(broker: Broker, channel: str) -> list[bytes]:
    return [entry.body for entry in read(broker, channel).entries]


class Listener:
    """Hears what is published to a channel, as a worker does."""

    def __init__(self, broker: Broker, url: str, channel: str) -> None:
        self._connection = RedisConnection(url, DEADLINE)
        self._connection.connect()
        self._connection.send([pack("SSUBSCRIBE", sharded(channel))])
        [confirmation] = self._connection.receive()
        assert confirmation[0] == b"ssubscribe"

    def hear(self, count: int) -> list[bytes]:
        """Return the next publications."""
        heard: list[bytes] = []
        while len(heard) < count:
            heard += [reply[2] for reply in self._connection.receive()]
        return heard

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def listen(broker: Broker, valkey: EmbeddedValkey) -> Iterator[Callable[[str], Listener]]:
    """Makes listeners."""
    listeners = []

    def listen(channel: str) -> Listener:
        listeners.append(Listener(broker, valkey.url, channel))
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.close()


class TestIds:
    def test_rise(self, broker: Broker, user: str) -> None:
        """Ids of a channel rise, also within a millisecond."""
        cursors = [append(broker, user) for _ in range(50)]
        assert cursors == sorted(set(cursors))
        assert ids(read(broker, user)) == cursors

    def test_time(self, broker: Broker, user: str) -> None:
        """An id is the time of the server."""
        before = now()
        assert before <= append(broker, user).ms <= now()

    def test_clock_of_the_future(self, make: Make, user: str, topic: str) -> None:
        """An id is not before what its worker has seen elsewhere."""
        clock = Clock()
        ahead = now() + DAY
        clock.observe(ahead)
        broker = make(clock)
        assert append(broker, user).ms == append(broker, topic).ms == ahead

    def test_never_back(self, make: Make, user: str) -> None:
        """After an id of the future the next ones follow it, whoever appends and whatever kind it is of."""
        clock = Clock()
        clock.observe(now() + DAY)
        cursors = [append(make(clock), user)]
        for kind in (NOTIFICATION, EPHEMERAL, HISTORY, EPHEMERAL, REMOVED):
            cursors.append(append(make(), user, kind=kind))
        assert cursors == sorted(set(cursors))

    def test_marks(self, make: Make, broker: Broker, user: str, topic: str) -> None:
        """The last entry of each log is known, and where there is none, that too."""
        last = [append(broker, user) for _ in range(3)][-1]
        append(broker, user, kind=EPHEMERAL)
        assert make().log_ends([topic, user]) == [(BEGINNING, BEGINNING), (last, BEGINNING)]

    def test_floor(self, make: Make, user: str) -> None:
        """With the last entry of a log its floor is told."""
        cursors = [append(make(max_history=2), user) for _ in range(3)]
        assert make().log_ends([user]) == [(cursors[2], cursors[0])]

    def test_no_marks(self, broker: Broker) -> None:
        """Nobody asks for nothing."""
        assert broker.log_ends([]) == []


class TestAppend:
    def test_as_it_came(self, broker: Broker, user: str) -> None:
        """A body is kept byte for byte, with its kind."""
        body = b'{"id":"x","title":"caf\\u00e9 \xc3\xa9  \x7f"}'
        for kind in (NOTIFICATION, HISTORY, REMOVED):
            append(broker, user, body, kind)
        assert [(each.kind, each.body, each.previous) for each in read(broker, user).entries] == [
            (kind, body, b"") for kind in (NOTIFICATION, HISTORY, REMOVED)
        ]

    def test_batches(self, broker: Broker, user: str, topic: str) -> None:
        """Each publication has its answers, one for each channel, in order."""
        batches = [
            [Append(user, NOTIFICATION, b"1"), Append(topic, NOTIFICATION, b"1")],
            [],
            [Append(user, NOTIFICATION, b"2")],
        ]
        first, nothing, second = broker.append(batches, [])
        assert (len(first), nothing, len(second)) == (2, [], 1)
        assert [str(each) for each in ids(read(broker, user))] == [first[0].cursor, second[0].cursor]
        assert [str(each) for each in ids(read(broker, topic))] == [first[1].cursor]
        assert broker.append([], []) == []

    def test_push(self, broker: Broker, user: str, listen: Callable[[str], Listener]) -> None:
        """Workers hear the id, the id of the log's entry before, the kind and the body."""
        first = append(broker, user, b"{ 1 }")
        listener = listen(user)
        second, third = append(broker, user, b"{ 2 }", HISTORY), append(broker, user, b"x", REMOVED)
        assert listener.hear(2) == [b"%b %b h { 2 }" % (str(second).encode(), str(first).encode())] + [
            b"%b %b r x" % (str(third).encode(), str(second).encode())
        ]

    def test_first_push(self, broker: Broker, user: str, listen: Callable[[str], Listener]) -> None:
        """Before the first entry of a channel is nothing."""
        listener = listen(user)
        assert listener.hear(0) == []
        first = append(broker, user)
        assert listener.hear(1) == [b"%b 0-0 i {}" % str(first).encode()]

    def test_online(self, broker: Broker, user: str, topic: str, listen: Callable[[str], Listener]) -> None:
        """It is said whether a worker hears the channel."""
        listen(user)
        [results] = broker.append([[Append(user, NOTIFICATION, b"{}"), Append(topic, NOTIFICATION, b"{}")]], [])
        assert [result.online for result in results] == [True, False]

    def test_ephemeral(self, broker: Broker, user: str, listen: Callable[[str], Listener]) -> None:
        """What is not retained is heard with an id of its own, is in no log, and nothing follows it."""
        first = append(broker, user)
        listener = listen(user)
        passing = append(broker, user, b"{ 1 }", EPHEMERAL)
        second = append(broker, user)
        assert first < passing < second
        assert listener.hear(2) == [
            b"%b %b e { 1 }" % (str(passing).encode(), str(first).encode()),
            b"%b %b i {}" % (str(second).encode(), str(first).encode()),
        ]
        assert ids(read(broker, user)) == [first, second]

    def test_prefix(self, make: Make, user: str) -> None:
        """Services with different prefixes share nothing."""
        append(make(redis_prefix="one"), user)
        assert len(ids(read(make(redis_prefix="one"), user))) == 1
        assert ids(read(make(redis_prefix="two"), user)) == []

    def test_too_few_replicas(self, make: Make, user: str) -> None:
        """What too few replicas have is not acknowledged."""
        with pytest.raises(BrokerUnavailable):
            append(make(min_replicas=1, redis_timeout=0.2), user)


class TestMarks:
    def test_retry(self, broker: Broker, user: str, listen: Callable[[str], Listener]) -> None:
        """An append that is tried again under its mark changes nothing, and answers with the first one's cursor."""
        listener = listen(user)
        for kind in (NOTIFICATION, EPHEMERAL):
            mark = str(uuid4())
            first = append(broker, user, b"{}", kind, dedupe_key=mark)
            assert append(broker, user, b"{ other }", kind, dedupe_key=mark) == first
        last = append(broker, user, b"last")
        assert [heard.split(b" ", 3)[3] for heard in listener.hear(3)] == [b"{}", b"{}", b"last"]
        assert bodies(broker, user) == [b"{}", b"last"]
        assert last > first

    def test_half(self, broker: Broker, user: str, topic: str) -> None:
        """A publication that was cut off in the middle is completed by a retry."""
        mark = str(uuid4())
        first = append(broker, user, dedupe_key=mark)
        batch = [Append(channel, NOTIFICATION, b"{}", dedupe_key=mark) for channel in (user, topic)]
        [[again, new]] = broker.append([batch], [])
        assert again.cursor == str(first)
        assert (ids(read(broker, user)), ids(read(broker, topic))) == ([first], [cursor.parse(new.cursor)])

    def test_several(self, broker: Broker, user: str) -> None:
        """Other marks are other publications."""
        assert append(broker, user, dedupe_key="one") < append(broker, user, dedupe_key="two")
        assert len(bodies(broker, user)) == 2


class TestBounds:
    def test_number(self, make: Make, user: str) -> None:
        """A log has so many entries; the highest that fell out is its floor."""
        broker = make(max_history=3)
        cursors = [append(broker, user) for _ in range(3)]
        assert read(broker, user).floor == BEGINNING
        cursors += [append(broker, user) for _ in range(2)]
        assert read(broker, user) == Page(read(broker, user).entries, True, cursors[1])
        assert ids(read(broker, user)) == cursors[2:]

    def test_smaller_number(self, make: Make, user: str) -> None:
        """Where fewer entries are kept than before, all that are too many fall out."""
        cursors = [append(make(), user) for _ in range(10)]
        last = append(make(max_history=2), user)
        assert ids(read(make(), user)) == [cursors[-1], last]
        assert read(make(), user).floor == cursors[-2]

    def test_age(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """What is too old falls out when something is appended; what is appended then is heard all the same."""
        broker = make(topic_history_age=AGE, max_history=10**6)
        listener = listen(topic)
        cursors: list[Cursor] = []
        deadline = time.monotonic() + DEADLINE
        page = read(broker, topic)
        while page.floor == BEGINNING or not page.entries:  # after a pause, the whole log has expired
            assert time.monotonic() < deadline, "nothing falls out"
            cursors += [append(broker, topic) for _ in range(5)]
            page = read(broker, topic)
        assert ids(page)[0] == cursors[cursors.index(page.floor) + 1]
        assert cursors[-1].ms - page.floor.ms > 1000 * AGE
        assert [heard.split()[0].decode() for heard in listener.hear(len(cursors))] == [str(each) for each in cursors]

    def test_ages(self, make: Make, client: redis.Redis, user: str, topic: str) -> None:
        """Logs live as long as their entries may; what is known of them lives longer."""
        broker = make(topic_history_age=100, user_history_age=200)
        for channel, age in ((topic, 100_000), (user, 200_000), ("all", 200_000)):
            append(broker, channel)
            base = sharded(channel)
            assert age <= client.pttl(f"{base}:log") <= 1.1 * age
            assert client.pttl(f"{base}:meta") > 7 * DAY

    def test_nothing_stays_for_ever(self, broker: Broker, client: redis.Redis, topic: str) -> None:
        """Every key that a channel makes expires, in whatever order its entries come."""
        append(broker, topic, kind=EPHEMERAL)
        append(broker, topic, dedupe_key="m")
        append(broker, topic, collapse_key="k")
        publish(broker, topic)
        keys = list(client.scan_iter(f"*{topic}*"))
        assert len(keys) == 4
        assert {key: client.pttl(key) for key in keys if client.pttl(key) < 0} == {}

    def test_ttl(self, make: Make, user: str) -> None:
        """What has outlived its ttl is not read, and falls out without being lost."""
        broker = make(max_history=2)
        append(broker, user, b"old", expires=now() - 1)
        kept = append(broker, user, b"kept", expires=now() + DAY)
        assert ids(read(broker, user)) == [kept]
        append(broker, user)
        assert read(broker, user).floor == BEGINNING
        append(broker, user)
        assert read(broker, user).floor == kept

    def test_floor_among_expired(self, make: Make, user: str) -> None:
        """Of several that fall out at once, the highest that still counted is the floor."""
        cursors = [append(make(), user, expires=expires) for expires in (0, now() - 1, 0, now() - 1)]
        append(make(max_history=1), user)
        assert read(make(), user).floor == cursors[2]


class TestRegression:
    """A log that has less than was seen of it: a replica took over that did not have it all."""

    def lose_the_end(self, make: Make, client: redis.Redis, user: str) -> tuple[Cursor, Cursor]:
        """Append two entries and lose the second; return both."""
        kept = append(make(), user)
        meta = client.hgetall(f"{sharded(user)}:meta")
        lost = append(make(), user)
        client.xdel(f"{sharded(user)}:log", str(lost))
        client.hset(f"{sharded(user)}:meta", mapping=meta)
        return kept, lost

    def test_noted(self, make: Make, client: redis.Redis, user: str) -> None:
        """What was seen and is no more counts as fallen out."""
        kept, lost = self.lose_the_end(make, client, user)
        make().note_regression([(user, lost)])
        assert make().log_ends([user]) == [(kept, lost)]
        assert read(make(), user).floor == lost

    def test_gone_on(self, make: Make, client: redis.Redis, user: str) -> None:
        """It is noted, and once, though others were appended before anybody looked."""
        kept, lost = self.lose_the_end(make, client, user)
        last = append(make(), user)
        assert [make().note_regression([(user, lost)]) for _ in range(2)] == [1, 0]
        assert make().log_ends([user]) == [(last, lost)]

    def test_nothing_lost(self, broker: Broker, user: str) -> None:
        """A log that ends where it was seen to end, or behind, has lost nothing."""
        cursors = [append(broker, user) for _ in range(2)]
        assert broker.note_regression([(user, each) for each in cursors]) == 0
        assert read(broker, user).floor == BEGINNING

    def test_taken_away(self, broker: Broker, user: str, topic: str) -> None:
        """What was recalled or replaced is not lost."""
        recalled = publish(broker, user)
        replaced = append(broker, topic, collapse_key="one")
        [(seen, _)] = broker.log_ends([user])
        broker.recall(recalled, 0)
        append(broker, topic, collapse_key="one")
        assert broker.note_regression([(user, seen), (topic, replaced)]) == 0

    def test_bounds(self, make: Make, client: redis.Redis, user: str) -> None:
        """What falls out afterwards does not hide what is lost."""
        first = append(make(), user)
        _, lost = self.lose_the_end(make, client, user)
        make().note_regression([(user, lost)])
        append(make(max_history=2), user)
        assert first not in ids(read(make(), user))
        assert read(make(), user).floor == lost

    def test_never_back(self, make: Make, client: redis.Redis, user: str) -> None:
        """A floor does not go down."""
        kept, lost = self.lose_the_end(make, client, user)
        later = lost._replace(ms=lost.ms + 5)
        make().note_regression([(user, later)])
        make().note_regression([(user, lost)])
        assert read(make(), user).floor == later

    def test_all_lost(self, broker: Broker, client: redis.Redis, user: str) -> None:
        """A channel of which nothing is left has lost what was seen, and does not remember it for ever."""
        seen = Cursor(now() - 5, 0)
        broker.note_regression([(user, seen)])
        assert read(broker, user).floor >= seen
        assert client.pttl(f"{sharded(user)}:meta") > 0


class TestCollapse:
    def test_replace(self, broker: Broker, user: str, topic: str) -> None:
        """An entry replaces the one of its channel with the same key, and nothing is lost by that."""
        for channel in (user, topic):
            append(broker, channel, b"1", collapse_key="k")
            append(broker, channel, b"2", collapse_key="other")
            append(broker, channel, b"3")
            append(broker, channel, b"4", collapse_key="k")
            assert bodies(broker, channel) == [b"2", b"3", b"4"]
            assert read(broker, channel).floor == BEGINNING

    def test_other_channels(self, broker: Broker, user: str, topic: str) -> None:
        """A key counts within its channel."""
        append(broker, user, b"1", collapse_key="k")
        append(broker, topic, b"2", collapse_key="k")
        assert bodies(broker, user) == [b"1"]

    def test_again_and_again(self, make: Make, user: str) -> None:
        """Entries that replace each other never fill a log."""
        broker = make(max_history=2)
        first = append(broker, user, b"first")
        for index in range(20):
            append(broker, user, b"%d" % index, collapse_key="k")
        assert bodies(broker, user) == [b"first", b"19"]
        assert ids(read(broker, user))[0] == first

    def test_fell_out(self, make: Make, client: redis.Redis, user: str) -> None:
        """A key whose entry fell out is forgotten, and may be used again."""
        broker = make(max_history=1)
        append(broker, user, collapse_key="k")
        append(broker, user)
        assert client.hkeys(f"{sharded(user)}:collapse") == []
        append(broker, user, b"new", collapse_key="k")
        assert bodies(broker, user) == [b"new"]

    def test_replaced_later(self, make: Make, client: redis.Redis, user: str) -> None:
        """When an entry falls out whose key a later one has, the later one keeps it."""
        broker = make(max_history=2)
        append(broker, user, collapse_key="k")
        append(broker, user, collapse_key="k")
        append(broker, user)
        assert client.hkeys(f"{sharded(user)}:collapse") == [b"k"]

    def test_ttl_and_key(self, broker: Broker, user: str) -> None:
        """An entry may have a ttl and a key."""
        append(broker, user, b"1", expires=now() + DAY, collapse_key="k")
        append(broker, user, b"2", expires=now() + DAY, collapse_key="k")
        assert bodies(broker, user) == [b"2"]


class TestRead:
    def test_position(self, broker: Broker, user: str) -> None:
        """What is behind a position is read, not what is at it."""
        cursors = [append(broker, user) for _ in range(3)]
        assert ids(read(broker, user, cursors[0])) == cursors[1:]
        assert ids(read(broker, user, cursors[2])) == []

    def test_pages(self, broker: Broker, user: str) -> None:
        """A long log is read in pages; the last one says that it is the last."""
        for _ in range(2):
            broker.append([[Append(user, NOTIFICATION, b"{}") for _ in range(PAGE)]], [])
        append(broker, user)
        sizes, position, complete = [], BEGINNING, False
        while not complete:
            page = read(broker, user, position)
            sizes.append(len(page.entries))
            position, complete = ids(page)[-1], page.complete
        assert sizes == [PAGE, PAGE, 1]

    def test_long_bodies(self, broker: Broker, user: str) -> None:
        """Pages of long notifications are shorter, and lead to everything."""
        cursors = [append(broker, user, b"x" * 20_000) for _ in range(12)]
        page = read(broker, user)
        sizes, found = [len(page.entries)], ids(page)
        while not page.complete:
            page = read(broker, user, found[-1])
            sizes.append(len(page.entries))
            found += ids(page)
        assert found == cursors
        assert max(sizes) < len(cursors)

    def test_many(self, broker: Broker, user: str, topic: str) -> None:
        """Where many positions are read at once, each page still leads on."""
        first, *_ = [append(broker, user, b"x" * 20_000) for _ in range(3)]
        pages = broker.read([(user, BEGINNING)] * 300 + [(topic, BEGINNING)], now())
        assert [ids(page)[:1] for page in pages] == [[first]] * 300 + [[]]

    def test_full_page(self, broker: Broker, user: str) -> None:
        """Behind a full page there may be more, also where there is none."""
        broker.append([[Append(user, NOTIFICATION, b"{}") for _ in range(PAGE)]], [])
        page = read(broker, user)
        assert not page.complete
        assert read(broker, user, ids(page)[-1]).complete

    def test_page_of_the_dead(self, broker: Broker, user: str) -> None:
        """A page of which everything has outlived its ttl still leads to what is behind it."""
        broker.append([[Append(user, NOTIFICATION, b"{}", expires=1) for _ in range(PAGE)]], [])
        last = append(broker, user)
        catch_up, found = CatchUp({user: BEGINNING}, 0), []
        for _ in range(5):
            catch_up.begin()
            step = catch_up.join({user: read(broker, user, catch_up.positions[user] or BEGINNING)})
            for name, entry in step.entries:
                catch_up.sent(name, entry)
                if entry.kind != EXPIRED:
                    found.append(cursor.parse(entry.id))
            if step.complete:
                break
        assert found == [last]

    def test_several(self, broker: Broker, user: str, topic: str) -> None:
        """Several positions are read at once, in their order, also two of one channel."""
        cursors = [append(broker, user) for _ in range(2)]
        other = append(broker, topic)
        positions = [(topic, BEGINNING), (user, cursors[0]), (user, BEGINNING), (topic, NEVER_HEARD_OF)]
        pages = broker.read(positions, now())
        assert [ids(page) for page in pages] == [[other], cursors[1:], cursors, []]
        assert broker.read([], now()) == []

    def test_nothing_known(self, make: Make, client: redis.Redis, user: str) -> None:
        """What a channel has lost is known for a time that is told, and longer than what it keeps."""
        broker = make(user_history_age=100)
        assert read(broker, user) == Page([], True, BEGINNING)
        append(broker, user)
        assert client.pttl(f"{sharded(user)}:meta") >= broker.remembers(user) > 7 * DAY

    def test_expired_log(self, broker: Broker, client: redis.Redis, user: str) -> None:
        """A log that has expired as a whole has lost all that it had."""
        last = [append(broker, user) for _ in range(2)][-1]
        client.delete(f"{sharded(user)}:log")  # as its age does
        assert read(broker, user) == Page([], True, last)

    def test_after_an_expired_log(self, broker: Broker, client: redis.Redis, user: str) -> None:
        """What a log had that has expired stays lost when something new comes."""
        last = [append(broker, user) for _ in range(2)][-1]
        client.delete(f"{sharded(user)}:log")  # as its age does
        new = append(broker, user)
        page = read(broker, user)
        assert ids(page) == [new]
        assert page.floor == last

    def test_emptied_log(self, broker: Broker, client: redis.Redis, user: str) -> None:
        """A log whose last entry was taken out has lost nothing."""
        append(broker, user, collapse_key="k")
        client.xtrim(f"{sharded(user)}:log", maxlen=0, approximate=False)
        assert read(broker, user) == Page([], True, BEGINNING)

    def test_read_does_not_change_the_clock(self, make: Make, user: str) -> None:
        """What is read is the past: it sets no clock."""
        clock = Clock()
        append(make(), user)
        read(make(clock), user)
        assert clock.ms == 0


class TestRecall:
    def test_recall(self, broker: Broker, user: str, topic: str, listen: Callable[[str], Listener]) -> None:
        """A recalled notification leaves every log that it went to, and every worker hears of it."""
        id = publish(broker, user, topic)
        other = publish(broker, user)
        listeners = [listen(channel) for channel in (user, topic)]
        assert broker.recall(id, notification.time_of(id) or 0) == [user, topic]
        for listener in listeners:
            [heard] = listener.hear(1)
            assert heard.split(b" ", 2)[2] == b"r " + id.encode()
        entries = read(broker, user).entries
        assert [(each.kind, each.body) for each in entries] == [
            (NOTIFICATION, body_of(other)),
            (REMOVED, id.encode()),
        ]
        assert [each.kind for each in read(broker, topic).entries] == [REMOVED]
        assert read(broker, user).floor == BEGINNING

    def test_find(self, broker: Broker, user: str, topic: str) -> None:
        """Where a notification went is known until it is recalled."""
        id = publish(broker, user, topic)
        assert broker.find(id) == [user, topic]
        broker.recall(id, 0)
        assert broker.find(id) is None

    def test_twice(self, broker: Broker, user: str) -> None:
        """To recall once more changes nothing."""
        id = publish(broker, user)
        broker.recall(id, 0)
        entries = read(broker, user).entries
        assert broker.recall(id, 0) == []
        assert read(broker, user).entries == entries

    def test_unknown(self, broker: Broker) -> None:
        """What was never published is nowhere."""
        assert broker.find(new_id()) is None
        assert broker.recall(new_id(), 0) == []

    def test_gone_already(self, make: Make, user: str) -> None:
        """A notification that has fallen out is recalled all the same: somebody may show it."""
        broker = make(max_history=1)
        id = publish(broker, user)
        append(broker, user)
        assert broker.recall(id, 0) == [user]
        assert [(each.kind, each.body) for each in read(broker, user).entries] == [(REMOVED, id.encode())]

    @pytest.mark.parametrize("place", [0, 63, 64, 65, 149])
    def test_long_log(self, broker: Broker, user: str, place: int) -> None:
        """A notification is found wherever in a long log it is, and no other is taken for it."""
        recalled = [publish(broker, user) for _ in range(150)]
        before = bodies(broker, user) + [each.body for each in read(broker, user, ids(read(broker, user))[-1]).entries]
        id = recalled[place]
        broker.recall(id, notification.time_of(id) or 0)
        first = read(broker, user)
        after = [*first.entries, *read(broker, user, ids(first)[-1]).entries]
        assert [each.body for each in after] == [*(body for body in before if body != body_of(id)), id.encode()]

    def test_collapse(self, broker: Broker, client: redis.Redis, user: str) -> None:
        """The key of a recalled notification is forgotten; that of a later one is kept."""
        id = publish(broker, user, collapse_key="k")
        broker.recall(id, 0)
        keys = f"{sharded(user)}:collapse"
        assert client.hkeys(keys) == []
        publish(broker, user, collapse_key="k")
        id = publish(broker, user, collapse_key="other")
        broker.recall(id, 0)
        assert client.hkeys(keys) == [b"k"]

    def test_record_outlives_the_longest_log(self, make: Make, client: redis.Redis, user: str, topic: str) -> None:
        """Where a notification went is known as long as one of its channels may have it."""
        broker = make(topic_history_age=100, user_history_age=200)
        id = publish(broker, topic, user)
        [key] = client.scan_iter(f"*{id}*")
        assert 100_000 < client.pttl(key) <= 200_000


class TestClaim:
    @pytest.fixture
    def key(self) -> str:
        return f"shop:{uuid4()}"

    def test_free(self, broker: Broker, key: str) -> None:
        """A free key is claimed under the id and time that were given."""
        created = 1_763_661_600.123456
        assert broker.claim([(key, "print", "id", created)]) == [("claimed", "id", created, b"")]

    def test_running(self, broker: Broker, key: str) -> None:
        """While the first request runs, another one with its key waits."""
        broker.claim([(key, "print", "id", 1.5)])
        assert broker.claim([(key, "print", "other", 2.5)])[0].outcome == "running"

    def test_answered(self, broker: Broker, key: str) -> None:
        """After the first request its answer is given again, as it was."""
        broker.claim([(key, "print", "id", 1.5)])
        broker.answer([(key, b'{"id":"\xc3\xa9"}\n')])
        for _ in range(2):
            assert broker.claim([(key, "print", "other", 2.5)]) == [("answered", "", 0, b'{"id":"\xc3\xa9"}\n')]

    def test_mismatch(self, broker: Broker, key: str) -> None:
        """Another request under the same key is refused, before and after the answer."""
        broker.claim([(key, "print", "id", 1.5)])
        assert broker.claim([(key, "another", "other", 2.5)])[0].outcome == "mismatch"
        broker.answer([(key, b"{}")])
        assert broker.claim([(key, "another", "other", 2.5)])[0].outcome == "mismatch"

    def test_release(self, broker: Broker, key: str) -> None:
        """A request that failed may be tried again at once, under the first one's id and time."""
        broker.claim([(key, "print", "id", 1.5)])
        broker.release([key])
        assert broker.claim([(key, "print", "other", 2.5)]) == [("claimed", "id", 1.5, b"")]
        assert broker.claim([(key, "print", "other", 2.5)])[0].outcome == "running"

    def test_lease(self, make: Make, key: str) -> None:
        """A request that died is taken over when its lease is over, under its id and time."""
        make(idempotency_lease=0).claim([(key, "print", "id", 1.5)])
        assert make().claim([(key, "print", "other", 2.5)]) == [("claimed", "id", 1.5, b"")]
        assert make().claim([(key, "print", "other", 2.5)])[0].outcome == "running"

    def test_several(self, broker: Broker, key: str) -> None:
        """Several keys are claimed at once; the same one twice is claimed once."""
        broker.claim([(key, "print", "id", 1.5)])
        free = f"{key}-free"
        claims = broker.claim([(key, "print", "a", 1.5), (free, "print", "b", 1.5), (free, "print", "c", 1.5)])
        assert [claim.outcome for claim in claims] == ["running", "claimed", "running"]
        assert broker.claim([]) == []

    def test_age(self, make: Make, client: redis.Redis, key: str) -> None:
        """A key is remembered for its time, and a mark as long."""
        broker = make(idempotency_age=100)
        broker.claim([(key, "print", "id", 1.5)])
        broker.answer([(key, b"{}")])
        append(broker, f"user:{key}", dedupe_key="m")
        for pattern in (f"*idempotency:{key}*", f"*{key}*mark*"):
            [name] = client.scan_iter(pattern)
            assert 0 < client.pttl(name) <= 100_000


class TestDatabase:
    def test_birth(self, make: Make) -> None:
        """The birth of a database is when it was first used, for everybody and for good."""
        before = now()
        birth = make(redis_prefix="birth").birth()
        assert Cursor(before, 0) <= birth <= Cursor(now(), 0)
        assert make(redis_prefix="birth").birth() == birth

    def test_birth_sets_the_clock(self, make: Make) -> None:
        """Who has asked for the birth knows what time it is."""
        clock = Clock()
        before = now()
        make(clock).birth()
        assert before <= clock.ms <= now()

    def test_beat(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """A heartbeat says who lives and what time it is."""
        clock = Clock()
        listener = listen(topic)
        before = now()
        make(clock).beat(topic, "node")
        assert listener.hear(1) == [b"node %d" % clock.ms]
        assert before <= clock.ms <= now()

    def test_beat_of_the_future(self, make: Make, topic: str, listen: Callable[[str], Listener]) -> None:
        """Where the clock of Redis steps back, every node goes on from the latest time that one of them has seen."""
        listener = listen(topic)
        ahead, behind, new = Clock(), Clock(), Clock()
        ahead.observe(now() + DAY)
        make(behind).beat(topic, "behind")
        make(ahead).beat(topic, "ahead")
        make(new).beat(topic, "new")
        assert listener.hear(3)[1:] == [b"ahead %d" % ahead.ms, b"new %d" % ahead.ms]
        assert behind.ms < new.ms == ahead.ms

    def test_forgotten_scripts(self, broker: Broker, client: redis.Redis, user: str) -> None:
        """A server that has forgotten the scripts is told them again, and nothing is done twice."""
        append(broker, user, b"1")
        client.script_flush()
        append(broker, user, b"2")
        assert bodies(broker, user) == [b"1", b"2"]
        client.script_flush()
        assert broker.claim([(user, "print", "id", 1.5)])[0].outcome == "claimed"
        id = publish(broker, user)
        client.script_flush()
        broker.recall(id, 0)
        assert bodies(broker, user) == [b"1", b"2", id.encode()]


CALLS: dict[str, Callable[[Broker, str], object]] = {
    "find": lambda broker, name: broker.find(name),
    "recall": lambda broker, name: broker.recall(name, 0),
    "claim": lambda broker, name: broker.claim([(name, "print", "id", 1.5)]),
    "answer": lambda broker, name: broker.answer([(name, b"{}")]),
    "release": lambda broker, name: broker.release([name]),
    "note_regression": lambda broker, name: broker.note_regression([(f"user:{name}", Cursor(1, 0))]),
    "birth": lambda broker, _: broker.birth(),
}


class TestFaults:
    @pytest.mark.parametrize("call", CALLS)
    def test_errors_of_redis(self, make: Make, client: redis.Redis, call: str) -> None:
        """An error of Redis is the broker out of reach, whatever was asked."""
        broker, name = make(redis_prefix=f"broken-{call}"), str(uuid4())
        for key in (f"notification:{name}", f"idempotency:{name}", "birth:", f"user:{name}"):
            for suffix in ("", ":meta", ":log"):
                client.rpush(f"broken-{call}:{{{key}}}{suffix}", "a list, where nobody expects one")
        with pytest.raises(BrokerUnavailable) as caught:
            CALLS[call](broker, name)
        assert caught.value.headers["Retry-After"]

    def test_one_channel(self, broker: Broker, client: redis.Redis, user: str, topic: str) -> None:
        """An error in one channel is the answer for that channel; the others have theirs."""
        client.rpush(f"{sharded(user)}:meta", "a list, where nobody expects one")
        [[bad, good], [other]] = broker.append(
            [
                [Append(user, NOTIFICATION, b"{}"), Append(topic, NOTIFICATION, b"{}")],
                [Append(topic, NOTIFICATION, b"{}")],
            ],
            [],
        )
        assert isinstance(bad, BrokerUnavailable)
        unreadable, page = broker.read([(user, BEGINNING), (topic, BEGINNING)], now())
        assert isinstance(unreadable, BrokerUnavailable)
        assert len(ids(page)) == 2
        unknown, mark = broker.log_ends([user, topic])
        assert isinstance(unknown, BrokerUnavailable)
        assert not isinstance(mark, Problem)
        assert [good.cursor, other.cursor] == [str(each) for each in ids(read(broker, topic))]

    @pytest.mark.parametrize("call", [*CALLS, "append", "beat", "read", "marks"])
    def test_out_of_reach(self, valkey: EmbeddedValkey, call: str) -> None:
        """A broker that cannot be reached says so, whatever was asked."""
        settings = Settings(redis_url=f"{valkey.url}.not")
        broker = Broker(settings, Store(settings), Clock())
        calls = CALLS | {
            "append": lambda broker, name: append(broker, name),
            "beat": lambda broker, name: broker.beat(name, "node"),
            "read": lambda broker, name: broker.read([(name, BEGINNING)], now()),
            "marks": lambda broker, name: broker.log_ends([name]),
        }
        with pytest.raises(BrokerUnavailable):
            calls[call](broker, "name")
