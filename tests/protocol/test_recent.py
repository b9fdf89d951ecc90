"""Recent entries: whatever is answered without the log is what the log would have answered."""

import tracemalloc
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, REMOVED, Entry, Page
from notifier.protocol.recent import Recent
from tests.kit.chance import share

PLENTY = 10**6  # bytes
NAMES = ("user:a", "topic:b")
NOW = 1000


class Log:
    """A channel's log in Redis, as the scripts keep it."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[int, Entry, int]] = {}  # its time, and the time when it expires or 0
        self.keys: dict[int, bytes] = {}
        self.logged = b"0-0"
        self.ms = 0

    def publish(self, kind: bytes = NOTIFICATION, key: int = 0, ttl: int = 0) -> Entry:
        """Append, and replace what has the same collapse key."""
        body = b'{"id":"%d"' % self.ms
        body += b',"collapse_key":"%d"' % key if key else b""
        body += b',"expires_at":"2026"' if ttl else b""
        entry = self._entry(kind, body + b"}")
        if key:
            self.entries.pop(self.keys.get(key, b""), None)
            self.keys[key] = entry.id
        if kind != EPHEMERAL:
            self.entries[entry.id] = (self.ms, entry, ttl and self.ms + ttl)
        return entry

    def recall(self, index: int) -> Entry:
        """Take an entry away, and leave a note."""
        for id in [*self.entries][index : index + 1]:
            del self.entries[id]
        entry = self._entry(REMOVED, b"an id")
        self.entries[entry.id] = (self.ms, entry, 0)
        return entry

    def pages(self) -> Iterator[tuple[Cursor, list[Entry]]]:
        """Yield what is read from it now, after each position."""
        alive = [
            (made, entry._replace(previous=b""))
            for made, entry, expires in self.entries.values()
            if not 0 < expires <= self.ms
        ]
        for ms in range(self.ms + 1):
            yield Cursor(ms, 0), [entry for made, entry in alive if made > ms]

    def _entry(self, kind: bytes, body: bytes) -> Entry:
        self.ms += 1
        entry = Entry(b"%d-0" % self.ms, self.logged, kind, body)
        if kind != EPHEMERAL:
            self.logged = entry.id
        return entry


ACTIONS = st.one_of(
    st.tuples(st.just("publish"), st.just(NOTIFICATION)),
    st.tuples(st.just("publish"), st.just(EPHEMERAL)),
    st.tuples(st.just("publish"), st.just(NOTIFICATION), st.integers(1, 2)),
    st.tuples(st.just("publish"), st.just(NOTIFICATION), st.just(0), st.integers(1, 3)),
    st.tuples(st.just("recall"), st.integers(0, 5)),
)


@settings(max_examples=share(500))
@given(
    st.sampled_from([500, 1500, PLENTY]),
    st.lists(st.tuples(st.sampled_from(NAMES), ACTIONS, st.booleans()), max_size=40),
)
def test_like_the_log(limit: int, actions: list[tuple[str, tuple[object, ...], bool]]) -> None:
    """For any publications, and any subset that was received, a page has the entries of the log, or there is none."""
    recent, logs = Recent(limit), {name: Log() for name in NAMES}
    seen = dict.fromkeys(NAMES, b"0-0")
    for name, (action, *arguments), heard in actions:
        entry = getattr(logs[name], action)(*arguments)
        if heard:
            recent.receive(name, [entry], seen[name])
            if entry.kind != EPHEMERAL:
                seen[name] = entry.id
        for each, log in logs.items():
            if seen[each] != log.logged:
                continue  # it may have an entry whose removal has not been received
            for position, entries in log.pages():
                page = recent.page(each, position, seen[each], NOW)
                assert page is None or page == Page(entries, True, BEGINNING)


class TestReach:
    """How far back it reaches."""

    def test_heard(self) -> None:
        """Entries that were received without a gap are returned; a page that begins before the first of them is not."""
        recent, log = Recent(PLENTY), Log()
        log.publish()
        for _ in range(3):
            recent.receive("user:a", [log.publish()], b"0-0")
        page = recent.page("user:a", Cursor(2, 0), log.logged, NOW)
        assert page and [entry.id for entry in page.entries] == [b"3-0", b"4-0"]
        assert recent.page("user:a", Cursor(1, 0), log.logged, NOW)
        assert recent.page("user:a", Cursor(0, 5), log.logged, NOW) is None
        assert recent.page("user:b", Cursor(9, 0), log.logged, NOW) is None

    def test_lost_end(self) -> None:
        """A client without entries that the log lost is not served from here: only the log knows of that loss."""
        recent, log = Recent(PLENTY), Log()
        log.publish()
        recent.receive("user:a", [log.publish()], b"5-0")
        assert recent.page("user:a", Cursor(1, 0), log.logged, NOW) is None
        assert recent.page("user:a", Cursor(5, 0), log.logged, NOW)

    def test_lost_end_and_no_room(self) -> None:
        """The same holds after the oldest of the later entries was removed."""
        recent, log = Recent(1000), Log()
        for seen in (b"5-0", b"5-0", b"5-0"):
            recent.receive("user:a", [log.publish()], seen)
        assert recent.page("user:a", Cursor(4, 0), log.logged, NOW) is None
        assert recent.page("user:a", Cursor(5, 0), log.logged, NOW)

    def test_limit(self) -> None:
        """The oldest go first, over all channels."""
        recent, logs = Recent(1000), {name: Log() for name in NAMES}
        for name in NAMES * 2:
            recent.receive(name, [logs[name].publish()], b"0-0")
        assert all(recent.page(name, Cursor(1, 0), log.logged, NOW) for name, log in logs.items())
        assert not any(recent.page(name, Cursor(0, 0), log.logged, NOW) for name, log in logs.items())

    def test_channels_without_end(self) -> None:
        """The limit holds for any number of channels, and for any entries in them."""
        recent = Recent(1000)
        entry, expiring = Log().publish(), Log().publish(ttl=5)
        tracemalloc.start()
        try:
            for number in range(20_000):
                recent.receive(f"user:{number}", [entry if number % 2 else expiring], b"0-0")
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size < 500_000

    def test_age(self) -> None:
        """Old entries are left to the log, which may have removed them."""
        recent, log = Recent(PLENTY), Log()
        recent.receive("user:a", [log.publish(), log.publish()], b"0-0")
        assert recent.page("user:a", Cursor(1, 0), log.logged, now=60_001)
        assert recent.page("user:a", Cursor(1, 0), log.logged, now=60_002) is None

    def test_clear(self) -> None:
        """After a clear it begins again."""
        recent, log = Recent(PLENTY), Log()
        recent.receive("user:a", [log.publish()], b"0-0")
        recent.clear()
        assert recent.page("user:a", Cursor(0, 0), log.logged, NOW) is None
        recent.receive("user:a", [log.publish()], b"0-0")
        assert recent.page("user:a", Cursor(1, 0), log.logged, NOW)


def test_far_behind() -> None:
    """A reader that is far behind is served in pages, so that it takes little time at once."""
    recent = Recent(PLENTY)
    ids = [b"%d-0" % ms for ms in range(1, 502)]
    all_of_them = [Entry(id, before, NOTIFICATION, b"{}") for before, id in zip([b"0-0", *ids], ids, strict=False)]
    recent.receive("all", all_of_them, b"0-0")
    position, read = BEGINNING, list[bytes]()
    while page := recent.page("all", position, ids[-1], NOW):
        assert 0 < len(page.entries) <= 200
        read += [entry.id for entry in page.entries]
        position = cursor.parse(read[-1])
        if page.complete:
            break
    assert read == ids
