"""The store: commands and scripts to Redis, and the names of its keys.

A channel is the hash tag of all its keys, so they live on one node of a cluster. What must be atomic is one script per
channel, in `scripts/`.
"""

import hashlib
import importlib.resources
from collections.abc import Callable
from typing import Any

import redis

from notifier.broker.redis_connection import Pipeline, RedisConnection, pack, unavailable
from notifier.settings import Settings

_NAMES = (
    "append",
    "claim",
    "raise",
    "read",
    "beat",
    "digest",
    "state",
    "mark",
    "change",
    "ack",
    "find",
    "list",
    "disconnect",
    "erase",
)
# What several scripts share comes first in each of them: Redis knows no libraries here.
_COMMON = {
    "append": ("entry",),
    "raise": ("entry",),
    "state": ("entry", "user"),
    "list": ("entry", "user"),
    "mark": ("entry", "user"),
    "change": ("entry", "user"),
    "ack": ("entry", "user"),
    "disconnect": ("entry", "user"),
    "erase": ("entry", "user"),
}


class Store:
    """What one worker asks of Redis. Every method may raise `BrokerUnavailable`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scripts = {name: Script(name, *_COMMON.get(name, ())) for name in _NAMES}
        # On two connections this worker prepares one batch while Redis carries out the other.
        self._writing = Pipeline(*(self._connection(self._greet) for _ in range(2)))
        # Reads of long histories do not hold up publications.
        self.reading = Pipeline(self._connection(self._greet))

    def call(self, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...] = ()) -> bytes:
        """Return the command that runs a script."""
        return self._scripts[script].command(keys, arguments)

    def carry_out(self, commands: list[bytes], replicas: int = 0, pipeline: Pipeline | None = None) -> list[Any]:
        """Execute commands that may be scripts; load the scripts again where Redis has forgotten them."""
        replies = self.execute(commands, replicas, pipeline)
        forgotten = [index for index, reply in enumerate(replies) if _is_noscript(reply)]
        if forgotten:
            scripts = self._load()
            again = self.execute(scripts + [commands[index] for index in forgotten], replicas, pipeline)
            for index, reply in zip(forgotten, again[len(scripts) :], strict=True):
                replies[index] = reply
        return replies

    def execute(self, commands: list[bytes], replicas: int = 0, pipeline: Pipeline | None = None) -> list[Any]:
        """Execute commands, and wait until so many replicas have them."""
        if not commands:
            return []
        pipeline = pipeline or self._writing
        if not replicas:
            return pipeline.execute(commands)
        patience = int(500 * self._settings.redis_timeout)  # ms: half of what the caller waits at most
        # In one write with the commands: WAIT looks at what its own connection has written.
        *replies, reached = pipeline.execute(commands, pack("WAIT", replicas, patience))
        if isinstance(reached, redis.RedisError) or reached < replicas:
            raise unavailable(redis.RedisError(f"{reached} of {replicas} replicas have it"))
        return replies

    def ask(self, *words: str | bytes | float) -> Any:
        """Return the reply to one command."""
        return require(self._writing.execute([pack(*words)])[0])

    def tell(self, commands: list[bytes]) -> None:
        """Carry out commands whose replies say nothing."""
        for reply in self.carry_out(commands):
            require(reply)

    def close(self) -> None:
        """Close all connections to Redis; the next call opens them again."""
        self._writing.close()
        self.reading.close()

    def sharded(self, channel: str) -> str:
        """Return the pub/sub channel that carries a channel; the names of its keys begin with it."""
        return f"{self._settings.redis_prefix}:{{{channel}}}"

    def of(self, channel: str, what: str) -> str:
        """Return the key of something that belongs to a channel."""
        return f"{self.sharded(channel)}:{what}"

    def key(self, kind: str, name: str) -> str:
        """Return the key of something that belongs to no channel."""
        return f"{self._settings.redis_prefix}:{{{kind}:{name}}}"

    def _connection(self, greet: Callable[[RedisConnection], object] | None = None) -> RedisConnection:
        return RedisConnection(self._settings.redis_url, self._settings.redis_timeout, greet)

    def _greet(self, connection: RedisConnection) -> None:
        connection.exchange(self._load())

    def _load(self) -> list[bytes]:
        return [pack("SCRIPT", "LOAD", script.text) for script in self._scripts.values()]


class Script:
    """A Lua script of `scripts/`, called by its digest."""

    def __init__(self, name: str, *common: str) -> None:
        folder = importlib.resources.files("notifier.broker").joinpath("scripts")
        self.text = b"\n".join(folder.joinpath(f"{part}.lua").read_bytes() for part in (*common, name))
        self._digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def command(self, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> bytes:
        """Return the command that runs it."""
        return pack("EVALSHA", self._digest, len(keys), *keys, *arguments)


def require(reply: Any) -> Any:
    """Return a reply that is no error.

    Raises:
        BrokerUnavailable
    """
    if isinstance(reply, redis.RedisError):
        raise unavailable(reply)
    return reply


def _is_noscript(reply: Any) -> bool:
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("NOSCRIPT")
