"""The audit log on a real server: pages, order and its limit."""

from collections.abc import Iterator

import pytest

from notifier.broker.audit_log import AuditLog
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable
from notifier.protocol import audit
from notifier.protocol.audit import Author
from notifier.protocol.cursor import Cursor, parse
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.ports import free_port

AUTHOR = Author("root", "", "127.0.0.1", "r-1")


def entry(number: int) -> bytes:
    return audit.encode(audit.ERASED, AUTHOR, {"user": f"user-{number}"})


def users(log: AuditLog, before: Cursor | None = None, limit: int = 1000) -> list[str]:
    return [each["target"]["user"] for each in log.page(before, limit)]


@pytest.fixture
def store(valkey: EmbeddedValkey, user: str) -> Iterator[Store]:
    store = Store(BrokerSettings(redis_url=valkey.url, redis_prefix=user.replace(":", "-")))
    yield store
    store.close()


def test_pages(store: Store) -> None:
    """The newest entries come first, and no entry is missing or there twice."""
    log = AuditLog(1000, store)
    assert log.page(None, 10) == []
    for number in range(7):
        log.append(entry(number))
    found: list[str] = []
    before = None
    while page := log.page(before, 3):
        found += [each["target"]["user"] for each in page]
        before = parse(page[-1]["id"])
        log.append(entry(100))
    assert found == [f"user-{number}" for number in range(6, -1, -1)]
    assert log.page(Cursor(0, 0), 10) == []


def test_limit(store: Store) -> None:
    """Beyond the limit, about, the oldest entries are removed."""
    log = AuditLog(100, store)
    store.execute([log.command(entry(number)) for number in range(1000)])
    kept = users(log)
    assert 100 <= len(kept) <= 300
    assert kept == [f"user-{number}" for number in range(999, 999 - len(kept), -1)]


def test_tenants(store: Store) -> None:
    """Each tenant has a log of its own."""
    log = AuditLog(1000, store)
    for number, tenant in enumerate(("", "acme", "beta")):
        log.append(entry(number), tenant)
    assert [users(log), *([each["target"]["user"] for each in log.page(None, 9, t)] for t in ("acme", "beta"))] == [
        ["user-0"],
        ["user-1"],
        ["user-2"],
    ]


def test_outage() -> None:
    """An entry that cannot be written is an error."""
    log = AuditLog(100, Store(BrokerSettings(redis_url=f"redis://127.0.0.1:{free_port()}")))
    with pytest.raises(BrokerUnavailable):
        log.append(entry(1))
