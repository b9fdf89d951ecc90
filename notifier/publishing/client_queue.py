"""The publisher: publishes what connections ask for, in the order in which they ask."""

import logging
import threading
from collections import deque
from typing import Any

import msgspec

from notifier.connections.stream import StreamConnection
from notifier.delivery.fanout import FanOut
from notifier.errors import BrokerUnavailable, Disconnect, InternalError, Overloaded, Problem
from notifier.protocol import frames
from notifier.protocol.publishing import Publishing
from notifier.publishing.publisher import Answer, Post, Publisher

logger = logging.getLogger(__name__)

_BATCH = 256  # published together
_MOST_WAITING = 10_000

_decode: Any = msgspec.json.Decoder().decode


class ClientQueue:
    """One thread that takes all that waits at once: while Redis carries out a batch, the next one gathers."""

    def __init__(self, publisher: Publisher, fan_out: FanOut) -> None:
        self._publisher = publisher
        self._fan_out = fan_out
        self._queue: deque[tuple[StreamConnection, Publishing]] = deque()
        self._filled = threading.Event()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="publisher", daemon=True).start()

    def put(self, connection: StreamConnection, publishing: Publishing) -> None:
        """Publish something, and answer the connection.

        Raises:
            Overloaded: too much waits already.
        """
        if len(self._queue) >= _MOST_WAITING:
            raise Overloaded("too much is being published")
        self._queue.append((connection, publishing))
        self._filled.set()

    def _run(self) -> None:
        while True:
            self._filled.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
            if not self._queue:
                self._filled.clear()
            answers: list[Answer | Problem]
            try:
                answers = self._publish(batch)
            except BrokerUnavailable as problem:
                answers = [problem] * len(batch)
            except Exception:
                # This loop must survive: without it no client publishes any more.
                logger.exception("What clients published failed")
                answers = [InternalError()] * len(batch)
            for (connection, publishing), answer in zip(batch, answers, strict=True):
                _answer(connection, publishing, answer)

    def _publish(self, batch: list[tuple[StreamConnection, Publishing]]) -> list[Answer | Problem]:
        posts = []
        for (connection, publishing), id in zip(batch, self._publisher.new_ids(len(batch)), strict=True):
            posts.append(Post(publishing.publication, publishing.body, publishing.key, id))
            if not publishing.echo:
                self._fan_out.spare(id, publishing.publication.channels[0], connection)
        return self._publisher.publish(posts)


def confirmation(publishing: Publishing, answer: Answer) -> bytes:
    """Return the frame that tells a client what became of its publication."""
    published = _decode(answer.json)
    return frames.published(publishing.ref, published["id"], published["channels"][0]["cursor"])


def _answer(connection: StreamConnection, publishing: Publishing, answer: Answer | Problem) -> None:
    if not connection.is_open:
        return
    try:
        match answer:
            case Answer():
                connection.reply(confirmation(publishing, answer))
            case Problem():
                connection.reply(frames.error(answer, publishing.ref))
    except Disconnect as disconnect:
        connection.close(disconnect)
