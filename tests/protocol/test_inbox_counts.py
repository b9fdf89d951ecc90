"""Inbox views: counts and flags, compared with a model that looks at every item."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from notifier.protocol import cursor
from notifier.protocol import digest as digests_module
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.digest import Digest
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import NOTHING, Counts, Flags, InboxState, Marks
from tests.kit.cases import every, rows
from tests.kit.ids import id_of, name_of
from tests.protocol.test_digest import entry, row

TOPICS = ["a", "b"]
NAMES = ["all", "topic:a", "topic:b", "topic:c"]
FLAGS = "sra"


def digest(name: str, *rows: Any, first: bytes = b"0-1") -> Digest:
    subject = Digest(name)
    subject.follow(first, rows)
    return subject


def view(state: InboxState = NOTHING, **logs: list[Any]) -> InboxView:
    """Return the view of a member of topics `a` and `b`, with logs of `all` and of topics."""
    names = {("all" if name == "all" else f"topic:{name}"): rows for name, rows in logs.items()}
    return InboxView(state, {name: digest(name, *rows) for name, rows in names.items()})


def member(**more: Any) -> InboxState:
    return InboxState(topics={"a": BEGINNING, "b": BEGINNING}, **more)


def ranked(ms: int, seq: int = 0) -> int:
    return Cursor(ms, seq).rank


def test_sources() -> None:
    """An inbox has items of `all` and of its user's topics, and no others."""
    subject = view(member(unread=1, unseen=2), all=[row(1, "x")], a=[row(2, "y")], c=[row(3, "z")])
    assert [name_of(item.id) for item in subject.shared()] == ["x", "y"]
    assert subject.counts == Counts(3, 4)
    assert member().sources == ["all", "topic:a", "topic:b"]
    assert view(all=[row(1)], a=[row(2)]).counts == Counts(1, 1)


def test_joined() -> None:
    """Items from before the membership are not in the inbox."""
    subject = view(InboxState(topics={"a": Cursor(5, 0)}), all=[], a=[row(4, "x"), row(5, "y"), row(5, "z", seq=1)])
    assert [name_of(item.id) for item in subject.shared()] == ["z"]
    assert subject.counts == Counts(1, 1)
    assert subject.find(map(id_of, "xyz")) == list(subject.shared())


def test_marks_and_exceptions() -> None:
    """Items up to a mark have its flag and later ones do not, except for exceptions."""
    exceptions = {("r", "all"): [ranked(1), ranked(9)], ("s", "all"): [ranked(8)]}
    marks = Marks(seen=ranked(5), read=ranked(2), exceptions=exceptions)
    subject = view(InboxState(marks), all=[row(ms) for ms in (1, 2, 3, 8, 9)])
    assert [subject.flags(item)[:2] for item in subject.shared()] == [
        (True, False),
        (True, True),
        (True, False),
        (True, False),
        (False, True),
    ]
    assert subject.counts == Counts(3, 1)


def test_exceptions_of_what_is_gone() -> None:
    """Exceptions are ignored if their item has left the log, or their channel is not in the inbox."""
    exceptions = {("r", "all"): [ranked(1), ranked(7)], ("r", "topic:z"): [ranked(3)]}
    subject = view(InboxState(Marks(read=ranked(2), exceptions=exceptions)), all=[row(2), row(3)])
    assert subject.counts.unread == 1


def test_copies() -> None:
    """A notification on several channels counts once, with the same flags on all of them."""
    copy = {"copy": "1"}
    logs = {"all": [row(1, "x", **copy)], "a": [row(2, "x", **copy), row(3, "y", **copy)], "b": [row(4, "y", **copy)]}
    subject = view(member(), **logs)
    assert [(item.channel, name_of(item.id)) for item in subject.shared()] == [("all", "x"), ("topic:a", "y")]
    assert subject.counts == Counts(2, 2)
    assert [item.channel for item in subject.find([id_of("x")])] == ["all", "topic:a"]
    assert [name_of(item.id) for item in subject.everywhere()] == ["x", "x", "y", "y"]
    assert [item.channel for item in subject.everywhere(ranked(3), ranked(1))] == ["topic:a", "topic:a"]
    assert view(member(copies=frozenset([id_of("y")]), unread=1, unseen=1), **logs).counts == Counts(2, 2)


def test_a_twin_that_was_there_before_the_membership() -> None:
    """A copy on a channel that is not in the inbox hides no other copy."""
    state = InboxState(topics={"a": Cursor(1, 0), "b": BEGINNING})
    subject = view(state, all=[], a=[row(1, "x", copy="1")], b=[row(2, "x", copy="1")])
    assert [item.channel for item in subject.shared()] == ["topic:b"]
    assert subject.counts == Counts(1, 1)


