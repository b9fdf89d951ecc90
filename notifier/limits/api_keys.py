"""Limits of API keys."""

from notifier.limit_settings import LimitSettings
from notifier.limits.in_flight import InFlight
from notifier.limits.payers import Payer
from notifier.limits.quotas import Quotas
from notifier.limits.rates import Rates
from notifier.protocol.allowance import Rate
from notifier.protocol.api_key import ApiKey
from notifier.protocol.daily_usage import Amounts

_CHANGE_SECONDS = 60  # as many keys may be created at once as in so many seconds


class KeyLimits:
    """The limits of API keys, by their accounts."""

    def __init__(self, settings: LimitSettings) -> None:
        self.publications = Rates("key_publications", Rate.of(settings.key_publish_rate))
        self.recipients = Rates("key_recipients", Rate.of(settings.key_recipient_rate))
        self.requests = InFlight("key_requests", settings.key_requests)
        self.exports = InFlight("key_exports", settings.key_exports)
        self._changes = Rates("key_changes", Rate.of(settings.key_change_rate, _CHANGE_SECONDS))
        self._entries = Rates("key_audit_entries", Rate.of(settings.key_audit_rate))
        daily = Amounts(
            settings.key_daily_publications,
            settings.key_daily_recipients,
            settings.key_daily_topics,
            settings.key_daily_bytes,
        )
        self.quotas = Quotas("key_daily", daily)

    @property
    def rates(self) -> tuple[Rates, ...]:
        """All rates."""
        return self.publications, self.recipients, self._changes, self._entries

    def count_change(self, by: ApiKey) -> None:
        """Count the creation or rotation of a key: for the tenant, or for the key that asks for it.

        Raises:
            RateLimited
        """
        self._changes.take(f"{by.tenant}/" if by.tenant else f"/{by.account}")

    def count_entry(self, by: ApiKey) -> None:
        """Count an entry of the audit log that a key causes. The operator's are not limited: it can always revoke.

        Raises:
            RateLimited
        """
        if not by.share.is_operator:
            self._entries.take(f"{by.tenant}/{by.account}")

    def payer(self, account: str) -> Payer:
        """Return what counts the publications of a key."""
        return Payer(account, (self.publications, self.recipients), self.quotas)
