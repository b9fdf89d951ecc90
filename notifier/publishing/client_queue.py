"""The client queue: publishes what arrives on connections, in the order in which it arrives."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from notifier.connections.stream import StreamConnection
from notifier.connections.work_queue import Bounds, Taken, WorkQueue
from notifier.errors import BrokerUnavailable, Disconnect, InternalError, Problem, UnexpectedFault
from notifier.loop import Loop
from notifier.protocol import frames
from notifier.protocol.publishing import Publishing
from notifier.publishing.publisher import Answer, Payer, Post, Publisher

logger = logging.getLogger(__name__)

_BATCH = 256  # published together

_decode: Any = msgspec.json.Decoder().decode
Skip = Callable[[str, str, StreamConnection], None]


class ClientQueue:
    """A thread that takes what waits, for many users at once: the next batch gathers while Redis carries out this one.

    `skip` is called with the id of a notification, its channel, and the connection that must not receive it. `payer`
    returns who is charged for the publications of a user.
    """

    def __init__(
        self,
        publisher: Publisher,
        skip: Skip,
        payer: Callable[[str], Payer | None],
        bounds: Bounds,
    ) -> None:
        self._publisher = publisher
        self._payer = payer
        self._skip = skip
        self._queue: WorkQueue[Publishing] = WorkQueue(bounds)
        self._loop = Loop("client queue", self._run_batch)

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def put(self, connection: StreamConnection, publishing: Publishing) -> None:
        """Publish a notification of a connection, and send the answer to the connection.

        Raises:
            Overloaded: too much is waiting.
        """
        self._queue.put(connection, publishing, 2 * len(publishing.body))  # it is parsed, and kept for retries

    def _run_batch(self) -> None:
        taken = self._queue.take(_BATCH, self._queue.bounds.requests)
        try:
            batch = [each for each in taken if not each[0].is_disconnected]
            for (connection, publishing, _), answer in zip(batch, self._answers(batch), strict=True):
                _answer(connection, publishing, answer)
        finally:
            self._queue.done(taken)

    def _answers(self, batch: list[Taken[Publishing]]) -> list[Answer | Problem]:
        """Publish a batch. If that fails, the failure is the answer to each."""
        try:
            return self._publish(batch)
        except BrokerUnavailable as problem:
            return [problem] * len(batch)
        except Exception:
            logger.exception("Publishing for connections failed")
            return [InternalError()] * len(batch)

    def _publish(self, batch: list[Taken[Publishing]]) -> list[Answer | Problem]:
        posts = []
        for (connection, publishing, _), id in zip(batch, self._publisher.new_ids(len(batch)), strict=True):
            payer = self._payer(identity.user) if (identity := connection.session.identity) else None
            posts.append(Post(publishing.publication, publishing.body, publishing.key, id, payer))
            if not publishing.echo:
                self._skip(id, publishing.publication.channels[0], connection)
        return self._publisher.publish(posts)


def confirmation(publishing: Publishing, answer: Answer) -> bytes:
    """Return the frame that confirms a publication to its client."""
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
    except Exception:
        # One connection's fault must not keep the others from their answers.
        logger.exception("A publication of a client cannot be answered")
        connection.close(UnexpectedFault())
