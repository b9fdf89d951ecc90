"""Limits of users, over all of their connections and requests."""

from notifier.errors import RateExceeded, RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.in_flight import InFlight
from notifier.limits.payers import Payer
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.limits.streams import Streams
from notifier.protocol.allowance import Rate
from notifier.protocol.daily_usage import Amounts

_FRAME_SECONDS = 5  # a client may send at once what it may send in so many seconds
_REPLAY_SECONDS = 30  # what may be sent from the log at once: as much as in so many seconds
_ITEMS_OF_ONE = 50  # of an inbox action, which take about as long as the rest of it


class UserLimits:
    """The limits of users. `publish_rate` is in publications per second."""

    def __init__(self, settings: LimitSettings, publish_rate: float) -> None:
        self.frames = Rates("user_frames", Rate.of(settings.user_frame_rate, _FRAME_SECONDS))
        self.publications = Rates("user_publications", Rate.of(publish_rate))
        self.actions = Rates("user_actions", Rate.of(settings.user_action_rate))
        self.replay = Rates("user_replayed_bytes", Rate.of(settings.user_replay_rate, _REPLAY_SECONDS))
        self.streams = Streams("user_connections", settings.user_connections)
        self.requests = InFlight("user_requests", settings.user_requests)
        daily = Amounts(topics=settings.user_daily_topics, bytes=settings.user_daily_bytes)
        self.quotas = Quotas("user_daily", daily)

    def count_frame(self, user: str) -> None:
        """Count a frame.

        Raises:
            RateExceeded
        """
        try:
            self.frames.take(user)
        except RateLimited as problem:
            raise RateExceeded("too many frames") from problem

    def count_items(self, user: str, number: int) -> None:
        """Count the items of an inbox action, which was counted as one: some of them are as much as another action.

        This refuses nothing: it is due before the next action.
        """
        if number > _ITEMS_OF_ONE:
            self.actions.spend(user, number / _ITEMS_OF_ONE - 1)

    def open_stream(self, user: str) -> None:
        """Count a stream of a user until `streams.closed` is called, if the user may have one more.

        Raises:
            RateExceeded
        """
        try:
            self.streams.require(user)
        except RateLimited as problem:
            raise RateExceeded("too many connections of this user") from problem
        self.streams.opened(user)

    def count_replay(self, user: str, size: int) -> None:
        """Count bytes that were sent from the log.

        Raises:
            RateExceeded: they were more than is allowed.
        """
        wait = self.replay.spend(user, size)
        if wait:
            raise RateExceeded("too much is replayed for this user") from self.replay.refusal(wait)

    def count_reading(self, user: str, size: int) -> None:
        """Count bytes that were read from logs for the inbox of a user.

        Raises:
            RateLimited: they were more than is allowed.
        """
        wait = self.replay.spend(user, size)
        if wait:
            raise self.replay.refusal(wait)

    def payer(self, user: str) -> Payer:
        """Return the payer for the publications of a user. It does not count their rate."""
        return Payer(user, (), self.quotas)
