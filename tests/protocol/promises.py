"""The promises to a connection, checked with everything that it is sent."""

import functools
from collections.abc import Iterable, Mapping

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, Entry, Page
from notifier.protocol.log_position import LogPosition
from tests.protocol.states import ELSEWHERE, MAPPING, SEQUENCE, SET, Kind

Key = tuple[str, bytes]  # a channel, and the id of an entry


@functools.lru_cache(maxsize=4096)
def at(entry: Entry) -> Cursor:
    return cursor.parse(entry.id)


def keys(entries: Iterable[tuple[str, Entry]]) -> set[Key]:
    return {(name, entry.id) for name, entry in entries}


class Log:
    """The log of one channel in Redis."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.all: list[Entry] = []  # ever appended
        self.withdrawn: set[bytes] = set()  # recalled, replaced or past its ttl
        self.floor = BEGINNING
        self.logged = self.last = b"0-0"  # `last` counts ephemeral entries, too

    @property
    def end(self) -> Cursor:
        return max(cursor.parse(self.logged), self.floor)

    def append(self, ms: int, kind: bytes = NOTIFICATION) -> Entry:
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
        """Read as broker/scripts/log/read.lua does."""
        found = [each._replace(previous=b"") for each in self.entries if at(each) > position][:size]
        return Page(found, len(found) < size, self.floor)


LOGS = Kind(Log, vars(Log()), entries=SEQUENCE, all=SEQUENCE, withdrawn=SET).by_name


class Promises:
    """The entries that one connection must be sent of each channel, and those that it was sent."""

    def __init__(self, logs: Mapping[str, Log], places: Mapping[str, LogPosition[str]]) -> None:
        self._logs = logs
        self._places = places
        self.sent: list[tuple[str, Entry]] = []
        self.named_lost: dict[str, Cursor] = {}
        self.confirmed: dict[str, Cursor] = {}  # where each log ended when its subscription was confirmed
        self.overtaken: set[Key] = set()  # may be sent twice: the log had it, and later ids had been received
        self._start: dict[str, Cursor] = {}  # after which entry a channel must be sent
        self._asked = dict.fromkeys(logs, BEGINNING)  # after which entry the client is missing a channel
        self._in_flight: set[Key] = set()  # not received, or being fanned out, when its channel began
        self._in_hand: set[Key] = set()  # must be sent before anything later is
        self._sent_now: set[Key] = set()  # by this catch-up
        self._named_now: dict[str, Cursor] = {}

    def attach(self, channels: Iterable[str], since: Cursor) -> None:
        """Begin with a cursor."""
        self._asked |= dict.fromkeys(channels, since)

    def begin_catch_up(self) -> None:
        self._sent_now, self._named_now = set(), {}

    def begin(self, name: str, position: Cursor, unheard: set[Key]) -> None:
        """Begin a channel, which may leave out nothing that was published after its confirmation."""
        if name in self._start:
            return
        self._start[name] = position
        self._in_flight |= unheard
        after = self.confirmed.get(name, position)
        left_out = {(name, each.id) for each in self._logs[name].all if after < at(each) <= position}
        assert left_out <= self._in_flight, f"{name} begins too late"

    def ask(self, name: str, since: Cursor, position: Cursor | None) -> None:
        """Promise what comes after a cursor, to a connection that was sent the channel up to a position."""
        self._asked[name] = since if position is None else min(since, self._asked[name])
        if position is None or since < position:
            self.forget(name)
            self._start[name] = since
            self.named_lost.pop(name, None)
        self._named_now.pop(name, None)  # a client that asks again may be sent the loss again

    def forget(self, name: str) -> None:
        """Forget what was sent of a channel."""
        self.sent = [item for item in self.sent if item[0] != name]
        self._sent_now = {key for key in self._sent_now if key[0] != name}
        self._start.pop(name, None)

    def begin_read(self, channels: Iterable[str]) -> None:
        """Note what must be sent before anything later: all that the worker has received and a log has."""
        self._in_hand = {
            (name, entry.id)
            for name in channels
            for entry in self._logs[name].entries
            if self._start[name] < at(entry) <= self._places[name].last
        }

    def send(self, name: str, entry: Entry, *, is_live: bool) -> None:
        """Check an entry, and note that it is sent."""
        key, done = (name, entry.id), keys(self.sent)
        assert key not in done or key in self.overtaken, f"{key} was sent twice"
        assert at(entry) > self._start[name] or key in self._in_flight, f"{key} was not missed"
        if key not in done:
            self._check_order(name, entry)
        if not is_live:
            self._check_prefix(entry)
            assert key not in self._sent_now, f"{key} was sent twice by one catch-up"
            self._sent_now.add(key)
        self.sent.append((name, entry))

    def lose(self, name: str, floor: Cursor) -> None:
        """Check that entries up to the floor are lost that were not named before."""
        since, done = max(self._asked[name], self._named_now.get(name, BEGINNING)), keys(self.sent)
        gone = [each for each in self._logs[name].all if since < at(each) <= floor and (name, each.id) not in done]
        assert gone, f"nothing of {name} is lost, or it was named before"
        self.named_lost[name] = self._named_now[name] = floor

    def check_complete(self, channels: Iterable[str]) -> None:
        """Check that everything was sent, or named as lost."""
        done = keys(self.sent)
        for name in channels:
            log = self._logs[name]
            for each in log.all:
                if at(each) <= self._start[name] or (name, each.id) in done or each.id in log.withdrawn:
                    continue
                if at(each) <= log.floor and at(each) <= self._asked[name]:
                    continue  # it fell out of the log, but the client has it
                assert at(each) <= self.named_lost.get(name, BEGINNING), f"{each.id!r} of {name} is lost in silence"

    def _check_order(self, name: str, entry: Entry) -> None:
        """Check that a channel is in order; only what its log does not have, or no longer has, may be overtaken."""
        log = self._logs[name]
        logged = {each.id for each in log.all if at(each) > log.floor} - log.withdrawn
        before = [at(each) for of, each in self.sent if of == name and each.id in logged]
        assert entry.id not in logged or not before or max(before) < at(entry), f"{entry} was sent out of order"

    def _check_prefix(self, entry: Entry) -> None:
        """Check that what is sent from the log is a prefix: a client that is cut off here resumes without a gap."""
        left = {
            (name, id)
            for name, id in self._in_hand - keys(self.sent)
            if cursor.parse(id) < at(entry)
            and id not in self._logs[name].withdrawn
            and cursor.parse(id) > self._logs[name].floor
        }
        assert not left, f"{entry.id!r} was sent before {left}"

    def share(self, logs: Mapping[str, Log], places: Mapping[str, LogPosition[str]]) -> None:
        """Check with other logs and places from now on."""
        self._logs, self._places = logs, places


PROMISES = Kind(
    Promises,
    vars(Promises({}, {})),
    _logs=ELSEWHERE,
    _places=ELSEWHERE,
    sent=SEQUENCE,
    named_lost=MAPPING,
    confirmed=MAPPING,
    overtaken=SET,
    _start=MAPPING,
    _asked=MAPPING,
    _in_flight=SET,
    _in_hand=SET,
    _sent_now=SET,
    _named_now=MAPPING,
).held
