"""Limits of API keys: for whom the changes of managed keys count."""

import pytest

from notifier.broker.store import Store
from notifier.errors import RateLimited
from notifier.limit_settings import LimitSettings
from notifier.limits.api_keys import KeyLimits
from notifier.limits.usage import UsageLimits
from notifier.protocol.api_key import ApiKey
from notifier.protocol.daily_usage import Amounts
from notifier.settings import BrokerSettings, Settings
from tests.kit.cases import rows

OPERATOR, LIMITED = ApiKey("root", ""), ApiKey("shop", "", users=("shop:*",))
ACME, BETA = ApiKey("a", "", tenant="acme"), ApiKey("b", "", tenant="beta")


@rows("first", [OPERATOR, LIMITED, ACME])
def test_changes(first: ApiKey) -> None:
    """Sixty times as many keys as in a second are changed at once. The keys of others are counted for themselves."""
    limits = KeyLimits(LimitSettings(key_change_rate=0.1))
    for _ in range(6):
        limits.count_change(first)
    same = [first, first._replace(id="other", holder="shop") if first == LIMITED else first]
    same += [ACME._replace(id="c"), ACME._replace(id="d", users=("x",))] if first == ACME else []
    for by in same:
        with pytest.raises(RateLimited) as caught:
            limits.count_change(by)
        assert caught.value.fields == {"limit": "key_changes"}
        assert caught.value.retry_after and 5 <= caught.value.retry_after <= 10
    for by in {OPERATOR, LIMITED, ACME, BETA, ApiKey("second", ""), LIMITED._replace(id="x")} - {first}:
        limits.count_change(by)


def test_publications() -> None:
    """The publications of keys that a limited key has created count for it."""
    limits = LimitSettings(key_daily_publications=3, key_publish_rate=10)
    usage = UsageLimits(Settings(limits=limits), Store(BrokerSettings(redis_url="redis://127.0.0.1:1")), "worker")
    amounts = Amounts(publications=1, recipients=1)

    def charge(*keys: ApiKey) -> list[str | None]:
        problems = [usage.payer_of_key(key).charge(amounts) for key in keys]
        return [problem and problem.fields["limit"] for problem in problems]

    made = [LIMITED._replace(id=f"made-{number}", holder="shop") for number in range(3)]
    assert charge(LIMITED, *made) == [None, None, None, "key_daily_publications"]
    assert charge(LIMITED._replace(id="x"), LIMITED._replace(id="x", tenant="acme"), OPERATOR) == [None] * 3


def test_names() -> None:
    """A key is not counted for the tenant whose name is its id."""
    limits = KeyLimits(LimitSettings(key_change_rate=0.1))
    for _ in range(6):
        limits.count_change(OPERATOR._replace(id="acme"))
    limits.count_change(ACME)


def test_entries() -> None:
    """The entries that a key causes are limited, but not those of the operator, who can always revoke."""
    limits = KeyLimits(LimitSettings(key_audit_rate=1))
    for by in (LIMITED, ACME):
        limits.count_entry(by)
        limits.count_entry(by)
        with pytest.raises(RateLimited) as caught:
            limits.count_entry(by)
        assert caught.value.fields == {"limit": "key_audit_entries"}
    with pytest.raises(RateLimited):
        limits.count_entry(LIMITED._replace(id="other", holder="shop"))
    for _ in range(100):
        limits.count_entry(OPERATOR)
