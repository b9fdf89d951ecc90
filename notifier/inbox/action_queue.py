"""The action queue: runs inbox actions and acknowledgements that arrive on connections."""

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
from notifier.protocol.inbox_frames import Acknowledge, Marking

logger = logging.getLogger(__name__)

_WORKERS = 4  # threads; all actions of a user go to the same one, which keeps their order
_MOST_WAITING = 10_000  # actions per thread
_ACKS = 200  # users per request to Redis


class ActionQueue:
    """Several threads, so that a slow action delays only a part of the users."""

    def __init__(self, inbox: Inbox) -> None:
        self._workers = [_Worker(inbox) for _ in range(_WORKERS)]

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers:
            Loop("action queue", worker.step).start()

    def put(self, connection: StreamConnection, marking: Marking) -> None:
        """Carry out an action in a thread, and send the connection the result.

        Raises:
            Overloaded: too many actions are waiting.
        """
        self._worker(connection).put(connection, marking)

    def acknowledge(self, connection: StreamConnection, ack: Acknowledge) -> None:
        """Record in a thread what the client of a connection has received."""
        self._worker(connection).acknowledge(_user(connection), ack)

    def _worker(self, connection: StreamConnection) -> "_Worker":
        return self._workers[hash(_user(connection)) % _WORKERS]


class _Worker:
    """The queue of one thread, and its step."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._queue: deque[tuple[StreamConnection, Marking]] = deque()
        self._acks: dict[str, tuple[Cursor, Cursor | None]] = {}
        self._filled = threading.Event()

    def put(self, connection: StreamConnection, marking: Marking) -> None:
        if len(self._queue) >= _MOST_WAITING:
            raise Overloaded("too many inbox actions are waiting")
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
            self._record_acks()
        finally:
            if self._queue or self._acks:  # a failure must not delay what is queued behind it
                self._filled.set()

    def _record_acks(self) -> None:
        """Record acknowledgements. Those that fail with Redis are dropped: the next ack of a client includes them."""
        while self._acks:
            users = list(itertools.islice(self._acks, _ACKS))
            try:
                self._inbox.acknowledge({user: self._acks.pop(user) for user in users})
            except BrokerUnavailable as error:
                logger.warning("Acknowledgements were not recorded: %s", error.detail)


def _act(inbox: Inbox, connection: StreamConnection, marking: Marking) -> None:
    if connection.is_disconnected:
        return
    try:
        change = inbox.act(_user(connection), marking.action, marking.target)
        frame = frames.changed(marking.ref, change.view, change.changed, change.unknown)
    except Problem as problem:
        frame = frames.error(problem, marking.ref)
    except Exception:
        logger.exception("An inbox action failed")
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
