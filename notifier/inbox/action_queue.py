"""The clerk: does with inboxes what connections ask for, and notes what their clients have."""

import itertools
import logging
import threading
from collections import deque

from notifier.connections.stream import StreamConnection
from notifier.errors import BrokerUnavailable, Disconnect, InternalError, Overloaded, Problem
from notifier.inbox.inbox import Inbox
from notifier.loop import Loop
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.session import Acknowledge, Marking

logger = logging.getLogger(__name__)

_WORKERS = 4  # threads; a user always goes to the same, so that what they do is done in order
_MOST_WAITING = 10_000
_ACKS = 200  # users at once


class ActionQueue:
    """Some threads, so that nobody waits for somebody else's Redis."""

    def __init__(self, inbox: Inbox) -> None:
        self._workers = [_Worker(inbox) for _ in range(_WORKERS)]

    def start(self) -> None:
        """Begin, in threads of its own."""
        for worker in self._workers:
            Loop("action queue", worker.step).start()

    def put(self, connection: StreamConnection, marking: Marking) -> None:
        """Do something with an inbox, and answer the connection.

        Raises:
            Overloaded: too much waits already.
        """
        self._worker(connection).put(connection, marking)

    def acknowledge(self, connection: StreamConnection, ack: Acknowledge) -> None:
        """Note what the client of a connection has."""
        self._worker(connection).acknowledge(_user(connection), ack)

    def _worker(self, connection: StreamConnection) -> "_Worker":
        return self._workers[hash(_user(connection)) % _WORKERS]


class _Worker:
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._queue: deque[tuple[StreamConnection, Marking]] = deque()
        self._acks: dict[str, tuple[Cursor, Cursor | None]] = {}
        self._filled = threading.Event()

    def put(self, connection: StreamConnection, marking: Marking) -> None:
        if len(self._queue) >= _MOST_WAITING:
            raise Overloaded("too much is being done with inboxes")
        self._queue.append((connection, marking))
        self._filled.set()

    def acknowledge(self, user: str, ack: Acknowledge) -> None:
        cursor, since = self._acks.get(user, (ack.cursor, ack.since))
        since = None if since is None or ack.since is None else min(since, ack.since)
        self._acks[user] = (max(cursor, ack.cursor), since)
        self._filled.set()

    def step(self) -> None:
        self._filled.wait()
        self._filled.clear()
        try:
            while self._queue:
                _act(self._inbox, *self._queue.popleft())
            self._note()
        finally:
            if self._queue or self._acks:  # a failure must not hold up what waits behind it
                self._filled.set()

    def _note(self) -> None:
        """Note what clients have. It is lost where Redis is out of reach: their next ack says it again, too."""
        while self._acks:
            users = list(itertools.islice(self._acks, _ACKS))
            try:
                self._inbox.acknowledge({user: self._acks.pop(user) for user in users})
            except BrokerUnavailable as error:
                logger.warning("Receipts are not noted: %s", error.detail)


def _act(inbox: Inbox, connection: StreamConnection, marking: Marking) -> None:
    if connection.is_disconnected:
        return
    try:
        change = inbox.act(_user(connection), marking.action, marking.target)
        frame = frames.changed(marking.ref, change.view, change.changed, change.unknown)
    except Problem as problem:
        frame = frames.error(problem, marking.ref)
    except Exception:
        logger.exception("An action on an inbox failed")
        frame = frames.error(InternalError(), marking.ref)
    if not connection.is_open:
        return
    try:
        connection.reply(frame)
    except Disconnect as disconnect:
        connection.close(disconnect)


def _user(connection: StreamConnection) -> str:
    identity = connection.session.identity
    assert identity is not None
    return identity.user