@rows(
    ("mutes", "muted"),
    [
        ({"type:t": 3}, ["3-0", "4-0"]),
        ({"topic:a": 0}, ["4-0"]),
        ({"topic:b": 0, "type:": 0, "type:other": 0}, []),
        ({"topic:all": 0}, []),
    ],
)
def test_mutes(mutes: dict[str, int], muted: list[str]) -> None:
    """Items that arrived after their type or topic was muted are read and not counted."""
    rows = [row(ms, type="t") for ms in (2, 3)]
    subject = view(InboxState(topics={"a": BEGINNING}, mutes=mutes), all=rows, a=[row(4, type="t")])
    assert [item.entry for item in subject.shared() if subject.flags(item).muted] == muted
    assert all(subject.flags(item)[:2] == (True, True) for item in subject.shared() if item.entry in muted)
    assert subject.counts == Counts(3 - len(muted), 3 - len(muted))


def test_expires() -> None:
    """The next expiry is the earliest one of all channels."""
    assert view(all=[row(1)]).expires == 0
    assert view(InboxState(expires=50), all=[row(1, expires=60)]).expires == 50
    assert view(InboxState(expires=50), all=[row(1, expires=40)]).expires == 40
    assert view(all=[row(1, expires=40)], c=[row(1, expires=30)]).expires == 40


def test_newest() -> None:
    """The newest items come first; those of equal rank are in reverse order of their channels' names."""
    subject = view(member(), all=[row(1, "1"), row(5, "5")], a=[row(3, "3"), row(5, "5a")], b=[row(5, "5b")])
    assert [name_of(item.id) for item in subject.newest(None)] == ["5b", "5a", "5", "3", "1"]
    assert [name_of(item.id) for item in subject.newest(ranked(3))] == ["3", "1"]


class Post(NamedTuple):
    """An action of a publisher in the property test."""

    channels: frozenset[str]
    retain: bytes
    key: str
    type: str
    ttl: int
    gap: int


POSTS = st.builds(
    Post,
    st.frozensets(st.sampled_from(NAMES), min_size=1),
    st.sampled_from([b"i", b"i", b"i", b"h"]),
    st.sampled_from(["", "", "k", "l"]),
    st.sampled_from(["", "t", "u"]),
    st.sampled_from([0, 0, 5, 40]),
    st.integers(0, 2),
)
RECALLS = st.integers(0, 30)
EVENTS = st.lists(POSTS | RECALLS, max_size=30)
PLACES = st.integers(0, 60)
EXCEPTIONS = st.dictionaries(
    st.tuples(st.sampled_from(FLAGS), st.sampled_from(NAMES)),
    st.frozensets(st.builds(ranked, st.integers(1, 60), st.integers(0, 3)), max_size=8).map(sorted),
)
STANDINGS = st.builds(
    InboxState,
    marks=st.builds(Marks, PLACES.map(ranked), PLACES.map(ranked), PLACES.map(ranked), EXCEPTIONS),
    unread=st.integers(0, 3),
    unseen=st.integers(0, 3),
    topics=st.dictionaries(st.sampled_from(["a", "b"]), PLACES.map(lambda ms: Cursor(ms, 0))),
    mutes=st.one_of(st.just({}), st.dictionaries(st.sampled_from(["type:t", "type:u", "topic:a", "topic:b"]), PLACES)),
    copies=st.frozensets(st.sampled_from([id_of(f"n{number}") for number in range(8)])),
    everyone=st.just("all"),
)


