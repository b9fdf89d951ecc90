"""Usage limits: all limits of one worker on what addresses, users and API keys may use."""

from notifier.broker.ledger import Ledger
from notifier.broker.store import Store
from notifier.limits.addresses import AddressLimits
from notifier.limits.api_keys import KeyLimits
from notifier.limits.client_address import ClientAddresses
from notifier.limits.payers import Payer, Payers
from notifier.limits.quotas import Quotas
from notifier.limits.requests import RequestLimits
from notifier.limits.responses import ResponseMemory
from notifier.limits.settlement import Settlement
from notifier.limits.users import UserLimits
from notifier.protocol import tenant as tenants
from notifier.protocol.api_key import ApiKey
from notifier.protocol.daily_usage import Amounts
from notifier.settings import Settings


class UsageLimits:
    """The limits of the worker that is called `worker`."""

    def __init__(self, settings: Settings, store: Store, worker: str) -> None:
        limits = settings.limits
        self.addresses = AddressLimits(limits)
        self.users = UserLimits(limits, settings.publishing.client_publish_rate)
        self.keys = KeyLimits(limits)
        clients, responses = ClientAddresses(limits.trusted_proxies), ResponseMemory(limits)
        self.requests = RequestLimits(clients, self.addresses, self.users, self.keys, responses)
        addresses, users, keys = self.addresses, self.users, self.keys
        of_users = (users.frames, users.publications, users.actions, users.replay)
        rates = (addresses.handshakes, addresses.failures, *of_users, *keys.rates)
        holdings = (addresses.streams.holdings, users.streams.holdings)
        daily = Amounts(
            limits.tenant_daily_publications,
            limits.tenant_daily_recipients,
            limits.tenant_daily_topics,
            limits.tenant_daily_bytes,
        )
        self._tenants = Quotas("tenant_daily", daily)
        quotas = users.quotas, keys.quotas, self._tenants
        self._settlement = Settlement(Ledger(store, worker), rates, quotas, holdings)

    def payer_of_key(self, key: ApiKey) -> Payer | Payers:
        """Return the payer for the publications of an API key."""
        return self._with_tenant(self.keys.payer(key.account), key.tenant)

    def payer_of_user(self, user: str) -> Payer | Payers:
        """Return the payer for the publications of a user. It does not count their rate."""
        return self._with_tenant(self.users.payer(user), tenants.of(user))

    def _with_tenant(self, payer: Payer, tenant: str) -> Payer | Payers:
        if not tenant or not self._tenants:
            return payer
        return Payers(payer, Payer(tenant, (), self._tenants))

    def start(self) -> None:
        """Begin to settle with the other workers."""
        self._settlement.start()

    def stop(self) -> None:
        """Stop settling."""
        self._settlement.stop()
