"""The broker of one worker on a real server, and short functions for its tests."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

from notifier.broker.database import Database
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Append, Appended, Log
from notifier.broker.redis_connection import RedisConnection, pack
from notifier.broker.store import Store
from notifier.errors import Problem
from notifier.protocol import cursor, notification
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EXPIRED, NOTIFICATION, Page
from notifier.settings import BrokerSettings
from tests.kit.waiting import DEADLINE


class Broker(NamedTuple):
    """The parts of the broker that one worker has."""

    store: Store
    log: Log
    keys: IdempotencyKeys
    database: Database


Make = Callable[..., Broker]
TIMEOUT = 0.2  # seconds: for servers that do not answer
PATIENCE = 10.0  # seconds: a timeout that a busy server does not reach


def broker_of(settings: BrokerSettings, clock: Clock) -> Broker:
    """Return the broker of a worker."""
    store = Store(settings)
    return Broker(
        store, Log(settings, store, clock), IdempotencyKeys(settings, store), Database(settings, store, clock)
    )


def echo(*words: str) -> list[bytes]:
    """Return commands whose replies are these words."""
    return [pack("ECHO", word) for word in words]


def sharded(channel: str) -> str:
    """Return the pub/sub channel of a channel; its keys begin with it."""
    return f"n:{{{channel}}}"


def now() -> int:
    """Return the time in Unix ms."""
    return int(time.time() * 1000)


def new_id() -> str:
    """Return the id of a notification that was made a second ago."""
    return notification.new_id(now() - 1000, uuid4().bytes[:10])


def body_of(id: str) -> bytes:
    """Return the body of a notification."""
    return b'{"id":"%b","title":"x"}' % id.encode()


def append(log: Log, channel: str, body: bytes = b"{}", kind: bytes = NOTIFICATION, **options: Any) -> Cursor:
    """Append one entry, and return its cursor."""
    [[result]] = log.append([[Append(channel, kind, body, **options)]], [])
    assert isinstance(result, Appended), result
    return cursor.parse(result.cursor)


def publish(log: Log, *channels: str, **options: Any) -> str:
    """Append a notification that can be recalled, and return its id."""
    id = new_id()
    batch = [Append(channel, NOTIFICATION, body_of(id), **options) for channel in channels]
    [results] = log.append([batch], [(id, list(channels))])
    assert all(isinstance(result, Appended) for result in results), results
    return id


def read(log: Log, channel: str, position: Cursor = BEGINNING) -> Page:
    """Return the first page after a position."""
    [page] = log.read([(channel, position)], now())
    assert isinstance(page, Page), page
    return page


def ids(page: Page | Problem) -> list[Cursor]:
    """Return the entries of a page that can be sent."""
    assert isinstance(page, Page), page
    return [cursor.parse(entry.id) for entry in page.entries if entry.kind != EXPIRED]


def bodies(log: Log, channel: str) -> list[bytes]:
    """Return the bodies of all entries of a channel."""
    return [entry.body for entry in read(log, channel).entries]


class Listener:
    """Receives what is published to a channel, as a worker does."""

    def __init__(self, url: str, channel: str) -> None:
        self._connection = RedisConnection(url, DEADLINE)
        self._connection.connect()
        self._connection.send([pack("SSUBSCRIBE", sharded(channel))])
        [confirmation] = self._connection.receive()
        assert confirmation[0] == b"ssubscribe"

    def receive(self, count: int) -> list[bytes]:
        """Return the next publications."""
        received: list[bytes] = []
        while len(received) < count:
            received += [reply[2] for reply in self._connection.receive()]
        return received

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
