"""Replay: what a connection missed, joined with what is published meanwhile.

`World` is a model of all that surrounds a `CatchUp`: the logs, a worker that hears what is published a moment later,
a socket that blocks, and the loop that serves the connection. Its parts go forward one step at a time, so that a test
chooses who comes when.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.protocol import cursor
from notifier.protocol.catch_up import CatchUp, share
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, HISTORY, NOTIFICATION, Entry, Page
from notifier.protocol.recent import Recent

PLENTY = 10**6  # bytes
SKEW = 3  # ms by which the clocks of two nodes differ
A, B = "user:a", "topic:b"


def entry(ms: int, previous: int = 0, kind: bytes = NOTIFICATION) -> Entry:
    """Return an entry of ten bytes."""
    return Entry(b"%d-0" % ms, b"%d-0" % previous, kind, b"0123456789")


def page(*times: int, complete: bool = True, floor: int = 0) -> Page:
    """Return a page of the log."""
    return Page([entry(ms)._replace(previous=b"") for ms in times], complete, Cursor(floor, 0))


def at(entry: Entry) -> Cursor:
    return cursor.parse(entry.id)


class Log:
    """One channel: its log in Redis, and what the worker knows of it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.all: list[Entry] = []  # ever appended
        self.withdrawn: set[bytes] = set()  # recalled, replaced or past its ttl
        self.floor = BEGINNING
        self.logged = self.last = b"0-0"
        self.seen = self.delivered = b"0-0"  # by the worker

    def append(self, ms: int, kind: bytes) -> Entry:
        """Append as broker/scripts/log/append.lua does."""
        last = cursor.parse(self.last)
        id = Cursor(ms, 0) if ms > last.ms else Cursor(last.ms, last.seq + 1)
        new = Entry(str(id).encode(), self.logged, kind, b"0123456789")
        self.last = new.id
        if kind != EPHEMERAL:
            self.logged = new.id
            self.entries.append(new)
            self.all.append(new)
        return new

    def read(self, position: Cursor, size: int) -> Page:
        """Read as `Broker.read` does."""
        found = [each._replace(previous=b"") for each in self.entries if at(each) > position][:size]
        return Page(found, len(found) < size, self.floor)

    def trim(self) -> None:
        """Let the oldest entry fall out because of a bound."""
        if self.entries:
            self.floor = at(self.entries.pop(0))

    def withdraw(self, index: int) -> None:
        """Take an entry out because its publisher wants so."""
        if self.entries:
            self.withdrawn.add(self.entries.pop(index % len(self.entries)).id)


