"""The broker: publications, history and idempotency keys in Redis.

A channel is the hash tag of all its keys, so they live on one node of a cluster. What must be atomic is one script
per channel, in `scripts/`.
"""

import hashlib
import importlib.resources
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import redis

from notifier import metrics
from notifier.errors import Problem
from notifier.protocol import cursor
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.replay import EXPIRED, REMOVED, Entry, Page
from notifier.settings import Settings
from notifier.wire import Pipeline, Wire, pack, unavailable

PAGE = 100  # entries per read of a channel
_PAGES_BYTES, _LEAST_PAGE, _LONGEST_PAGE = 1 << 20, 4096, 65536  # of all pages of a read, and of each
_BEAT_KEPT = 60_000  # ms
_META_OUTLIVES = 30 * 86400 * 1000  # ms: so long a client that was away can be told what it lost


class Append(NamedTuple):
    """One entry to append to one channel. `expires` is in Unix ms, 0 for never.

    With a `mark`, the same append again changes nothing and answers with the first one's cursor.
    """

    channel: str
    kind: bytes
    body: bytes
    expires: int = 0
    collapse_key: str = ""
    mark: str = ""


class Appended(NamedTuple):
    """Where an entry stands, and whether a worker had a subscriber."""

    cursor: str
    online: bool


class Claim(NamedTuple):
    """What became of an idempotency key: `claimed` with the id and time to publish under, `answered` with the answer,
    `running` or `mismatch`."""

    outcome: str
    id: str = ""
    created: float = 0
    answer: bytes = b""


