"""The database as a whole: its age, its time, whether it can be written, and what it says of itself."""

import redis

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store, require
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.settings import BrokerSettings

_BEAT_KEPT = 60_000  # ms


class Database:
    """Questions to Redis that concern no channel. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: BrokerSettings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock

    def beat(self, channel: str, node: str) -> None:
        """Publish a heartbeat of this worker with the latest time that any worker has seen, and learn that time.

        Raises:
            BrokerUnavailable: also if nothing can be written, or too few replicas have it.
        """
        keys = self._store.sharded(channel), self._store.of(channel, "beat")
        command = self._store.call("beat", keys, (node, _BEAT_KEPT, self._clock.ms))
        [reply] = self._store.carry_out([command], self._settings.min_replicas)
        ms, written = require(reply)
        self._clock.observe(int(ms))
        require(written)

    def birth(self) -> Cursor:
        """Return when this database was first used. Clients with an older cursor have lost everything."""
        key, now = self._store.key("birth", ""), self._now()
        born = self._store.ask("GET", key)
        if born is None:
            self._store.ask("SET", key, now, "NX")
            born = self._store.ask("GET", key)
        return Cursor(int(born), 0)

    def info(self) -> dict[str, str]:
        """Return what Redis reports about itself; nothing if its ACL forbids INFO."""
        [reply] = self._store.execute([pack("INFO", "server", "persistence", "memory", "replication")])
        if isinstance(reply, redis.ResponseError) and str(reply).startswith("NOPERM"):
            return {}
        text: bytes = require(reply)
        return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)

    def _now(self) -> int:
        """Return the time of Redis in ms, and advance the clock to it."""
        seconds, microseconds = self._store.ask("TIME")
        now = int(seconds) * 1000 + int(microseconds) // 1000
        self._clock.observe(now)
        return now