class Log:
    """A model of a shared channel: every entry that its log still has, and the rows that a reader gets."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.entries: list[tuple[Cursor, str, Post | None]] = []  # None: a recall
        self.rows: list[Any] = []

    def post(self, place: Cursor, id: str, post: Post, expires: int, is_copy: bool) -> None:
        if post.key:
            self.entries = [each for each in self.entries if each[2] is None or each[2].key != post.key]
        self._add(place, id, post)
        more = {"type": post.type, "copy": "1" if is_copy else ""}
        self.rows.append(row(place.ms, id, post.retain, place.seq, expires, post.key, **more))

    def recall(self, place: Cursor, id: str) -> None:
        self.entries = [each for each in self.entries if each[1] != id or each[2] is None]
        self._add(place, id, None)
        self.rows.append(row(place.ms, id, b"r", place.seq))

    def _add(self, place: Cursor, id: str, post: Post | None) -> None:
        self.entries = [*self.entries, (place, id, post)][-self.most :]

    @property
    def first(self) -> bytes:
        return str(self.entries[0][0]).encode() if self.entries else b""


@given(EVENTS, STANDINGS, st.integers(1, 25), st.integers(0, 80), st.lists(st.integers(0, 60), max_size=3))
def test_counts_as_a_naive_model(
    events: list[Post | int], state: InboxState, most: int, now: int, looks: list[int]
) -> None:
    """Each item counts once, whatever was published, recalled, replaced, trimmed, expired, muted and marked."""
    logs = {name: Log(most) for name in NAMES}
    digests = {name: Digest(name) for name in NAMES}
    expires: dict[str, int] = {}
    places: dict[str, frozenset[str]] = {}
    ms, seq = 1, 0
    for number, event in enumerate(events):
        if isinstance(event, Post):
            ms, seq = (ms + event.gap, 0) if event.gap else (ms, seq + 1)
            id = f"n{number}"
            expires[id], places[id] = (ms + event.ttl if event.ttl else 0), event.channels
            for name in event.channels:
                logs[name].post(Cursor(ms, seq), id, event, expires[id], len(event.channels) > 1)
        else:
            seq += 1
            for name in places.get(f"n{event}", ()):
                logs[name].recall(Cursor(ms, seq), f"n{event}")
        if number in looks:  # another reader reads in between
            for name, log in logs.items():
                digests[name].follow(log.first, log.rows)
                digests[name].pass_time(min(now, ms))
    for name, log in logs.items():
        digests[name].follow(log.first, log.rows)
        digests[name].pass_time(now)

    subject = InboxView(state, digests)
    found: dict[str, tuple[str, Cursor, Post]] = {}
    for name in state.sources:
        joined = state.topics.get(name.removeprefix("topic:"), Cursor(-1, 0))
        for place, id, post in logs[name].entries:
            alive = post is not None and post.retain == b"i" and not 0 < expires[id] <= now
            if post is not None and alive and place > joined and id not in found and id not in _own(state, places):
                found[id] = (name, place, post)

    def has(flag: str, name: str, place: Cursor) -> bool:
        mark = state.marks[FLAGS.index(flag)]
        return (place.rank <= mark) != (place.rank in state.marks.exceptions.get((flag, name), ()))

    def muted(name: str, place: Cursor, post: Post) -> bool:
        since = [state.mutes.get(f"type:{post.type}", 99), state.mutes.get(name, 99)]
        return place.ms >= min(since)

    flags = {
        id: Flags(True, True, has("a", name, place), True)
        if muted(name, place, post)
        else Flags(has("s", name, place), has("r", name, place), has("a", name, place))
        for id, (name, place, post) in found.items()
    }
    assert {name_of(item.id): subject.flags(item) for item in subject.shared()} == flags
    assert subject.counts == Counts(
        state.unread + sum(not each.read for each in flags.values()),
        state.unseen + sum(not each.seen for each in flags.values()),
    )
    listed = [(item.rank, item.channel) for item in subject.newest(None)]
    assert listed == sorted(listed, reverse=True) and len(listed) == len(flags)


@given(EVENTS, st.integers(1, 25), st.integers(0, 80), st.lists(st.integers(0, 60), max_size=3), st.integers(0, 3))
def test_left_as_a_naive_model(events: list[Post | int], most: int, now: int, looks: list[int], spare: int) -> None:
    """Only ranks whose entries have left the log are returned, and then few others are left over."""
    log, subject, ranks = Log(most), Digest("all"), list[int]()
    for number, event in enumerate(events, 1):
        if isinstance(event, Post):
            ranks.append(ranked(number))
            log.post(Cursor(number, 0), f"n{number - 1}", event, number + event.ttl if event.ttl else 0, is_copy=False)
        else:
            log.recall(Cursor(number, 0), f"n{event}")
        if number in looks:
            subject.follow(log.first, log.rows)
            subject.pass_time(min(now, number))

    subject.follow(log.first, log.rows)
    subject.pass_time(now)
    ranks.append(ranked(99))  # this entry is newer than what the digest has
    with mock.patch.object(digests_module, "_SPARE", spare):
        left = set(subject.left(ranks))
    stored = {place.rank for place, _, post in log.entries if post is not None and post.retain == b"i"}
    assert left <= set(ranks) - stored - {ranked(99)}
    begin = cursor.parse(log.first).rank if log.first else subject.last.rank
    assert left >= {rank for rank in ranks if rank < begin}
    later = [rank for rank in ranks if rank >= begin]
    if len(later) > len(subject) + spare:
        assert set(later) - left <= stored | {ranked(99), subject.last.rank}


def test_left_after_an_expiry() -> None:
    """Items that have expired count as stored for another minute."""
    rows = [row(1), *(row(ms, expires=1000) for ms in range(2, 60)), row(60)]
    subject = digest("all", *rows)
    ranks = [ranked(ms) for ms in range(1, 60)]
    for now, count in [(1000, 0), (61_000, 0), (61_001, 58)]:
        subject.pass_time(now)
        assert (len(subject), len(subject.left(ranks))) == (2, count)


def test_outdated() -> None:
    """Exceptions of entries that have left the log are outdated; so are those of channels that the user has left."""
    ranks = [ranked(ms) for ms in (1, 2, 70_000, 140_000)]
    exceptions = {("r", "all"): ranks, ("s", "all"): ranks[2:], ("a", "topic:z"): ranks, ("a", "topic:a"): ranks[1:2]}
    state = member(marks=Marks(exceptions=exceptions))
    logs = {
        "all": digest("all", row(70_000), first=entry(70_000)),
        "topic:a": digest("topic:a"),
        "topic:b": digest("topic:b"),
    }
    subject = InboxView(state, logs)
    assert subject.outdated(140_000) == {("r", "all"): ranks[:2], ("a", "topic:z"): ranks[:3]}
    assert subject.outdated(0) == {("r", "all"): ranks[:2]}


def _own(state: InboxState, places: dict[str, frozenset[str]]) -> set[str]:
    """Return the notifications that are also on the user's own channel; they were published to several."""
    return {name for name in map(name_of, state.copies) if len(places.get(name, ())) > 1}


