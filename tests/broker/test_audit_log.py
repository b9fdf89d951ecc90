"""The audit log on a real server: pages, order and its limit."""

from collections.abc import Iterator

import pytest

from notifier.broker.audit_log import AuditLog
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable
from notifier.protocol import audit
from notifier.protocol.api_key import ApiKey
from notifier.protocol.audit import Author, Entry
from notifier.protocol.cursor import Cursor, parse
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.ports import free_port
from tests.kit.waiting import DEADLINE

AUTHOR = Author("root", "", "127.0.0.1", "r-1")
ROOT, WEAK, WEAKER = ApiKey("root", ""), ApiKey("weak", "", users=("a",)), ApiKey("weaker", "", users=("b",))


def entry(number: int, by: ApiKey = ROOT, action: str = audit.ERASED) -> Entry:
    return audit.entry(action, AUTHOR._replace(key=by.id), by, {"user": f"user-{number}"})


def users(log: AuditLog, before: Cursor | None = None, limit: int = 1000) -> list[str]:
    return [each["target"]["user"] for each in log.page(before, limit)]


@pytest.fixture
def store(valkey: EmbeddedValkey, user: str) -> Iterator[Store]:
    prefix = user.replace(":", "-")
    store = Store(BrokerSettings(redis_url=valkey.url, redis_prefix=prefix, redis_timeout=DEADLINE))
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
    """Beyond the limit of a part, the oldest entries are removed."""
    log = AuditLog(100, store)
    log.append(*(entry(number) for number in range(200)))
    assert users(log) == [f"user-{number}" for number in range(199, 159, -1)]


@pytest.mark.parametrize("action", [audit.MEMBERS_CHANGED, audit.ERASED])
def test_flood(store: Store, action: str) -> None:
    """A limited key that causes many entries removes its own, and none about keys, tokens and users of others."""
    log = AuditLog(100, store)
    log.append(*(entry(number, ROOT, audit.KEY_CREATED) for number in range(40)))
    log.append(*(entry(number, ROOT, audit.RECALLED) for number in range(40)))
    log.append(*(entry(number, WEAK, audit.ERASED) for number in range(5)))
    log.append(*(entry(number, WEAKER, action) for number in range(300)))
    found = [each["key"]["id"] for each in log.page(None, 1000)]
    assert (found.count("root"), found.count("weak")) == (80, 5)
    assert found.count("weaker") == (5 if action == audit.ERASED else 10)
    assert {each["target"]["user"] for each in log.page(None, 5)} == {f"user-{number}" for number in range(295, 300)}


def test_keys_of_a_limited_key(store: Store) -> None:
    """Entries of keys that a limited key has created count for that key: more keys do not remove more of others."""
    log = AuditLog(100, store)
    log.append(*(entry(number, WEAK) for number in range(5)))
    for id in range(100):
        log.append(entry(id, WEAKER._replace(id=f"key-{id}", holder="weaker")))
    assert [each["key"]["id"] for each in log.page(None, 1000)].count("weak") == 5


def test_ids(store: Store) -> None:
    """All parts have one order, also if the clock steps back. Nothing is missing in pages."""
    log = AuditLog(1000, store)
    store.ask("SET", f"{log._name('')}:last", "9000000000000-41")
    actions = [audit.KEY_CREATED, audit.RECALLED]
    log.append(*(entry(number, by, action) for number in range(9) for by in (ROOT, WEAK) for action in actions))
    ids = [each["id"] for each in log.page(None, 1000)]
    assert ids == [f"9000000000000-{number}" for number in range(77, 41, -1)]
    found: list[str] = []
    while page := log.page(parse(found[-1]) if found else None, 5):
        found += [each["id"] for each in page]
    assert found == ids


def test_lower_limit(store: Store) -> None:
    """After a lower limit is set, the entries beyond it are removed little by little."""
    AuditLog(1000, store).append(*(entry(number) for number in range(400)))
    log = AuditLog(100, store)
    for number in range(400, 405):
        log.append(entry(number))
    assert users(log) == [f"user-{number}" for number in range(404, 364, -1)]


def test_tenants(store: Store) -> None:
    """Each tenant has a log of its own."""
    log = AuditLog(1000, store)
    for number, tenant in enumerate(("", "acme", "beta")):
        log.append(entry(number, ROOT._replace(tenant=tenant)))
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
