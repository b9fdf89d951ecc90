"""The store: commands and scripts to Redis, and the names of its keys.

A channel is the hash tag of all its keys, so they live on one node of a cluster.
"""

from collections.abc import Callable
from typing import Any

import redis

from notifier.broker import script
from notifier.broker.pipeline import Pipeline
from notifier.broker.redis_connection import RedisConnection, pack
from notifier.broker.redis_errors import unavailable
from notifier.settings import BrokerSettings


class Store:
    """The commands of one worker to Redis. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self.connects = 0  # number of connections that were opened so far, each perhaps to another server
        self._scripts = script.load_all()
        # With two connections this worker prepares one batch while Redis executes the other.
        self._writing = Pipeline(*(self._connection(self._greet) for _ in range(2)))
        # Reads of long histories do not delay publications.
        self.reading = Pipeline(self._connection(self._greet))

    def call(self, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...] = ()) -> bytes:
        """Return the command that runs a script."""
        return self._scripts[script].command(keys, arguments)

    def carry_out(self, commands: list[bytes], replicas: int = 0, pipeline: Pipeline | None = None) -> list[Any]:
        """Execute commands that may be scripts; load the scripts again if Redis no longer has them."""
        replies = self.execute(commands, replicas, pipeline)
        forgotten = [index for index, reply in enumerate(replies) if _is_noscript(reply)]
        if forgotten:
            scripts = self._load()
            again = self.execute(scripts + [commands[index] for index in forgotten], replicas, pipeline)
            for index, reply in zip(forgotten, again[len(scripts) :], strict=True):
                replies[index] = reply
        return replies

    def execute(self, commands: list[bytes], replicas: int = 0, pipeline: Pipeline | None = None) -> list[Any]:
        """Execute commands, and wait until `replicas` replicas have them."""
        if not commands:
            return []
        pipeline = pipeline or self._writing
        if not replicas:
            return pipeline.execute(commands)
        patience = int(500 * self._settings.redis_timeout)  # ms: half of the caller's timeout
        # In one write with the commands: WAIT concerns what its own connection has written.
        *replies, reached = pipeline.execute(commands, pack("WAIT", replicas, patience))
        if isinstance(reached, redis.RedisError) or reached < replicas:
            raise unavailable(redis.RedisError(f"{reached} of {replicas} replicas have it"))
        return replies

    def ask(self, *words: str | bytes | float) -> Any:
        """Return the reply to one command."""
        return require(self._writing.execute([pack(*words)])[0])

    def tell(self, commands: list[bytes]) -> None:
        """Execute commands whose replies do not matter."""
        for reply in self.carry_out(commands):
            require(reply)

    def close(self) -> None:
        """Close all connections to Redis; the next call opens them again."""
        self._writing.close()
        self.reading.close()

    def sharded(self, channel: str) -> str:
        """Return the pub/sub channel of a channel; the names of its keys begin with it."""
        return f"{self._settings.redis_prefix}:{{{channel}}}"

    def of(self, channel: str, what: str) -> str:
        """Return a key that belongs to a channel."""
        return f"{self.sharded(channel)}:{what}"

    def key(self, kind: str, name: str) -> str:
        """Return a key that belongs to no channel."""
        return f"{self._settings.redis_prefix}:{{{kind}:{name}}}"

    def _connection(self, greet: Callable[[RedisConnection], object] | None = None) -> RedisConnection:
        return RedisConnection(self._settings.redis_url, self._settings.redis_timeout, greet)

    def _greet(self, connection: RedisConnection) -> None:
        self.connects += 1
        connection.exchange(self._load())

    def _load(self) -> list[bytes]:
        return [pack("SCRIPT", "LOAD", each.text) for each in self._scripts.values()]


def require(reply: Any) -> Any:
    """Return a reply, or raise the error that it is.

    Raises:
        BrokerUnavailable
    """
    if isinstance(reply, redis.RedisError):
        raise unavailable(reply)
    return reply


def _is_noscript(reply: Any) -> bool:
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("NOSCRIPT")
