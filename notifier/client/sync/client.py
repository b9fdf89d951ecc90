"""The client for threads: carries the steps of calls and streams out, one after the other."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar, Unpack

import httpx

from notifier.client.answer import Accepted, Answer, Published
from notifier.client.base import ClientBase, Reading
from notifier.client.calls import Exchange, Outcome, Steps, new_key
from notifier.client.errors import ProblemError, Unreachable
from notifier.client.events import Position
from notifier.client.notification import Batch, Batcher, Notification
from notifier.client.sync.backend import Backend
from notifier.client.sync.inbox import Inbox
from notifier.client.sync.stream import Stream

T = TypeVar("T")


class NotifierClient(ClientBase, Backend):
    """Publishes to a service, and listens to it. May be shared by threads.

    `url` is that of the service, `api_key` is needed to publish, `token` to listen; what is not given is taken from
    NOTIFIER_URL, NOTIFIER_API_KEY and NOTIFIER_TOKEN. `timeout` is for one attempt, `deadline` for a call with all
    its attempts, both in seconds. Every call may raise any `NotifierError`.
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
        **members: Unpack[Notification],
    ) -> Published:
        """Publish a notification, given as a mapping, by its members, or both.

        All attempts have one idempotency key, so whatever gets lost on the way, it is published once.
        """
        return self._run(self._calls.publish({**(notification or {}), **members}, idempotency_key, deadline))

    def publish_many(
        self,
        notifications: Iterable[Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
        deadline: float | None = None,
    ) -> Iterator[Published | ProblemError]:
        """Publish many, and yield for each, in order, what became of it. A bad one does not fail the others.

        They go in batches; the deadline is for each. After an exception, repeat it with the same notifications and
        the same key: what was published is not published again. Bytes are a notification as JSON in one line.
        """
        batcher = Batcher(idempotency_key or new_key())
        for notification in notifications:
            for batch in batcher.add(notification):
                yield from self.publish_batch(batch, deadline=deadline)
        for batch in batcher.rest():
            yield from self.publish_batch(batch, deadline=deadline)

    def publish_batch(self, batch: Batch, *, deadline: float | None = None) -> list[Published | ProblemError]:
        """Publish a batch, under its key, and return what became of its lines."""
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
        **members: Unpack[Notification],
    ) -> Accepted:
        """Publish to a topic as the user of the token, which must grant that. No API key is needed, and no `to`."""
        whole, token = {**(notification or {}), **members}, self._static(token)()
        return self._run(self._calls.publish_as_user(topic, whole, token, idempotency_key, deadline))

    def recall(self, id: str, *, deadline: float | None = None) -> None:
        """Take a notification back."""
        self._run(self._calls.recall(id, deadline))

    def find(self, id: str, *, deadline: float | None = None) -> list[str]:
        """Return the channels that a notification went to."""
        return self._run(self._calls.find(id, deadline))

    def status(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Return with what the service runs; docs/http-api.md has the members."""
        return self._run(self._calls.status(deadline))

    def inbox(self, *, token: str | None = None) -> Inbox:
        """Return the inbox of the user of the token. No API key is needed."""
        return Inbox(self._inbox_calls(token), self._run)

    def listen(
        self,
        topics: Sequence[str] = (),
        since: str | Position | None = None,
        *,
        token: str | None = None,
        get_token: Callable[[], str] | None = None,
        deadline: float | None = None,
        inbox: bool = False,
    ) -> Stream:
        """Return an iterator of what comes for the user of the token, from now on or from `since`.

        It connects when it is first asked for an event, or when it is entered by `with`. With `get_token` it lasts
        beyond the end of a token. `deadline` is for the first connection. With `inbox` there are `State` events, too.
        """
        listener = self._listener(topics, since, get_token is not None, deadline, inbox)
        return Stream(listener, self._configuration, get_token or self._static(token))

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Exchange):
                outcome = self._exchange(step)
            else:
                outcome = None
                time.sleep(step.seconds)

    def _exchange(self, step: Exchange) -> Answer | Unreachable:
        reading = Reading(self.url, step, time.monotonic)
        try:
            with self._http.stream(**reading.options) as response:
                for part in response.iter_bytes():
                    reading.add(part)
                return reading.answer(response.status_code, response.headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return reading.failed(error)
