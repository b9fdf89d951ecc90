"""Limits of addresses: streams, requests, and failed authentications with a growing pause."""

import logging
import math
import time
from collections.abc import Callable

from notifier.errors import RateExceeded, RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.in_flight import InFlight
from notifier.limits.rates import MOST_NAMES, Rates
from notifier.limits.streams import Streams
from notifier.protocol import forwarded
from notifier.protocol.allowance import Rate
from notifier.protocol.pause import Pause
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_FAILURES_AT_ONCE = 60  # times what may fail in a second


class AddressLimits:
    """The limits of addresses in this worker. Nothing is counted for an address that is None."""

    def __init__(self, settings: LimitSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pauses: dict[int, Pause] = {}
        self.requests = InFlight("address_requests", settings.address_requests)
        self.peers = InFlight("address_requests", settings.address_requests)
        self.handshakes = Rates("address_handshakes", Rate.of(settings.address_handshake_rate), clock)
        self.failures = Rates("address_failures", Rate.of(settings.address_failure_rate, _FAILURES_AT_ONCE), clock)
        self.streams = Streams("address_connections", settings.address_connections, clock)

    def require_stream(self, address: int | None) -> None:
        """Count a handshake, and check that one more stream may be opened.

        Raises:
            RateLimited
        """
        if address is not None:
            self.handshakes.take(address)
            self.streams.require(address)

    def has_room_for_stream(self, address: int | None) -> bool:
        """Return whether `require_stream` would accept a handshake now. This counts nothing."""
        return address is None or (self.handshakes.has(address, 1) and self.streams.holdings.has_room(address))

    def opened(self, address: int | None) -> None:
        """Count a stream that is open."""
        if address is not None:
            self.streams.opened(address)

    def closed(self, address: int | None) -> None:
        """Count a stream that is closed."""
        if address is not None:
            self.streams.closed(address)

    def failed(self, address: int | None) -> None:
        """Count credentials that are not valid. Beyond the limit begins a pause, longer each time.

        Valid credentials are accepted meanwhile: many clients may share an address, and one of them may be broken.

        Raises:
            RateLimited: The address has to pause.
        """
        metrics.REFUSED_CREDENTIALS.inc()
        if address is None:
            return
        self._require_no_pause(address)
        if not self.failures.spend(address, 1):
            self._pauses.pop(address, None)
            return
        if len(self._pauses) >= MOST_NAMES:
            self._pauses.pop(next(iter(self._pauses)))
        pause = self._pauses.setdefault(address, Pause())
        pause.lengthen(self._clock())
        left = pause.left(self._clock())
        logger.warning("Authentication fails for %s: a pause of %.0f s", forwarded.text_of(address), left)

    def failed_on_stream(self, address: int | None) -> None:
        """Count a token in a frame that is not valid.

        Raises:
            RateExceeded: The address has to pause.
        """
        try:
            self.failed(address)
        except RateLimited as problem:
            raise RateExceeded("too many invalid tokens") from problem

    def _require_no_pause(self, address: int) -> None:
        pause = self._pauses.get(address)
        left = pause.left(self._clock()) if pause else 0.0
        if left:
            metrics.LIMITED.labels(self.failures.limit).inc()
            detail = "Authentication has failed too often for this address."
            raise RateLimited(detail, retry_after=math.ceil(left), limit=self.failures.limit)
