"""The acceptor: takes over sockets as connections, and closes all of them when the worker ends."""

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from notifier.connections.echo import EchoConnection
from notifier.connections.places import Places
from notifier.connections.sse import Ask, EventConnection
from notifier.connections.stream import StreamConnection, StreamHooks
from notifier.connections.transport import Transport
from notifier.connections.websocket import Connection
from notifier.errors import BrokerUnavailable, Restarting, TooManyConnections
from notifier.protocol.hello_timeout import hello_timeout
from notifier.protocol.identity import Identity
from notifier.protocol.session import Rules, Session
from notifier.settings import ConnectionSettings
from notifier.telemetry import metrics

S = TypeVar("S", bound=StreamConnection)

_PACE = 400  # connections a second that all workers together close, where the drain timeout is long enough
_COME_BACK = 1000  # ms within which clients are asked to reconnect
_LAST_WORDS = 2.0  # seconds that the last clients have for their half of the closing handshake


class Acceptor:
    """Holds the open `connections` of one of `workers` workers. `has_reached_redis` is asked before one is accepted."""

    def __init__(
        self,
        settings: ConnectionSettings,
        rules: Rules,
        hooks: StreamHooks,
        workers: int,
        connections: set[Connection],
        places: Places,
        has_reached_redis: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._hooks = hooks
        self._workers = workers
        self._connections = connections
        self._places = places
        self._has_reached_redis = has_reached_redis
        self._limit = settings.connection_limit
        self._numbers = itertools.count(1)
        self._drain = threading.Lock()
        self.is_draining = False

    @property
    def has_room(self) -> bool:
        """Whether one more connection can be accepted, and no other has to be closed for it."""
        return self._has_reached_redis() and not self._is_full

    def require_room(self) -> None:
        """Check that one more connection can be accepted.

        Raises:
            BrokerUnavailable: Redis has not been reached yet, so cursors of another database and revoked
                tokens cannot be detected.
            TooManyConnections: the limit is reached.
        """
        if not self._has_reached_redis():
            raise BrokerUnavailable("This worker has not reached Redis yet.", retry_after=1)
        if self._is_full and not self._places.strangers.make_room():
            metrics.LIMITED.labels("max_connections").inc()
            raise TooManyConnections(f"This worker holds at most {self._limit} connections.", retry_after=5)

    def open_stream(
        self, transport: Transport, identity: Identity | None, early: bytes, address: int | None = None
    ) -> None:
        """Take over a WebSocket of the stream.

        `identity` is known if the request had a token; `early` are bytes that came with the handshake. `address` is
        what the connection counts for.
        """
        connection = self._create(StreamConnection, transport, identity, address)
        self._open(connection, lambda: connection.start(early))

    def open_plain(
        self,
        kind: type[EventConnection],
        transport: Transport,
        identity: Identity,
        ask: Ask,
        address: int | None = None,
    ) -> None:
        """Take over a stream of Server-Sent Events, or a long poll."""
        connection = self._create(kind, transport, identity, address)
        self._open(connection, lambda: connection.begin(ask))

    def open_echo(self, transport: Transport, early: bytes, address: int | None = None) -> None:
        """Take over a WebSocket of the echo."""
        connection = EchoConnection(transport, self._hooks, heartbeat=self._settings.heartbeat, address=address)
        self._open(connection, lambda: connection.start(early))

    def drain(self) -> None:
        """Close every connection, at a pace, and wait for the closing handshakes.

        A second caller waits until the first is done.
        """
        with self._drain:
            if not self.is_draining:
                self.is_draining = True
                self._close_all()
                self._await_clients()

    @property
    def _is_full(self) -> bool:
        # While it drains, a client is accepted and sent on to another worker like all others.
        return len(self._connections) >= self._limit and not self.is_draining

    def _create(self, kind: type[S], transport: Transport, identity: Identity | None, address: int | None) -> S:
        return kind(
            transport,
            self._hooks,
            Session(self._rules, time.time(), identity, self._hello_timeout()),
            number=next(self._numbers),
            address=address,
        )

    def _hello_timeout(self) -> float:
        """Return the hello timeout of a connection that is opened now."""
        strangers = self._places.strangers
        free = min(strangers.most - len(strangers), self._limit - len(self._connections))
        return hello_timeout(self._rules.hello_timeout, free, strangers.most)

    def _open(self, connection: Connection, begin: Callable[[], None]) -> None:
        try:
            self._connections.add(connection)
            self._places.opened(connection)
            begin()
        except Exception:
            connection.abort()  # nothing else has the socket any more
            raise
        if self.is_draining:  # it came too late to be closed with the others
            connection.close(Restarting())

    def _close_all(self) -> None:
        """Close connections at an even pace, so that clients reconnect at an even pace."""
        connections = list(self._connections)
        begin = time.monotonic()
        seconds = min(len(connections) * self._workers / _PACE, self._settings.drain_timeout)
        for number, connection in enumerate(connections):
            time.sleep(max(begin + seconds * number / len(connections) - time.monotonic(), 0))
            connection.drain(random.randint(0, _COME_BACK))
            connection.close(Restarting())

    def _await_clients(self) -> None:
        deadline = time.monotonic() + _LAST_WORDS
        while time.monotonic() < deadline and any(each.transport.is_open for each in list(self._connections)):
            time.sleep(0.05)
