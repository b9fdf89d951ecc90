"""Requests in flight: how many each address, user or API key may have at a time on this worker."""

from notifier.errors import RateLimited
from notifier.limits.name import Name
from notifier.protocol import rate_headers
from notifier.telemetry import metrics


class InFlight:
    """The numbers of one limit, by name."""

    def __init__(self, limit: str, most: int) -> None:
        self._limit = limit
        self._most = most
        self._numbers: dict[Name, int] = {}

    def has_room(self, name: Name) -> bool:
        """Return whether a request may begin."""
        return self._numbers.get(name, 0) < self._most

    def enter(self, name: Name) -> None:
        """Count a request that begins.

        Raises:
            RateLimited: it may not.
        """
        if not self.has_room(name):
            raise self.refusal()
        self._numbers[name] = self._numbers.get(name, 0) + 1

    def leave(self, name: Name) -> None:
        """Count a request that ends."""
        number = self._numbers[name] - 1
        if number:
            self._numbers[name] = number
        else:
            del self._numbers[name]

    def refusal(self) -> RateLimited:
        """Return the error that refuses a request, and count it."""
        metrics.LIMITED.labels(self._limit).inc()
        headers = rate_headers.of_concurrency(self._limit, self._most)
        return RateLimited(f"At most {self._most} at a time.", retry_after=1, headers=headers, limit=self._limit)