def test_ranks_tell_places_apart() -> None:
    """Ranks within a millisecond are distinct and in order, as far as a float can represent them."""
    ranks = [cursor.parse(entry(4_000_000_000_000, seq)).rank for seq in range(2048)]
    assert ranks == sorted(set(ranks))
    assert float(ranks[-1]) == ranks[-1] and cursor.parse("4000000000001-0").rank > ranks[-1]


def test_turns() -> None:
    """Each look at the items one by one gives others their turn."""
    steps = 0

    def turns(items: Iterable[Any]) -> Iterator[Any]:
        nonlocal steps
        for item in items:
            steps += 1
            yield item

    rows = [row(ms, copy="1") for ms in range(1, 101)]
    digests = {f"topic:{name}": digest(f"topic:{name}", *rows) for name in "ab"}
    exceptions = {("r", "topic:a"): [ranked(ms) for ms in range(1, 51)]}
    state = member(marks=Marks(exceptions=exceptions), mutes={"type:x": 1})
    for look in (
        lambda: list(InboxView(state, digests, turns).newest(None)),
        lambda: list(InboxView(state, digests, turns).everywhere()),
        lambda: InboxView(state, digests, turns).unmuted_by({}),
        lambda: InboxView(state, digests, turns).counts,
    ):
        steps = 0
        look()
        assert steps >= 200


@every(step=range(0, 105, 3), change=["recall", "trim", "publish"])
def test_changes_in_a_turn(step: int, change: str) -> None:
    """If a channel changes while its items are counted, the counts are those before or after, not a mixture."""
    rows = [row(ms, type=f"t{ms % 7}") for ms in range(1, 101)]
    log = digest("topic:a", *rows)
    exceptions = {(flag, "topic:a"): [ranked(ms) for ms in range(1, 51)] for flag in "rs"}
    state = InboxState(topics={"a": BEGINNING}, marks=Marks(exceptions=exceptions), mutes={"type:t1": 1, "type:t3": 1})
    steps = iter(range(10_000))

    def turns(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            if next(steps) == step:
                alter()

    def alter() -> None:
        match change:
            case "recall":
                log.follow(b"1-0", [row(101, "30-0", b"r")])
            case "trim":
                log.follow(b"21-0", [])
            case "publish":
                log.follow(b"1-0", [row(101)])

    before = InboxView(state, {"topic:a": log}).counts
    counts = InboxView(state, {"topic:a": log}, turns).counts
    assert next(steps) > step, "nothing was changed"
    assert counts in (before, InboxView(state, {"topic:a": log}).counts)


@every(step=range(18))
def test_copies_that_leave_in_a_turn(step: int) -> None:
    """A copy that has left its channel since it was found is not subtracted."""
    logs = {name: digest(name, *(row(ms, copy="1") for ms in range(1, 5))) for name in ("topic:a", "topic:b")}
    steps = iter(range(1000))

    def turns(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            if next(steps) == step:
                logs["topic:b"].follow(b"3-0", [])

    assert InboxView(member(), logs, turns).counts == Counts(4, 4)
    assert next(steps) > step, "nothing was changed"


def test_many_channels() -> None:
    """Others have their turn between the channels of an inbox, however few items each has."""
    asked: list[int] = []

    def turns(items: Iterable[Any]) -> Iterator[Any]:
        each = list(items)
        asked.append(len(each))
        return iter(each)

    names = [f"t{number}" for number in range(100)]
    state = InboxState(topics=dict.fromkeys(names, BEGINNING))
    digests = {f"topic:{name}": digest(f"topic:{name}", row(1)) for name in names}
    assert InboxView(state, digests, turns).counts == Counts(100, 100)
    assert 100 in asked
    asked.clear()
    assert len(list(InboxView(state, digests, turns).everywhere())) == 100
    assert 100 in asked
