"""Limits of API keys."""

from notifier.limit_settings import LimitSettings
from notifier.limits.in_flight import InFlight
from notifier.limits.payers import Payer
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.protocol.allowance import Rate
from notifier.protocol.daily_usage import Amounts


class KeyLimits:
    """The limits of API keys, by their ids."""

    def __init__(self, settings: LimitSettings) -> None:
        self.publications = Rates("key_publications", Rate.of(settings.key_publish_rate))
        self.recipients = Rates("key_recipients", Rate.of(settings.key_recipient_rate))
        self.requests = InFlight("key_requests", settings.key_requests)
        self.exports = InFlight("key_exports", settings.key_exports)
        daily = Amounts(
            settings.key_daily_publications,
            settings.key_daily_recipients,
            settings.key_daily_topics,
            settings.key_daily_bytes,
        )
        self.quotas = Quotas("key_daily", daily)

    def payer(self, id: str) -> Payer:
        """Return what counts the publications of a key."""
        return Payer(id, (self.publications, self.recipients), self.quotas)