class Broker:
    """What one worker asks of Redis. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._append = _Script("append")
        self._recall = _Script("recall")
        self._claim = _Script("claim")
        self._raise = _Script("raise")
        self._read = _Script("read")
        self._beat = _Script("beat")
        self._scripts = (self._append, self._recall, self._claim, self._raise, self._read, self._beat)
        # On two wires this worker prepares one batch while Redis carries out the other.
        self._publishing = Pipeline(*(self._wire(self._greet) for _ in range(2)))
        # Reads of long histories do not hold up publications.
        self._reading = Pipeline(self._wire(self._greet))

    def append(self, batches: Iterable[list[Append]], records: list[tuple[str, list[str]]]) -> list[list[Any]]:
        """Append entries and carry them to the workers.

        Each batch is one publication; its answer is a list of `Appended`, or of the problem that it met. `records`
        are ids of notifications and the channels that they go to, to be kept for a recall; they are written first, so
        that a crash in between leaves nothing that cannot be recalled. With `min_replicas`, what too few of them have
        is not acknowledged.
        """
        batches = list(batches)
        commands = [self._record(id, channels) for id, channels in records]
        commands += [self._append_command(item) for batch in batches for item in batch]
        replies = iter(self._carry_out(commands, self._settings.min_replicas)[len(records) :])
        return [[_appended(next(replies)) for _ in batch] for batch in batches]

    def recall(self, id: str, not_before: int) -> list[str]:
        """Take a notification out of every log and tell the workers. Returns the channels that it went to.

        `not_before` is a time in ms that is not later than any of its entries.
        """
        record = self._ask("GET", self._key("notification", id))
        channels: list[str] = msgspec.json.decode(record) if record else []
        commands = []
        for channel in channels:
            log, collapse = self._of(channel, "log"), self._of(channel, "collapse")
            commands.append(self._recall.command((log, collapse), (id, not_before)))
            commands.append(self._append_command(Append(channel, REMOVED, id.encode())))
        for reply in self._carry_out(commands):
            _refuse_error(reply)
        # Last, so that a recall that was cut off can be repeated.
        self._ask("DEL", self._key("notification", id))
        return channels

    def find(self, id: str) -> list[str] | None:
        """Return the channels that a notification went to, or None if there is no such notification (any more)."""
        record = self._ask("GET", self._key("notification", id))
        return msgspec.json.decode(record, type=list[str]) if record else None

    def claim(self, keys: list[tuple[str, str, str, float]]) -> list[Claim]:
        """Claim idempotency keys: name, fingerprint of the request, and the id and time to use if it is free."""
        lease, age = 1000 * self._settings.idempotency_lease, 1000 * self._settings.idempotency_age
        return [
            _claim(reply)
            for reply in self._carry_out(
                [
                    self._claim.command((self._key("idempotency", name),), (fingerprint, id, created, lease, age))
                    for name, fingerprint, id, created in keys
                ]
            )
        ]

    def answer(self, answers: list[tuple[str, bytes]]) -> None:
        """Keep the answers of idempotent requests."""
        self._tell([pack("HSET", self._key("idempotency", name), "answer", text) for name, text in answers])

    def release(self, names: list[str]) -> None:
        """Let requests that failed be tried again at once."""
        self._tell([pack("HSET", self._key("idempotency", name), "lease", 0) for name in names])

    def read(self, positions: list[tuple[str, Cursor]], now: int) -> list[Page | Problem]:
        """Return what each channel's log has after a position, or why it cannot be read. `now` is in Unix ms.

        Pages are small where many are read: who reads slowly is sent little of them, and reads the rest again.
        """
        if not positions:
            return []
        budget = min(max(_PAGES_BYTES // len(positions), _LEAST_PAGE), _LONGEST_PAGE)
        commands = [
            self._read.command((self._of(channel, "log"), self._of(channel, "meta")), (str(position), PAGE, budget))
            for channel, position in positions
        ]
        metrics.SHARED_LOG_READS.inc(sum(not channel.startswith("user:") for channel, _ in positions))
        replies = self._carry_out(commands, pipeline=self._reading)
        return [unavailable(reply) if isinstance(reply, redis.RedisError) else _page(reply, now) for reply in replies]

    def remembers(self, channel: str) -> int:
        """Return for how long it is known what a channel has lost, in ms."""
        return self._settings.history_age(channel) + _META_OUTLIVES

    def marks(self, channels: list[str]) -> list[tuple[Cursor, Cursor] | Problem]:
        """Return of each channel's log the last entry and the highest one that fell out of it, or a problem."""
        commands = [pack("HMGET", self._of(channel, "meta"), "logged", "floor") for channel in channels]
        return [
            unavailable(reply) if isinstance(reply, redis.RedisError) else _cursors(reply)
            for reply in self._execute(commands, self._reading)
        ]

    def note_regression(self, seen: list[tuple[str, Cursor]]) -> int:
        """Let whoever resumes from before these entries be told that something is gone, where they no longer exist.

        Returns of how many channels that was news.
        """
        commands = [
            self._raise.command((self._of(channel, "meta"), self._of(channel, "log")), (str(last), _META_OUTLIVES))
            for channel, last in seen
        ]
        return sum(_refuse_error(reply) for reply in self._carry_out(commands))

    def beat(self, channel: str, node: str) -> None:
        """Let every worker hear that this one lives, and the latest time that any of them has seen; learn it, too.

        Raises:
            BrokerUnavailable: besides, where nothing can be written, or reaches too few replicas.
        """
        keys = self.sharded(channel), self._of(channel, "beat")
        command = self._beat.command(keys, (node, _BEAT_KEPT, self._clock.ms))
        [reply] = self._carry_out([command], self._settings.min_replicas)
        ms, written = _refuse_error(reply)
        self._clock.observe(int(ms))
        _refuse_error(written)

    def birth(self) -> Cursor:
        """Return when this database was first used. A cursor from before has lost everything."""
        key, now = self._key("birth", ""), self._now()
        born = self._ask("GET", key)
        if born is None:
            self._ask("SET", key, now, "NX")
            born = self._ask("GET", key)
        return Cursor(int(born), 0)

    def info(self) -> dict[str, str]:
        """Return what Redis tells of itself: version, persistence, memory, replicas."""
        text: bytes = self._ask("INFO", "server", "persistence", "memory", "replication")
        return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)

    def _now(self) -> int:
        """Return the time of Redis in ms; the clock takes it over."""
        seconds, microseconds = self._ask("TIME")
        now = int(seconds) * 1000 + int(microseconds) // 1000
        self._clock.observe(now)
        return now

    def close(self) -> None:
        """Close all connections to Redis; the next call opens them again."""
        self._publishing.close()
        self._reading.close()

    def sharded(self, channel: str) -> str:
        """Return the pub/sub channel that carries a channel."""
        return f"{self._settings.redis_prefix}:{{{channel}}}"

    def _wire(self, greet: Callable[[Wire], object] | None = None) -> Wire:
        return Wire(self._settings.redis_url, self._settings.redis_timeout, greet)

    def _greet(self, wire: Wire) -> None:
        wire.exchange([pack("SCRIPT", "LOAD", script.text) for script in self._scripts])

    def _append_command(self, item: Append) -> bytes:
        base, settings = self.sharded(item.channel), self._settings
        mark = f"{base}:mark:{item.mark}" if item.mark else base
        return self._append.command(
            (base, f"{base}:log", f"{base}:meta", f"{base}:collapse", mark),
            (
                item.kind,
                item.body,
                self._clock.ms,
                settings.max_history,
                settings.history_age(item.channel),
                item.collapse_key,
                item.expires,
                _META_OUTLIVES,
                1000 * settings.idempotency_age if item.mark else 0,
            ),
        )

    def _record(self, id: str, channels: list[str]) -> bytes:
        age = max(map(self._settings.history_age, channels))
        return pack("SET", self._key("notification", id), msgspec.json.encode(channels), "PX", age)

    def _carry_out(self, commands: list[bytes], replicas: int = 0, pipeline: Pipeline | None = None) -> list[Any]:
        """Execute commands that may be scripts; load the scripts again where Redis has forgotten them."""
        replies = self._execute(commands, pipeline, replicas)
        forgotten = [index for index, reply in enumerate(replies) if _is_noscript(reply)]
        if forgotten:
            scripts = [pack("SCRIPT", "LOAD", script.text) for script in self._scripts]
            again = self._execute(scripts + [commands[index] for index in forgotten], pipeline, replicas)
            for index, reply in zip(forgotten, again[len(scripts) :], strict=True):
                replies[index] = reply
        return replies

    def _execute(self, commands: list[bytes], pipeline: Pipeline | None = None, replicas: int = 0) -> list[Any]:
        """Execute commands, and wait until so many replicas have them."""
        if not commands:
            return []
        pipeline = pipeline or self._publishing
        if not replicas:
            return pipeline.execute(commands)
        patience = int(500 * self._settings.redis_timeout)  # ms: half of what the caller waits at most
        # In one write with the commands: WAIT looks at what its own connection has written.
        *replies, reached = pipeline.execute(commands, pack("WAIT", replicas, patience))
        if isinstance(reached, redis.RedisError) or reached < replicas:
            raise unavailable(redis.RedisError(f"{reached} of {replicas} replicas have it"))
        return replies

    def _ask(self, *words: str | bytes | float) -> Any:
        """Return the reply to one command."""
        return _refuse_error(self._publishing.execute([pack(*words)])[0])

    def _tell(self, commands: list[bytes]) -> None:
        """Carry out commands whose replies say nothing."""
        for reply in self._execute(commands):
            _refuse_error(reply)

    def _of(self, channel: str, what: str) -> str:
        return f"{self.sharded(channel)}:{what}"

    def _key(self, kind: str, name: str) -> str:
        return f"{self._settings.redis_prefix}:{{{kind}:{name}}}"


