"""Responses in memory: how many bytes of them each user or API key may have, and all together, on this worker.

The bodies of their requests count with them.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

from notifier.errors import RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.name import Name
from notifier.protocol import rate_headers
from notifier.telemetry import metrics


class Holder(NamedTuple):
    """The user or API key whose responses count together, and the name of its limit."""

    limit: str
    name: Name


USER, KEY, ALL = "user_response_bytes", "key_response_bytes", "response_bytes"
STRANGERS = Holder(USER, "")  # requests without credentials: all of them together have what one user has


class Held:
    """The bytes of one response that are in memory. `cut` ends its connection."""

    __slots__ = ("cut", "holder", "size")

    def __init__(self, holder: Holder, cut: Callable[[], object]) -> None:
        self.holder = holder
        self.cut = cut
        self.size = 0


class _Account:
    """The responses of one holder, the oldest first, and those that are being sent: the one for longest first."""

    __slots__ = ("held", "sending", "size")

    def __init__(self) -> None:
        self.size = 0
        self.held: dict[Held, None] = {}
        self.sending: dict[Held, None] = {}


class ResponseMemory:
    """The memory of all responses of a worker.

    If a holder has too much, its responses that are being sent are cut off, the oldest first: a client that reads has
    its response within moments. One response of each holder may be longer than the limit. If all together have too
    much, that with most is cut off, also one that is not sent yet: its request would else take the room of others as
    long as its body lasts.
    """

    def __init__(self, settings: LimitSettings) -> None:
        self._most = {USER: settings.user_response_bytes, KEY: settings.key_response_bytes}
        self._most_of_all = settings.response_bytes
        self._accounts: dict[Holder, _Account] = {}
        self.size = 0

    def add(self, held: Held, size: int) -> None:
        """Count bytes that are in memory."""
        account = self._accounts.get(held.holder)
        if account is None:
            account = self._accounts[held.holder] = _Account()
        account.held[held] = None
        held.size += size
        account.size += size
        self.size += size

    def remove(self, held: Held, size: int) -> None:
        """Count bytes that are no longer in memory; those of a response that was cut off are not counted any more."""
        account = self._accounts.get(held.holder)
        if account is None:
            return
        size = min(size, held.size)
        held.size -= size
        account.size -= size
        self.size -= size
        if not held.size:
            account.held.pop(held, None)
        if not account.size and not account.sending:
            del self._accounts[held.holder]

    def send(self, held: Held, size: int) -> None:
        """Count bytes that are sent now, and cut off other responses if that is too much."""
        self.add(held, size)
        account = self._accounts[held.holder]
        account.sending[held] = None
        limit = held.holder.limit
        while account.size > self._most[limit] and len(account.sending) > 1:
            self._cut(next(iter(account.sending)), limit)
        if self.size > self._most_of_all:
            self._make_room(held)

    def sent(self, held: Held, size: int) -> None:
        """Count bytes that were sent."""
        account = self._accounts.get(held.holder)
        if account is not None:
            account.sending.pop(held, None)
            self.remove(held, size)

    def forget(self, held: Held) -> None:
        """Forget a response that has ended."""
        self.sent(held, held.size)

    def require_room(self, held: Held) -> None:
        """Check that a response may become longer. It may if it is the only one, or if others have more.

        Raises:
            RateLimited
        """
        limit = held.holder.limit
        account = self._accounts.get(held.holder, _Account())
        if account.size >= self._most[limit] and account.size > held.size:
            raise _refusal(limit, self._most[limit])
        if self.size >= self._most_of_all and self.size > held.size:
            if account.size >= max(each.size for each in self._accounts.values()):
                raise _refusal(ALL, self._most_of_all)
            self._make_room(held)

    def _make_room(self, spared: Held) -> None:
        """Cut off responses of whoever has most."""
        while self.size > self._most_of_all:
            others = [each for each in self._accounts.values() if any(held is not spared for held in each.held)]
            if not others:
                return
            account = max(others, key=lambda each: each.size)
            oldest = itertools.chain(account.sending, account.held)
            self._cut(next(held for held in oldest if held is not spared), ALL)

    def _cut(self, held: Held, limit: str) -> None:
        metrics.LIMITED.labels(limit).inc()
        self.forget(held)
        held.cut()


def _refusal(limit: str, most: int) -> RateLimited:
    metrics.LIMITED.labels(limit).inc()
    detail = f"At most {most} bytes of bodies that arrive and of responses that wait to be read."
    return RateLimited(detail, retry_after=1, headers=rate_headers.of_concurrency(limit, most), limit=limit)
