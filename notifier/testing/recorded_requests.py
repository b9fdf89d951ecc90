"""The requests that recording clients have made, checked by the rules of the service."""

import json
import secrets
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from notifier.client import Accepted, Channel, Event, ProblemError, Published
from notifier.client.backend_calls import BackendCalls
from notifier.client.calls import Calls, Steps, carry_out
from notifier.client.key_calls import KeyCalls
from notifier.client.notification import Batch, encode
from notifier.errors import IdempotencyMismatch, NotFound, Problem
from notifier.protocol import notification as notifications
from notifier.protocol.notification import Limits, Publication
from notifier.protocol.notification_id import canonical_id
from notifier.testing.memory import URL, Memory

T = TypeVar("T")


class Recording:
    """The requests that were made. `published` are the notifications as they were posted, `recalled` are ids.

    `erased` and `disconnected` are users. `listen` yields the events that a test puts into `incoming`. Tokens are not
    read, so there is one inbox, with the notifications to all recipients.
    """

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.recalled: list[str] = []
        self.incoming: deque[Event] = deque()
        self._results: dict[str, tuple[bytes, Published]] = {}  # by idempotency key
        self._calls = Calls(URL, "nk_recorded")
        self._backend = BackendCalls(self._calls)
        self._keys = KeyCalls(self._calls)
        self._memory = Memory()

    @property
    def erased(self) -> list[str]:
        """The users who were erased."""
        return self._memory.erased

    @property
    def disconnected(self) -> list[str]:
        """The users who were disconnected."""
        return self._memory.disconnected

    @property
    def revoked(self) -> list[dict[str, Any]]:
        """Which tokens were revoked: objects with a `user` and perhaps `issued_before`, or with a `jti`."""
        return self._memory.revoked

    def record(self, notification: Mapping[str, Any] | bytes, key: str | None) -> Published:
        """Validate a notification and record it.

        Raises:
            ProblemError: the service would reject it.
        """
        body = encode(notification)
        try:
            publication = notifications.parse(body, Limits())
            if key in self._results:
                return self._repeated(key, body)
        except Problem as problem:
            raise ProblemError(problem.document()) from problem
        published = self._place(publication)
        self.published.append(json.loads(body))
        if key:
            self._results[key] = body, published
        return published

    def attempt(
        self, notification: Mapping[str, Any] | bytes, key: str | None, number: int
    ) -> Published | ProblemError:
        """Record one notification of many, and return its result."""
        try:
            return self.record(notification, f"{key}:{number}" if key else None)
        except ProblemError as problem:
            return problem

    def attempt_batch(self, batch: Batch) -> list[Published | ProblemError]:
        """Record the notifications of a batch, and return their results."""
        lines = enumerate(batch.lines, batch.offset + 1)
        return [self.attempt(line, batch.key, number) if isinstance(line, bytes) else line for number, line in lines]

    def accept(self, topic: str, notification: Mapping[str, Any], key: str | None) -> Accepted:
        """Record a notification that a user publishes; the user is not recorded."""
        published = self.record({**notification, "to": {"topics": [topic]}}, key)
        return Accepted(published.id, published.channels[0].cursor)

    def forget(self, id: str) -> None:
        """Recall a notification.

        Raises:
            ProblemError: it was never published, or has been recalled.
        """
        self.channels(id)
        id = canonical_id(id)
        self._memory.forget(id)
        self.recalled.append(id)

    def channels(self, id: str) -> list[str]:
        """Return the channels of a notification.

        Raises:
            ProblemError: it was never published, or has been recalled.
        """
        kept = self._memory.kept.get(canonical_id(id))
        if kept is None:
            raise ProblemError(NotFound("There is no such notification, or it is no longer stored.").document())
        return kept.channels

    def _answer(self, steps: Steps[T]) -> T:
        return carry_out(steps, lambda step: self._memory.answer(step.request), lambda seconds: None)

    def _repeated(self, key: str | None, body: bytes) -> Published:
        first, published = self._results[key or ""]
        if first != body:
            raise IdempotencyMismatch()
        return published._replace(replayed=True)

    def _place(self, publication: Publication) -> Published:
        now = time.time()
        ms = int(1000 * now)
        id = notifications.new_id(ms, secrets.token_bytes(10))
        cursor = f"{ms}-{len(self.published)}"
        channels = tuple(
            Channel(name, cursor, False, self._memory.suppressed(publication, name)) for name in publication.channels
        )
        self._memory.keep(id, now, cursor, publication)
        return Published(id, datetime.fromtimestamp(now, UTC), channels)
