"""Recording clients: they validate like the service, and record requests instead of sending them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar, Unpack

from notifier.client import Accepted, AsyncInbox, Inbox, Notification, ProblemError, Published
from notifier.client.aio.backend import AsyncBackend
from notifier.client.aio.client import Many, each
from notifier.client.aio.operator import AsyncOperator
from notifier.client.calls import Steps
from notifier.client.checks import Names
from notifier.client.events import Position
from notifier.client.inbox_calls import InboxCalls
from notifier.client.notification import Batch
from notifier.client.sync.backend import Backend
from notifier.client.sync.operator import Operator
from notifier.testing.recorded_requests import Recording
from notifier.testing.recorded_streams import AsyncRecordedStream, RecordedStream

T = TypeVar("T")


class RecordingNotifier(Recording, Backend, Operator):
    """Replaces a `NotifierClient`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing."""

    def publish(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> Published:
        """Record a notification."""
        return self.record({**(notification or {}), **fields}, idempotency_key)

    def publish_many(
        self,
        notifications: Iterable[Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[Published | ProblemError]:
        """Record many notifications; a rejected one does not make the others fail."""
        for number, notification in enumerate(notifications, 1):
            yield self.attempt(notification, idempotency_key, number)

    def publish_batch(self, batch: Batch, *, deadline: float | None = None) -> list[Published | ProblemError]:
        """Record a batch, and return the results of its lines."""
        return self.attempt_batch(batch)

    def publish_as_user(
        self,
        topic: str,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        token: str | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> Accepted:
        """Record a notification to the topic."""
        return self.accept(topic, {**(notification or {}), **fields}, idempotency_key)

    def recall(self, id: str, *, deadline: float | None = None) -> None:
        """Record a recall."""
        self.forget(id)

    def find(self, id: str, *, deadline: float | None = None) -> list[str]:
        """Return the channels that a notification was published to."""
        return self.channels(id)

    def status(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Return what a worker says of itself."""
        return self._run(self._calls.status(deadline))

    def inbox(self, *, token: str | None = None) -> Inbox:
        """Return the only inbox."""
        return Inbox(InboxCalls(self._calls, token or ""), self._run)

    def _run(self, steps: Steps[T]) -> T:
        return self._answer(steps)

    def listen(
        self,
        topics: Names = (),
        since: str | Position | None = None,
        *,
        token: str | None = None,
        get_token: Callable[[], str] | None = None,
        deadline: float | None = None,
        inbox: bool = False,
    ) -> RecordedStream:
        """Return an iterator over `incoming`."""
        return RecordedStream(self.incoming)


class AsyncRecordingNotifier(Recording, AsyncBackend, AsyncOperator):
    """Replaces an `AsyncNotifierClient`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Do nothing."""

    async def publish(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> Published:
        """Record a notification."""
        return self.record({**(notification or {}), **fields}, idempotency_key)

    async def publish_many(
        self, notifications: Many, *, idempotency_key: str | None = None, deadline: float | None = None
    ) -> AsyncIterator[Published | ProblemError]:
        """Record many notifications; a rejected one does not make the others fail."""
        number = 0
        async for notification in each(notifications):
            number += 1
            yield self.attempt(notification, idempotency_key, number)

    async def publish_batch(self, batch: Batch, *, deadline: float | None = None) -> list[Published | ProblemError]:
        """Record a batch, and return the results of its lines."""
        return self.attempt_batch(batch)

    async def publish_as_user(
        self,
        topic: str,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        token: str | None = None,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> Accepted:
        """Record a notification to the topic."""
        return self.accept(topic, {**(notification or {}), **fields}, idempotency_key)

    async def recall(self, id: str, *, deadline: float | None = None) -> None:
        """Record a recall."""
        self.forget(id)

    async def find(self, id: str, *, deadline: float | None = None) -> list[str]:
        """Return the channels that a notification was published to."""
        return self.channels(id)

    async def status(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Return what a worker says of itself."""
        return await self._run(self._calls.status(deadline))

    def inbox(self, *, token: str | None = None) -> AsyncInbox:
        """Return the only inbox."""
        return AsyncInbox(InboxCalls(self._calls, token or ""), self._run)

    async def _run(self, steps: Steps[T]) -> T:
        return self._answer(steps)

    def listen(
        self,
        topics: Names = (),
        since: str | Position | None = None,
        *,
        token: str | None = None,
        get_token: Callable[[], str | Awaitable[str]] | None = None,
        deadline: float | None = None,
        inbox: bool = False,
    ) -> AsyncRecordedStream:
        """Return an iterator over `incoming`."""
        return AsyncRecordedStream(self.incoming)
