"""The action queue: runs inbox actions and acknowledgements that arrive on connections."""

import itertools
import logging
import threading
import time

from notifier.connections.stream import StreamConnection
from notifier.connections.work_queue import Bounds, WorkQueue
from notifier.errors import BrokerUnavailable, Disconnect, InternalError, Problem
from notifier.inbox.inbox import Inbox
from notifier.loop import Loop
from notifier.protocol import frames
from notifier.protocol.inbox_frames import Acknowledge, Marking

logger = logging.getLogger(__name__)

_WORKERS = 4  # threads, each with the action of another user
_ACKS = 200  # users per request to Redis
_GAPS = 8  # acknowledgements of a user that wait because something lies between them
_REST = 0.005  # seconds in which acknowledgements gather: those of a user are recorded together
_SIZE_OF_ID = 100  # bytes of memory, about


class ActionQueue:
    """Several threads, so that a slow action delays only its user, and one for acknowledgements."""

    def __init__(self, inbox: Inbox, bounds: Bounds) -> None:
        self._inbox = inbox
        self._queue: WorkQueue[Marking] = WorkQueue(bounds)
        self._acks: dict[str, list[Acknowledge]] = {}
        self._has_acks = threading.Event()

    def start(self) -> None:
        """Start the threads."""
        for _ in range(_WORKERS):
            Loop("action queue", self._act).start()
        Loop("acknowledgements", self._record_acks).start()

    def put(self, connection: StreamConnection, marking: Marking) -> None:
        """Carry out an action in a thread, and send the connection the result.

        Raises:
            Overloaded: too many actions are waiting.
        """
        self._queue.put(connection, marking, _SIZE_OF_ID * (1 + len(marking.target.ids)))

    def acknowledge(self, connection: StreamConnection, ack: Acknowledge) -> None:
        """Record in a thread what the client of a connection has received.

        Two acknowledgements of a user are joined only if nothing lies between them that no client has received.
        """
        if ack.since >= ack.cursor:
            return
        waiting = self._acks.setdefault(_user(connection), [])
        joined = waiting and waiting[-1].joined(ack)
        if joined:
            waiting[-1] = joined
        elif len(waiting) < _GAPS:
            waiting.append(ack)
        self._has_acks.set()

    def _act(self) -> None:
        taken = self._queue.take(1, 1)
        try:
            for connection, marking, _ in taken:
                _act(self._inbox, connection, marking)
        finally:
            self._queue.done(taken)

    def _record_acks(self) -> None:
        """Record acknowledgements, one of each user. Those that fail with Redis are dropped: they are for display."""
        self._has_acks.wait()
        users = list(itertools.islice(self._acks, _ACKS))
        acks = {user: self._acks[user].pop(0) for user in users}
        for user in users:
            if not self._acks[user]:
                del self._acks[user]
        if not self._acks:
            self._has_acks.clear()
        try:
            self._inbox.acknowledge(acks)
        except BrokerUnavailable as error:
            logger.warning("Acknowledgements were not recorded: %s", error.detail)
        if len(users) < _ACKS:
            time.sleep(_REST)


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