class World:
    """Some channels, a worker and one connection, which had `since`; what it is sent is checked while it is sent."""

    def __init__(
        self,
        history: Sequence[tuple[str, int]] = (),
        since: int | None = None,
        *,
        channels: Sequence[str] = (A, B),
        others: Sequence[str] = (),
        overlap: int = 0,
        page: int = 2,
        max_aside: int = PLENTY,
        remembers: int = 1000,
    ) -> None:
        self.recent = Recent(remembers)
        self.channels = list(channels)  # of this connection; `others` are heard by somebody else
        self.logs = {name: Log() for name in (*channels, *others)}
        self.size = page
        self.max_aside = max_aside
        self.now = max([0, since or 0, *(ms for _, ms in history)]) + SKEW
        self.wire: list[tuple[str, Entry]] = []  # published, but not heard by the worker yet
        self.sent: list[tuple[str, Entry]] = []
        self.budget: int | None = None  # how many frames the socket takes before it blocks
        self.said_lost: dict[str, Cursor] = {}
        for name, ms in history:
            self.logs[name].append(ms, NOTIFICATION)
        for log in self.logs.values():
            log.seen = log.delivered = log.logged
        self.since = None if since is None else Cursor(since, 0)
        self.catch_up: CatchUp | None = CatchUp(dict.fromkeys(channels), max_aside)
        if self.since:
            self.catch_up.resume(channels, self.since, overlap)
        self._start = {
            name: self.since.earlier(overlap) if self.since else cursor.parse(log.seen)
            for name, log in self.logs.items()
        }
        self._asked = dict.fromkeys(self.logs, self.since or BEGINNING)  # from where the client wants each channel
        self._early: set[tuple[str, bytes]] = set()  # sent before the worker heard them
        self._of_this_catch_up: set[tuple[str, bytes]] = set()
        self._said_by_this_catch_up: dict[str, Cursor] = {}
        self._rounds = self._serve()

    # What others do.

    def publish(self, name: str, kind: bytes = NOTIFICATION, skew: int = 0) -> None:
        """Append an entry; `skew` is how far this node's clock is behind."""
        self.now += 1
        self.wire.append((name, self.logs[name].append(self.now - skew, kind)))

    def hear(self, count: int = 1) -> None:
        """Let the worker hear what was published, as `Node.heard` does."""
        heard, self.wire = self.wire[:count], self.wire[count:]
        for name in dict.fromkeys(name for name, _ in heard):
            self._fan_out(name, [entry for of, entry in heard if of == name])

    def subscribe(self, name: str, since: int) -> None:
        """Let the connection ask for a channel from a cursor on, as `Node._join` does; it is sent all of it anew.

        Where it has yet to be sent what is before the cursor, it is sent that, too. No cursor is ahead of all clocks,
        nor here of what the worker has heard: the client would be sent that twice, or told that it is lost.
        """
        unheard = [at(entry).ms for of, entry in self.wire if of == name]
        since = max(min([since, self.now - SKEW, *(ms - 1 for ms in unheard)]), 0)
        if self.catch_up is None:
            self.catch_up = self._caught_up()
        if name not in self.channels:
            self.channels.append(name)
        position = self.catch_up.positions.get(name)
        self.catch_up.enter(name)
        begin = Cursor(since, 0)
        self.catch_up.resume([name], begin, 0)
        self._asked[name] = begin if position is None else min(begin, self._asked[name])
        if position is None or begin < position:
            self._forget_sent(name)
            self._start[name] = begin
            self.said_lost.pop(name, None)
        self._said_by_this_catch_up.pop(name, None)  # who asks anew may be told anew

    def leave(self, name: str) -> None:
        """Let the connection leave a channel, as `Node._leave` does."""
        if name in self.channels:
            self.channels.remove(name)
        self._forget_sent(name)
        if self.catch_up is not None:
            self.catch_up.forget(name)

    def _forget_sent(self, name: str) -> None:
        self.sent = [item for item in self.sent if item[0] != name]
        self._of_this_catch_up = {key for key in self._of_this_catch_up if key[0] != name}

    def squeeze(self, frames: int = 0) -> None:
        """Let the socket take only so many frames more."""
        self.budget = frames

    def relieve(self) -> None:
        """Let the client read again."""
        self.budget = None

    def go_deaf(self) -> None:
        """Let the worker lose Redis and find it again, as `Node.deaf` and `Node.confirmed` do."""
        self.wire = []
        self._fall_behind()
        self.recent.clear()
        for log in self.logs.values():
            log.seen = log.delivered = max(log.seen, log.logged, key=cursor.parse)

    def step(self) -> None:
        """Let the loop that serves the connection go on to where others may come in between."""
        next(self._rounds)

    def settle(self) -> None:
        """Let everything come to its end, and check that nothing is missing."""
        self.relieve()
        self.hear(len(self.wire))
        for _ in range(1000):
            if self.catch_up is None:
                break
            self.step()
        assert self.catch_up is None, "the connection does not become live"
        self._check_complete()

    # The service, in small.

    def _serve(self) -> Iterator[None]:
        """Serve rounds as the replayer does; others come in where it yields."""
        while True:
            if self.catch_up is not None and self.budget != 0:
                yield from self._round(self.catch_up)
            yield

    def _round(self, catch_up: CatchUp) -> Iterator[None]:
        catch_up.begin()
        for name, position in catch_up.positions.items():
            if position is None:
                catch_up.positions[name] = self._start[name] = cursor.parse(self.logs[name].seen)
        positions = {name: position for name, position in catch_up.positions.items() if position is not None}
        changes = catch_up.changes
        heard = self._heard()
        pages = self._heard_lately(positions)
        if pages is None:
            pages = {}
            for name, position in positions.items():
                pages[name] = self.logs[name].read(position, self.size)
                yield
        if catch_up.changes != changes:
            return  # it asked for a channel, or once more for one, while the log was read
        step = catch_up.join(pages)
        for name in step.lost:
            self._check_lost(name, pages[name].floor)
        for name, entry in step.entries:
            if self.budget == 0:
                catch_up.drop()
                return
            self._check_prefix(heard, entry)
            self._send(name, entry)
            catch_up.sent(name, entry)
        if step.complete:
            self.catch_up = None

    def _heard_lately(self, positions: dict[str, Cursor]) -> dict[str, Page] | None:
        pages = {}
        for name, position in positions.items():
            seen = self.logs[name].seen
            if position < cursor.parse(seen):
                page = self.recent.page(name, position, seen, self.now)
                if page is None:
                    return None
                pages[name] = page
        return pages

    def _fan_out(self, name: str, entries: list[Entry]) -> None:
        log = self.logs[name]
        self.recent.hear(name, entries, log.seen)
        log.seen = max([log.seen, *(entry.id for entry in entries if entry.kind != EPHEMERAL)], key=cursor.parse)
        if self.catch_up is not None:
            waited = self.catch_up.positions.get(name, BEGINNING) is None
            self.catch_up.hear(name, entries)
            if waited:
                self._start[name] = self.catch_up.positions[name] or BEGINNING
        elif name in self.channels and self.budget == 0:
            self._fall_behind()
        elif name in self.channels:
            for entry in entries:
                self._send(name, entry)
        log.delivered = log.seen

    def _fall_behind(self) -> None:
        if self.catch_up is None:
            self.catch_up = self._caught_up()
        self.catch_up.drop()

    def _caught_up(self) -> CatchUp:
        self._of_this_catch_up = set()
        self._said_by_this_catch_up = {}
        return CatchUp({name: cursor.parse(self.logs[name].delivered) for name in self.channels}, self.max_aside)

    # What is promised.

    def _heard(self) -> set[tuple[str, bytes]]:
        """Return what must be sent before anything later is: all that the worker has heard of and a log has."""
        return {
            (name, entry.id)
            for name in self.channels
            for log in [self.logs[name]]
            for entry in log.entries
            if self._start[name] < at(entry) <= cursor.parse(log.seen)
        }

    def _send(self, name: str, entry: Entry) -> None:
        key = (name, entry.id)
        done = self._keys()
        if self.budget:
            self.budget -= 1
        assert key not in done or key in self._early, f"{key} was sent twice"
        assert at(entry) > self._start[name], f"{key} was not missed"
        if key not in done:
            self._check_order(name, entry)
        if self.catch_up is not None:
            assert key not in self._of_this_catch_up, f"{key} was sent twice by one catch-up"
            self._of_this_catch_up.add(key)
        if (name, entry.id) in ((of, each.id) for of, each in self.wire):
            self._early.add(key)
        self.sent.append((name, entry))

    def _check_order(self, name: str, entry: Entry) -> None:
        """Each channel is in order; the log may only overtake what it does not have, or no more."""
        log = self.logs[name]
        logged = {each.id for each in log.all if at(each) > log.floor} - log.withdrawn
        before = [at(each) for of, each in self.sent if of == name and each.id in logged]
        assert entry.id not in logged or not before or max(before) < at(entry), f"{entry} was sent out of order"

    def _keys(self) -> set[tuple[str, bytes]]:
        return {(name, entry.id) for name, entry in self.sent}

    def _check_prefix(self, heard: set[tuple[str, bytes]], entry: Entry) -> None:
        """What is sent from the log is a prefix: a client that is cut off here resumes without a gap."""
        left = {
            (name, id)
            for name, id in heard - self._keys()
            if cursor.parse(id) < at(entry) and id not in self.logs[name].withdrawn and self._kept(name, id)
        }
        assert not left, f"{entry.id!r} was sent before {left}"

    def _kept(self, name: str, id: bytes) -> bool:
        return cursor.parse(id) > self.logs[name].floor

    def _check_lost(self, name: str, floor: Cursor) -> None:
        log, keys = self.logs[name], self._keys() - self._early
        since = max(self._asked[name], self._said_by_this_catch_up.get(name, BEGINNING))
        gone = [each for each in log.all if since < at(each) <= floor and (name, each.id) not in keys]
        assert gone, f"nothing of {name} is lost, or it was said before"
        self.said_lost[name] = self._said_by_this_catch_up[name] = floor

    def _check_complete(self) -> None:
        keys = self._keys()
        for name in self.channels:
            log = self.logs[name]
            for each in log.all:
                if at(each) <= self._start[name] or (name, each.id) in keys or each.id in log.withdrawn:
                    continue
                if at(each) <= log.floor and at(each) <= self._asked[name]:
                    continue  # it fell out, but the client had it
                assert at(each) <= self.said_lost.get(name, BEGINNING), f"{each.id!r} of {name} is lost in silence"


