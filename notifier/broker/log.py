"""The log of each channel: appending, reading, recall, and what fell out of it."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import redis

from notifier.broker.recent_ends import RecentEnds
from notifier.broker.redis_connection import pack
from notifier.broker.redis_errors import unavailable
from notifier.broker.slices import Slices
from notifier.broker.store import Store, require
from notifier.errors import Problem
from notifier.protocol import channel as channels
from notifier.protocol import cursor
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, EXPIRED, REMOVED, Ends, Entry, Page
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

PAGE = 100  # entries per read of a channel
_CHECKED = 500  # channels whose ends are compared at once
_COMMAND = 256  # bytes of an append, about, without its body
_PAGES_BYTES, _LEAST_PAGE, _LONGEST_PAGE = 1 << 20, 4096, 65536  # of all pages of a read, and of each
_META_OUTLIVES = 30 * 86400 * 1000  # ms: for so long an offline client still learns what it lost


class Append(NamedTuple):
    """One entry for one channel. `expires` is in Unix ms, 0 for never.

    With a `dedupe_key`, repeating the append changes nothing and answers with the first one's cursor. `is_copy`: the
    same notification goes to other channels, too, not all of them users'.
    """

    channel: str
    kind: bytes
    body: bytes
    expires: int = 0
    collapse_key: str = ""
    dedupe_key: str = ""
    type: str = ""
    is_copy: bool = False


class Appended(NamedTuple):
    """The cursor of an entry, whether a worker had a subscriber, and whether the user has muted its type.

    `is_new`: the channel did not exist before.
    """

    cursor: str
    online: bool
    muted: bool = False
    is_new: bool = False


class Log:
    """The logs of all channels. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: BrokerSettings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._ends = RecentEnds()
        self._connects = 0  # of the store, up to which all ends are set aside
        self._slices = Slices(store)
        self._store = store
        self._clock = clock

    def append(
        self, batches: Iterable[list[Append]], records: list[tuple[str, list[str]]], others: Sequence[bytes] = ()
    ) -> list[list[Any]]:
        """Append entries and publish them to the workers.

        Each batch is one publication; its result is a list with an `Appended` or a problem for each entry. `records`
        are the ids of notifications and their channels, stored for a recall. They are written first, so that a crash
        leaves no entry that cannot be recalled: one for each batch that is stored, in their order. A batch whose record
        cannot be written has failed. With `min_replicas`, entries that too few replicas have are not acknowledged.
        `others` are commands that are written together with them; if one fails, nothing is acknowledged. Long
        publications are written in slices, and nothing is acknowledged if one of these fails.
        """
        batches, connects = list(batches), self._store.connects
        first = [*others, *(self._record(id, names) for id, names in records)]
        items = itertools.chain.from_iterable(batches)
        size = sum(map(_size_of, batches))
        replies = self._slices.carry_out(
            itertools.chain(first, map(self._append_command, items)), size, self._settings.min_replicas
        )
        answers = [next(replies) for _ in others]
        recorded = iter([next(replies) for _ in records])
        results = [[_appended(next(replies)) for _ in batch] for batch in batches]
        note = self._note_after(connects)
        for batch, result in zip(batches, results, strict=True):
            if batch and batch[0].kind != EPHEMERAL:
                record = next(recorded, None)
                _remember(batch, result, note)
                if isinstance(record, redis.RedisError):
                    result[:] = [unavailable(record)] * len(batch)
        for answer in answers:
            require(answer)
        return results

    def _note_after(self, connects: int) -> Callable[[str, str], None]:
        """Return how to note entries that were appended after the store had connected so often."""
        if self._connects != self._store.connects:
            self._connects = self._store.connects
            self._ends.set_aside()
        # If the store has connected meanwhile, nobody knows which of them the present server must have.
        return self._ends.note if connects == self._connects else self._ends.doubt

    @property
    def may_have_lost_ends(self) -> bool:
        """Whether the store has connected again since `note_lost_ends`."""
        return self._connects != self._store.connects or bool(self._ends.aside)

    def note_lost_ends(self) -> int:
        """Record the loss of entries that this worker has appended lately and that no longer exist.

        To be called with each new connection to Redis. Returns for how many channels this was new.
        """
        self._connects = self._store.connects
        self._ends.set_aside()
        ends = list(self._ends.aside)
        lost = 0
        for start in range(0, len(ends), _CHECKED):
            some = [(channel, cursor.parse(end)) for channel, end in ends[start : start + _CHECKED]]
            known = self.log_ends([channel for channel, _ in some])
            lost += self.note_regression(
                [
                    (channel, end)
                    for (channel, end), found in zip(some, known, strict=True)
                    if not isinstance(found, Problem) and found.last != end
                ]
            )
        self._ends.settle(ends)
        return lost

    def recall(self, id: str) -> list[str]:
        """Remove a notification from every log, publish the removal, and return the channels that it went to.

        With `min_replicas`, a recall that too few replicas have may be lost, and is not acknowledged.
        """
        record = self._store.ask("GET", self._store.key("notification", id))
        names: list[str] = msgspec.json.decode(record) if record else []
        removals, connects = [Append(channel, REMOVED, id.encode()) for channel in names], self._store.connects
        commands = map(self._append_command, removals)
        replies = list(self._slices.carry_out(commands, _size_of(removals), self._settings.min_replicas))
        _remember(removals, list(map(_appended, replies)), self._note_after(connects))
        for reply in replies:
            require(reply)
        # Last, so that an interrupted recall can be repeated.
        self._store.ask("DEL", self._store.key("notification", id))
        return names

    def find(self, id: str) -> list[str] | None:
        """Return the channels that a notification went to, or None if it is unknown or no longer stored."""
        record = self._store.ask("GET", self._store.key("notification", id))
        return msgspec.json.decode(record, type=list[str]) if record else None

    def read(self, positions: list[tuple[str, Cursor]], now: int) -> list[Page | Problem]:
        """Return what each channel's log has after a position, or why it cannot be read. `now` is in Unix ms.

        The more channels are read together, the smaller their pages: a slow client receives little of a page, and
        the rest is read again.
        """
        if not positions:
            return []
        budget = min(max(_PAGES_BYTES // len(positions), _LEAST_PAGE), _LONGEST_PAGE)
        commands = [
            self._store.call(
                "read", (self._store.of(channel, "log"), self._store.of(channel, "meta")), (str(position), PAGE, budget)
            )
            for channel, position in positions
        ]
        metrics.SHARED_LOG_READS.inc(sum(not channel.startswith("user:") for channel, _ in positions))
        replies = self._store.carry_out(commands, pipeline=self._store.reading)
        return [unavailable(reply) if isinstance(reply, redis.RedisError) else _page(reply, now) for reply in replies]

    def remembers(self, channel: str) -> int:
        """Return for how long a channel knows which entries it has lost, in ms."""
        return self._settings.history_age(channel) + _META_OUTLIVES

    def log_ends(self, channels: list[str]) -> list[Ends | Problem]:
        """Return the ends of each channel's log, or a problem."""
        commands = [pack("HMGET", self._store.of(channel, "meta"), "logged", "floor", "found") for channel in channels]
        return [
            unavailable(reply) if isinstance(reply, redis.RedisError) else Ends(*_cursors(reply))
            for reply in self._store.execute(commands, pipeline=self._store.reading)
        ]

    def count_unknown(self, channels: list[str]) -> int:
        """Return how many of these channels do not exist."""
        commands = [pack("EXISTS", self._store.of(channel, "meta")) for channel in channels]
        return [require(reply) for reply in self._store.execute(commands)].count(0)

    def note_regression(self, seen: list[tuple[str, Cursor]]) -> int:
        """Record the loss of entries that this worker has seen and that no longer exist.

        All workers notify the channel's connections, and clients that resume from before now. Returns for how many
        channels this was new.
        """
        commands = [
            self._store.call("raise", (self._store.sharded(channel),), (str(last), _META_OUTLIVES, self._clock.ms))
            for channel, last in seen
        ]
        return sum(require(reply) for reply in self._store.carry_out(commands))

    def _append_command(self, item: Append) -> bytes:
        settings = self._settings
        return self._store.call(
            "append",
            (self._store.sharded(item.channel),),
            (
                item.kind,
                item.body,
                self._clock.ms,
                settings.max_history,
                settings.history_age(item.channel),
                item.collapse_key,
                item.expires,
                _META_OUTLIVES,
                1000 * settings.idempotency_age if item.dedupe_key else 0,
                item.dedupe_key,
                item.type,
                int(channels.is_user(item.channel)),
                int(item.is_copy),
            ),
        )

    def _record(self, id: str, names: list[str]) -> bytes:
        age = max(map(self._settings.history_age, names))
        return pack("SET", self._store.key("notification", id), msgspec.json.encode(names), "PX", age)


def _remember(batch: list[Append], results: list[Any], note: Callable[[str, str], None]) -> None:
    for item, result in zip(batch, results, strict=True):
        if isinstance(result, Appended):
            note(item.channel, result.cursor)


def _size_of(batch: list[Append]) -> int:
    """Return about how many bytes the commands of a publication take: each has the whole body."""
    return len(batch) * (_COMMAND + len(batch[0].body)) if batch else 0


def _appended(reply: Any) -> Appended | Problem:
    if isinstance(reply, redis.RedisError):
        return unavailable(reply)
    return Appended(reply[0].decode(), reply[1] > 0, reply[2] > 0, reply[3] > 0)


def _cursors(values: list[bytes | None]) -> list[Cursor]:
    return [cursor.parse(value) if value else BEGINNING for value in values]


def _page(reply: Any, now: int) -> Page:
    *meta, exists, complete, entries = reply
    floor, logged, found = _cursors(meta)
    if not exists:
        floor = max(floor, logged)  # it has expired as a whole
    return Page([_entry(id, fields, now) for id, fields in entries], bool(complete), floor, found)


def _entry(id: bytes, fields: list[bytes], now: int) -> Entry:
    options = dict(zip(fields[2::2], fields[3::2], strict=True))
    if int(options.get(b"x", now + 1)) <= now:
        return Entry(id, b"", EXPIRED, fields[1])
    return Entry(id, b"", fields[0], fields[1])
