"""The client for asyncio: carries out the steps of calls."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Self, TypeVar, Unpack

import httpx

from notifier.client.aio.backend import AsyncBackend
from notifier.client.aio.inbox import AsyncInbox
from notifier.client.aio.operator import AsyncOperator
from notifier.client.aio.stream import AsyncStream
from notifier.client.answer import Accepted, Answer, Published
from notifier.client.base import ClientBase, Reading
from notifier.client.calls import Exchange, Outcome, Steps
from notifier.client.checks import Names, key_or_new
from notifier.client.errors import ProblemError, Unreachable
from notifier.client.events import Position
from notifier.client.notification import Batch, Batcher, Notification

T = TypeVar("T")
Many = Iterable[Mapping[str, Any] | bytes] | AsyncIterable[Mapping[str, Any] | bytes]


class AsyncNotifierClient(ClientBase, AsyncBackend, AsyncOperator):
    """`NotifierClient` for asyncio: the same arguments and methods."""

    def _open(self) -> None:
        self._http = httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections of the calls."""
        await self._http.aclose()

    async def publish(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> Published:
        """See `NotifierClient.publish`."""
        return await self._run(self._calls.publish({**(notification or {}), **fields}, idempotency_key, deadline))

    async def publish_many(
        self, notifications: Many, *, idempotency_key: str | None = None, deadline: float | None = None
    ) -> AsyncIterator[Published | ProblemError]:
        """See `NotifierClient.publish_many`; the notifications may be an asynchronous iterable, too."""
        batcher = Batcher(key_or_new(idempotency_key))
        async for notification in each(notifications):
            for batch in batcher.add(notification):
                for result in await self.publish_batch(batch, deadline=deadline):
                    yield result
        for batch in batcher.rest():
            for result in await self.publish_batch(batch, deadline=deadline):
                yield result

    async def publish_batch(self, batch: Batch, *, deadline: float | None = None) -> list[Published | ProblemError]:
        """See `NotifierClient.publish_batch`."""
        return await self._run(self._calls.publish_batch(batch, deadline))

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
        """See `NotifierClient.publish_as_user`."""
        whole, token = {**(notification or {}), **fields}, self._static(token)()
        return await self._run(self._calls.publish_as_user(topic, whole, token, idempotency_key, deadline))

    async def recall(self, id: str, *, deadline: float | None = None) -> None:
        """See `NotifierClient.recall`."""
        await self._run(self._calls.recall(id, deadline))

    async def find(self, id: str, *, deadline: float | None = None) -> list[str]:
        """See `NotifierClient.find`."""
        return await self._run(self._calls.find(id, deadline))

    async def status(self, *, deadline: float | None = None) -> dict[str, Any]:
        """See `NotifierClient.status`."""
        return await self._run(self._calls.status(deadline))

    def inbox(self, *, token: str | None = None) -> AsyncInbox:
        """See `NotifierClient.inbox`."""
        return AsyncInbox(self._inbox_calls(token), self._run)

    def listen(
        self,
        topics: Names = (),
        since: str | Position | None = None,
        *,
        token: str | None = None,
        get_token: Callable[[], str | Awaitable[str]] | None = None,
        deadline: float | None = None,
        inbox: bool = False,
    ) -> AsyncStream:
        """See `NotifierClient.listen`; `get_token` may be a coroutine function."""
        listener = self._listener(topics, since, get_token is not None, deadline, inbox)
        return AsyncStream(listener, self._configuration, get_token or self._static(token))

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            outcome = await (self._exchange(step) if isinstance(step, Exchange) else asyncio.sleep(step.seconds))

    async def _exchange(self, step: Exchange) -> Answer | Unreachable:
        reading = Reading(self.url, step, time.monotonic)
        try:
            async with self._http.stream(**reading.options) as response:
                async for part in response.aiter_bytes():
                    reading.add(part)
                return reading.answer(response.status_code, response.headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return reading.failed(error)


async def each(many: Many) -> AsyncIterator[Mapping[str, Any] | bytes]:
    """Yield the items of an iterable or of an asynchronous iterable."""
    if isinstance(many, AsyncIterable):
        async for item in many:
            yield item
    else:
        for item in many:
            yield item