class _Script:
    """A Lua script of `scripts/`, called by its digest."""

    def __init__(self, name: str) -> None:
        self.text = importlib.resources.files("notifier").joinpath("scripts", f"{name}.lua").read_bytes()
        self._digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def command(self, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> bytes:
        return pack("EVALSHA", self._digest, len(keys), *keys, *arguments)


def _is_noscript(reply: Any) -> bool:
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("NOSCRIPT")


def _refuse_error(reply: Any) -> Any:
    if isinstance(reply, redis.RedisError):
        raise unavailable(reply)
    return reply


def _appended(reply: Any) -> Appended | Problem:
    if isinstance(reply, redis.RedisError):
        return unavailable(reply)
    return Appended(reply[0].decode(), reply[1] > 0)


def _claim(reply: Any) -> Claim:
    outcome, *rest = _refuse_error(reply)
    if outcome == b"claimed":
        return Claim("claimed", rest[0].decode(), float(rest[1]))
    return Claim(outcome.decode(), answer=rest[0] if rest else b"")


def _cursors(values: list[bytes | None]) -> tuple[Cursor, Cursor]:
    first, second = (cursor.parse(value) if value else BEGINNING for value in values)
    return first, second


def _page(reply: Any, now: int) -> Page:
    *meta, exists, complete, entries = reply
    floor, logged = _cursors(meta)
    if not exists:
        floor = max(floor, logged)  # it has expired as a whole
    return Page([_entry(id, fields, now) for id, fields in entries], bool(complete), floor)


def _entry(id: bytes, fields: list[bytes], now: int) -> Entry:
    options = dict(zip(fields[2::2], fields[3::2], strict=True))
    if int(options.get(b"x", now + 1)) <= now:
        return Entry(id, b"", EXPIRED, b"")
    return Entry(id, b"", fields[0], fields[1])