def interleavings(*threads: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield every order of all items that keeps the order within each thread."""
    if not any(threads):
        yield []
    for index, thread in enumerate(threads):
        if thread:
            for rest in interleavings(*threads[:index], thread[1:], *threads[index + 1 :]):
                yield [thread[0], *rest]


def run(world: World, actions: Sequence[tuple[Any, ...]]) -> World:
    """Do what a history says, then let everything come to its end."""
    for name, *arguments in actions:
        getattr(world, name)(*arguments)
    world.settle()
    return world


HISTORY_OF_BOTH = [(A, 1), (B, 2), (B, 3), (A, 4), (B, 5)]
PUBLISHED = [("publish", A), ("publish", B)]
STEP, HEAR = ("step",), ("hear",)


class TestAllInterleavings:
    """Small histories, in every order in which their parts can come."""

    @pytest.mark.parametrize("since", [None, 0, 1, 4])
    @pytest.mark.parametrize("size", [1, 2, 100])
    @pytest.mark.parametrize("max_aside", [PLENTY, 10, 0])
    def test_publish(self, since: int | None, size: int, max_aside: int) -> None:
        """Whenever something is published and heard, everything after the cursor goes out once and in order."""
        for actions in interleavings(PUBLISHED, [HEAR] * 2, [STEP] * 4):
            world = run(World(HISTORY_OF_BOTH, since, page=size, max_aside=max_aside), actions)
            assert {name for name, _ in world.sent} == {A, B}
            assert not world.said_lost

    @pytest.mark.parametrize(("size", "max_aside"), [(1, PLENTY), (2, 10)])
    def test_block(self, size: int, max_aside: int) -> None:
        """Wherever the socket blocks and whenever it reads again, nothing is missing and nothing comes twice."""
        for frames in (0, 1):
            for actions in interleavings(
                PUBLISHED[:1], [HEAR], [STEP] * 4, [("squeeze", frames), ("relieve",), ("squeeze", frames)]
            ):
                run(World(HISTORY_OF_BOTH, 1, page=size, max_aside=max_aside), actions)

    def test_ephemeral(self) -> None:
        """What is in no log goes out at most once, in its place, and hides nothing that is in the log."""
        published = [("publish", A), ("publish", A, EPHEMERAL), ("publish", A)]
        orders = set()
        for actions in interleavings(published, [HEAR] * 3, [STEP] * 3):
            world = run(World([(A, 1)], 0, channels=[A], max_aside=20), actions)
            orders.add(tuple(entry.kind for _, entry in world.sent))
        full = (NOTIFICATION, NOTIFICATION, EPHEMERAL, NOTIFICATION)
        assert full in orders, "nobody ever heard it"
        assert {tuple(kind for kind in order if kind != EPHEMERAL) for order in orders} >= {full[:2] + full[3:]}

    @pytest.mark.parametrize(("size", "steps"), [(1, 7), (2, 4)])
    def test_trim(self, size: int, steps: int) -> None:
        """Whenever entries fall out, either they were sent or their channel is named, once for each that fell."""
        named = set()
        for actions in interleavings(PUBLISHED[:1], [HEAR], [STEP] * steps, [("trim_of", A), ("trim_of", A)]):
            world = Trimming([(A, 2), (B, 3), (A, 4)], 1, page=size)
            run(world, actions)
            named.add(tuple(world.said_lost))
        assert named == {(), (A,)}

    @pytest.mark.parametrize(
        ("heard", "name", "since"),
        [
            pytest.param([A], B, 2, id="new"),
            pytest.param([A], A, 2, id="that is read"),
            pytest.param([A, B], A, 4, id="that is up to date"),
        ],
    )
    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    def test_subscribe(self, heard: list[str], name: str, since: int, max_aside: int) -> None:
        """Whenever a channel is added, or asked for once more, what it had since the cursor goes out."""
        others = [other for other in (A, B) if other not in heard]
        for actions in interleavings([("subscribe", name, 0)], PUBLISHED, [HEAR] * 2, [STEP] * 3):
            run(World(HISTORY_OF_BOTH, since, channels=heard, others=others, max_aside=max_aside), actions)

    @pytest.mark.parametrize("since", [None, 4])
    @pytest.mark.parametrize("again", [0, 3, 5])
    def test_subscribe_twice(self, since: int | None, again: int) -> None:
        """Whenever a channel is asked for with another cursor, nothing is left out before the later one."""
        asked = [("subscribe", A, 1), ("subscribe", A, again)]
        for actions in interleavings(asked, PUBLISHED, [HEAR] * 2, [STEP] * 3):
            run(World(HISTORY_OF_BOTH, since, channels=[B], others=[A], page=1), actions)

    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    @pytest.mark.parametrize("size", [1, 100])
    def test_leave_and_subscribe(self, max_aside: int, size: int) -> None:
        """Whenever a channel is left and asked for from the same cursor, all behind it goes out."""
        asked = [("subscribe", A, 1), ("leave", A), ("subscribe", A, 1)]
        for actions in interleavings(asked, PUBLISHED, [HEAR] * 2, [STEP] * 3):
            run(World(HISTORY_OF_BOTH, 5, channels=[B], others=[A], max_aside=max_aside, page=size), actions)

    @pytest.mark.parametrize("max_aside", [PLENTY, 0])
    def test_deaf(self, max_aside: int) -> None:
        """Whenever the worker loses Redis, what it did not hear comes from the log."""
        for actions in interleavings(PUBLISHED, [HEAR] * 2, [STEP] * 3, [("go_deaf",)]):
            run(World(HISTORY_OF_BOTH, 3, max_aside=max_aside), actions)


class Trimming(World):
    """A world whose logs are bounded."""

    def trim_of(self, name: str) -> None:
        """Let the oldest entry of a channel fall out."""
        self.logs[name].trim()

    def withdraw_of(self, name: str, index: int) -> None:
        """Recall an entry of a channel."""
        self.logs[name].withdraw(index)


C = "all"
NAMES = st.sampled_from([A, B, C])
ACTIONS = st.one_of(
    st.just(STEP),
    st.just(STEP),
    st.tuples(st.just("publish"), NAMES, st.sampled_from([NOTIFICATION, HISTORY, EPHEMERAL]), st.integers(0, SKEW)),
    st.tuples(st.just("hear"), st.integers(1, 5)),
    st.tuples(st.just("squeeze"), st.integers(0, 3)),
    st.just(("relieve",)),
    st.just(("go_deaf",)),
    st.tuples(st.just("trim_of"), NAMES),
    st.tuples(st.just("withdraw_of"), NAMES, st.integers(0, 9)),
    st.tuples(st.just("leave"), st.just(B)),
    st.tuples(st.just("subscribe"), st.just(B), st.integers(0, 21)),
)


@settings(max_examples=500)
@given(
    st.lists(st.tuples(NAMES, st.integers(1, 20)), max_size=20),
    st.none() | st.integers(0, 21),
    st.integers(0, 5),
    st.integers(1, 4),
    st.sampled_from([0, 10, 30, PLENTY]),
    st.sampled_from([0, 1000, PLENTY]),
    st.lists(ACTIONS, min_size=20, max_size=60),
)
def test_random_histories(
    history: list[tuple[str, int]],
    since: int | None,
    overlap: int,
    size: int,
    max_aside: int,
    remembers: int,
    actions: list[tuple[Any, ...]],
) -> None:
    """Long histories of three channels keep every promise, whatever their clocks, bounds and sockets do."""
    world = Trimming(
        sorted(history, key=lambda item: item[1]),
        since,
        channels=[A, B, C],
        overlap=overlap,
        page=size,
        max_aside=max_aside,
        remembers=remembers,
    )
    run(world, actions)


def next_page(read: tuple[str, Cursor]) -> Page:
    """Return what a log of 50 entries has after a position, three at a time."""
    _, position = read
    times = range(position.ms + 1, 51)
    return page(*times[:3], complete=len(times) < 3)


def by_time(item: tuple[str, int]) -> int:
    return item[1]


class TestSharedReads:
    """One read of a log serves many who come back."""

    def test_share(self) -> None:
        """Who is not far behind the one that is furthest behind needs no read of their own."""
        minute = 60_000
        reads = [(A, Cursor(minute, 0)), (B, Cursor(7, 0)), (A, Cursor(7, 0)), (A, Cursor(9, 1)), (A, Cursor(7, 0))]
        answers = share(reads)
        assert answers == {
            (A, Cursor(7, 0)): (A, Cursor(7, 0)),
            (A, Cursor(9, 1)): (A, Cursor(7, 0)),
            (A, Cursor(minute, 0)): (A, Cursor(minute, 0)),
            (B, Cursor(7, 0)): (B, Cursor(7, 0)),
        }

    def test_behind_each_other(self) -> None:
        """Of two of which each is further behind on another channel, neither waits for the other for ever."""
        first = CatchUp({A: Cursor(0, 0), B: Cursor(40, 0)}, 0)
        second = CatchUp({A: Cursor(40, 0), B: Cursor(0, 0)}, 0)
        sent: dict[CatchUp, list[tuple[str, int]]] = {first: [], second: []}
        for _ in range(500):
            reads = {each: list(dict(each.positions).items()) for each in (first, second)}
            alone = [read for each, own in reads.items() if each.is_impatient for read in own]
            answers = share((read for own in reads.values() for read in own), alone)
            for each, own in reads.items():
                each.begin()
                pages = {read[0]: next_page(answers[read]).after(read[1]) for read in own}
                if None in pages.values():
                    each.waits += 1
                    continue
                for channel, found in each.join({channel: page for channel, page in pages.items() if page}).entries:
                    each.sent(channel, found)
                    sent[each].append((channel, at(found).ms))
        assert sent[first] == sorted([(A, ms) for ms in range(1, 51)] + [(B, ms) for ms in range(41, 51)], key=by_time)
        assert sent[second] == sorted([(A, ms) for ms in range(41, 51)] + [(B, ms) for ms in range(1, 51)], key=by_time)


class TestSteps:
    """The same, step by step, where the words of the contract are plainest."""

    def test_nothing_missed(self) -> None:
        """A connection that has missed nothing is live at once."""
        catch_up = CatchUp({A: Cursor(5, 0), B: Cursor(7, 0)}, PLENTY)
        catch_up.begin()
        assert catch_up.join({}) == ([], True, [])

    def test_merge(self) -> None:
        """Channels are merged in cursor order."""
        catch_up = CatchUp({A: BEGINNING, B: BEGINNING}, PLENTY)
        catch_up.begin()
        step = catch_up.join({A: page(1, 9, 10), B: page(2, 8, 11)})
        assert [(name, at(entry).ms) for name, entry in step.entries] == [
            (A, 1),
            (B, 2),
            (B, 8),
            (A, 9),
            (A, 10),
            (B, 11),
        ]
        assert step.complete

    def test_prefix(self) -> None:
        """Behind the end of an incomplete page nothing goes out, and the rest is read again."""
        catch_up = CatchUp({A: BEGINNING, B: BEGINNING, C: BEGINNING}, PLENTY)
        catch_up.begin()
        catch_up.hear(C, [entry(4)])
        step = catch_up.join({A: page(1, 5, complete=False), B: page(2, 3, 6, complete=False), C: page(9)})
        assert [at(entry).ms for _, entry in step.entries] == [1, 2, 3, 5]
        assert not step.complete

    def test_aside_waits(self) -> None:
        """Live entries that were put aside go out with the end of the log, without those that the log had."""
        catch_up = CatchUp({A: BEGINNING, B: BEGINNING}, PLENTY)
        catch_up.begin()
        catch_up.hear(A, [entry(2), entry(4, 2)])
        first = catch_up.join({A: page(1, 2, complete=False), B: page(3)})
        assert [at(entry).ms for _, entry in first.entries] == [1, 2]
        for name, sent in first.entries:
            catch_up.sent(name, sent)
        catch_up.begin()
        second = catch_up.join({A: page(), B: page(3)})
        assert [(name, at(entry).ms) for name, entry in second.entries] == [(B, 3), (A, 4)]
        assert second.complete

    def test_waiting_for_the_subscription(self) -> None:
        """A connection without a cursor that waits for its worker is sent what comes first, also when that is much."""
        catch_up = CatchUp({A: None}, max_aside=10)
        catch_up.hear(A, [entry(7, 5), entry(8, 7)])
        assert catch_up.positions == {A: Cursor(5, 0)}
        catch_up.begin()
        assert [at(entry).ms for _, entry in catch_up.join({A: page(7, 8)}).entries] == [7, 8]

    def test_overflow(self) -> None:
        """When more was put aside than may be, all of it is dropped, and the log is read once more."""
        catch_up = CatchUp({A: BEGINNING}, max_aside=20)
        catch_up.begin()
        catch_up.hear(A, [entry(2), entry(3, 2)])
        catch_up.hear(A, [entry(4, 3)])
        step = catch_up.join({A: page(1, 2)})
        assert [at(entry).ms for _, entry in step.entries] == [1, 2]
        assert not step.complete
        catch_up.begin()
        assert catch_up.join({A: page(3, 4)}).complete

    def test_going_back(self) -> None:
        """Of a channel that goes back, nothing counts as sent from the log: it is to be sent once more."""
        catch_up = CatchUp({A: BEGINNING, B: BEGINNING}, PLENTY)
        catch_up.begin()
        for name, sent in catch_up.join({A: page(6), B: page(7)}).entries:
            catch_up.sent(name, sent)
        catch_up.resume([A], Cursor(5, 0), 0)
        catch_up.resume([B], Cursor(8, 0), 0)
        assert catch_up.read == {B: Cursor(7, 0)}

    def test_overtaken(self) -> None:
        """What is in no log goes out also where a later entry came from the log before it was heard."""
        catch_up = CatchUp({A: BEGINNING}, PLENTY)
        catch_up.begin()
        for name, sent in catch_up.join({A: page(6, complete=False)}).entries:
            catch_up.sent(name, sent)
        catch_up.hear(A, [entry(5, kind=EPHEMERAL), entry(6)])
        catch_up.begin()
        assert [at(each).ms for _, each in catch_up.join({A: page()}).entries] == [5]

    def test_size_begins_anew(self) -> None:
        """What has gone out, or was dropped, does not count as put aside."""
        catch_up = CatchUp({A: BEGINNING}, max_aside=20)
        for ms in range(10, 20):
            catch_up.begin()
            catch_up.hear(A, [entry(ms, ms - 1)])
            step = catch_up.join({})
            assert [at(each).ms for _, each in step.entries] == [ms]
            assert step.complete

    def test_forgotten(self) -> None:
        """Of a channel that was left nothing goes out."""
        catch_up = CatchUp({A: BEGINNING, B: BEGINNING}, PLENTY)
        catch_up.begin()
        catch_up.hear(B, [entry(1), entry(2, 1)])
        catch_up.hear(A, [entry(4)])
        catch_up.forget(B)
        catch_up.forget("topic:unknown")
        catch_up.hear(B, [entry(3, 2)])
        assert [(name, at(each).ms) for name, each in catch_up.join({}).entries] == [(A, 4)]
        assert catch_up.positions.keys() == {A}

    def test_only_its_channels(self) -> None:
        """What is heard of another channel is not for this connection."""
        catch_up = CatchUp({A: BEGINNING}, PLENTY)
        catch_up.begin()
        catch_up.hear(B, [entry(1)])
        assert catch_up.join({}).entries == []

    def test_sent_never_goes_back(self) -> None:
        """The position is the highest entry that was sent."""
        catch_up = CatchUp({A: None}, PLENTY)
        for ms in (5, 3):
            catch_up.sent(A, entry(ms))
        assert catch_up.positions == {A: Cursor(5, 0)}

    def test_overlap(self) -> None:
        """A connection that comes back is read from before its cursor."""
        catch_up = CatchUp({A: None, B: None}, PLENTY)
        catch_up.resume([A], Cursor(5000, 3), 2000)
        assert catch_up.positions == {A: Cursor(3000, 0), B: None}

    def test_order_of_numbers(self) -> None:
        """Positions are compared as numbers: 9 is before 10."""
        catch_up = CatchUp({A: Cursor(9, 0)}, PLENTY)
        catch_up.begin()
        catch_up.hear(A, [entry(9), entry(10, 9)])
        assert [at(each).ms for _, each in catch_up.join({}).entries] == [10]


class TestLost:
    @pytest.mark.parametrize(
        ("position", "since", "floor", "lost"),
        [
            (5, None, 0, []),
            (5, None, 4, []),
            (5, None, 5, []),
            (5, None, 6, [A]),
            (3, 5, 3, []),
            (3, 5, 4, []),  # in the overlap: the client has it
            (3, 5, 5, []),
            (3, 5, 6, [A]),
            (0, 0, 1, [A]),
        ],
    )
    def test_floor(self, position: int, since: int | None, floor: int, lost: list[str]) -> None:
        """Something is lost if it fell out behind the position and behind the cursor of the client."""
        catch_up = CatchUp({A: Cursor(position, 0) if since is None else None}, PLENTY)
        if since is not None:
            catch_up.resume([A], Cursor(since, 0), since - position)
        catch_up.begin()
        assert catch_up.join({A: page(floor=floor)}).lost == lost

    def test_once(self) -> None:
        """The same loss is said once, a further one again."""
        catch_up = CatchUp({A: Cursor(1, 0)}, PLENTY)
        said = []
        for floor in (5, 5, 6, 6):
            catch_up.begin()
            said.append(catch_up.join({A: page(floor=floor)}).lost)
        assert said == [[A], [], [A], []]

    def test_sent_before_it_fell(self) -> None:
        """What was sent before it fell out is not lost."""
        catch_up = CatchUp({A: Cursor(1, 0)}, PLENTY)
        catch_up.begin()
        for name, sent in catch_up.join({A: page(2, 3, complete=False)}).entries:
            catch_up.sent(name, sent)
        catch_up.begin()
        assert catch_up.join({A: page(4, floor=3)}).lost == []

    def test_known(self) -> None:
        """What was known to be lost before is said with the first step, once."""
        catch_up = CatchUp({A: BEGINNING, B: BEGINNING}, PLENTY)
        catch_up.lost = [A]
        catch_up.begin()
        assert sorted(catch_up.join({A: page(9, floor=5), B: page(9, floor=6)}).lost) == [B, A]
        catch_up.begin()
        assert catch_up.join({A: page(9, floor=5), B: page(9, floor=6)}).lost == []

    def test_none_for_newcomers(self) -> None:
        """Who comes without a cursor has lost nothing."""
        world = Trimming([(A, 1), (A, 2)], None, channels=[A])
        world.trim_of(A)
        world.settle()
        assert not world.said_lost
