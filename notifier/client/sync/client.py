"""The client for threads: carries out the steps of calls."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar, Unpack

import httpx

from notifier.client.answer import Accepted, Answer, Published
from notifier.client.base import ClientBase, Reading
from notifier.client.calls import Exchange, Steps, carry_out
from notifier.client.checks import Names, key_or_new
from notifier.client.errors import ProblemError, Unreachable
from notifier.client.events import Position
from notifier.client.notification import Batch, Batcher, Notification
from notifier.client.sync.backend import Backend
from notifier.client.sync.inbox import Inbox
from notifier.client.sync.operator import Operator
from notifier.client.sync.stream import Stream

T = TypeVar("T")


class NotifierClient(ClientBase, Backend, Operator):
    """Publishes to a service, and listens to it. Threads may share a client.

    `url` is the URL of the service. Publishing needs `api_key`, listening needs `token`. Missing arguments are taken
    from NOTIFIER_URL, NOTIFIER_API_KEY and NOTIFIER_TOKEN. `timeout` limits one attempt, `deadline` a call with all its
    attempts, both in seconds. Every call may raise any `NotifierError`.
    """

    def _open(self) -> None:
        self._http = httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of the calls."""
        self._http.close()

    def publish(
        self,
        notification: Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
        **fields: Unpack[Notification],
    ) -> Published:
        """Publish a notification, given as a mapping, by its fields, or both.

        All attempts use the same idempotency key, so retries never publish twice.
        """
        return self._run(self._calls.publish({**(notification or {}), **fields}, idempotency_key, deadline))

    def publish_many(
        self,
        notifications: Iterable[Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[Published | ProblemError]:
        """Publish many notifications, and yield the result of each, in order. A bad one does not fail the others.

        They are sent in batches; the deadline applies to each batch. After an exception, repeat the call with the same
        notifications and the same key: nothing is published twice. Bytes are a notification as JSON on one line.
        """
        batcher = Batcher(key_or_new(idempotency_key))
        for notification in notifications:
            for batch in batcher.add(notification):
                yield from self.publish_batch(batch, deadline=deadline)
        for batch in batcher.rest():
            yield from self.publish_batch(batch, deadline=deadline)

    def publish_batch(self, batch: Batch, *, deadline: float | None = None) -> list[Published | ProblemError]:
        """Publish a batch under its key, and return the results of its lines."""
        return self._run(self._calls.publish_batch(batch, deadline))

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
        """Publish to a topic as the user of the token, which must grant it. Needs no API key, and no `to`."""
        whole, token = {**(notification or {}), **fields}, self._static(token)()
        return self._run(self._calls.publish_as_user(topic, whole, token, idempotency_key, deadline))

    def recall(self, id: str, *, deadline: float | None = None) -> None:
        """Recall a notification."""
        self._run(self._calls.recall(id, deadline))

    def find(self, id: str, *, deadline: float | None = None) -> list[str]:
        """Return the channels that a notification went to."""
        return self._run(self._calls.find(id, deadline))

    def status(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Return the configuration of the worker that answers; docs/http-api.md has the fields."""
        return self._run(self._calls.status(deadline))

    def inbox(self, *, token: str | None = None) -> Inbox:
        """Return the inbox of the user of the token. Needs no API key."""
        return Inbox(self._inbox_calls(token), self._run)

    def listen(
        self,
        topics: Names = (),
        since: str | Position | None = None,
        *,
        token: str | None = None,
        get_token: Callable[[], str] | None = None,
        deadline: float | None = None,
        inbox: bool = False,
    ) -> Stream:
        """Return an iterator of the events of the user of the token, from now on or after `since`.

        `topics` is one name, or several. It connects on the first call for an event, or on entering `with`. With
        `get_token` it outlives a token. The
        initial connect must succeed within `deadline`; afterwards it reconnects indefinitely. With `inbox` it also
        returns `State` events.
        """
        listener = self._listener(topics, since, get_token is not None, deadline, inbox)
        return Stream(listener, self._configuration, get_token or self._static(token))

    def _run(self, steps: Steps[T]) -> T:
        return carry_out(steps, self._exchange, time.sleep)

    def _exchange(self, step: Exchange) -> Answer | Unreachable:
        reading = Reading(self.url, step, time.monotonic)
        try:
            with self._http.stream(**reading.options) as response:
                for part in response.iter_bytes():
                    reading.add(part)
                return reading.answer(response.status_code, response.headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return reading.failed(error)
