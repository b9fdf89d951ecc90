"""Rates: how often each user may publish by requests. Connections count for themselves, in their sessions."""

import math
import time

from notifier.errors import RateLimited
from notifier.protocol.allowance import Allowance

_MOST_ALLOWANCES = 10_000


class PublishRates:
    """An allowance per user of this worker. `rate` is in publications per second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._allowances: dict[str, Allowance] = {}

    def require(self, user: str) -> None:
        """Count a publication of a user, or reject it.

        Raises:
            RateLimited
        """
        now = time.time()
        if len(self._allowances) >= _MOST_ALLOWANCES:
            # A full allowance is the same as a new one.
            self._allowances = {user: each for user, each in self._allowances.items() if not each.is_full(now)}
        wait = self._allowances.setdefault(user, Allowance(self._rate, now)).take(now)
        if wait:
            raise RateLimited(retry_after=math.ceil(wait))
