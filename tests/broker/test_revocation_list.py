"""The list of revocations on a real server: pages, order, room and expiry."""

import time
from collections.abc import Iterator

import pytest

from notifier.broker import revocation_list
from notifier.broker.revocation_list import RevocationList
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, TooManyRevocations
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.ports import free_port
from tests.kit.valkey import connected

NOW = time.time()


@pytest.fixture
def prefix(user: str) -> str:
    """The prefix of keys that no other test has."""
    return user.replace(":", "-")


@pytest.fixture
def revoked(valkey: EmbeddedValkey, prefix: str) -> Iterator[RevocationList]:
    settings = BrokerSettings(redis_url=valkey.url, redis_prefix=prefix)
    store = Store(settings)
    yield RevocationList(settings, store)
    store.close()


def test_empty(revoked: RevocationList) -> None:
    """Nothing is revoked at first."""
    assert revoked.since(0) == (0, [])


def test_changes(revoked: RevocationList) -> None:
    """Only what has changed since a version is returned, each name once."""
    revoked.add("user:a", NOW, 100)
    version, found = revoked.since(0)
    [only] = found
    assert only.name == "user:a"
    assert NOW - 0.002 < only.before <= NOW  # in whole milliseconds
    assert NOW + 99 < only.until < time.time() + 101
    assert revoked.since(version) == (version, [])
    revoked.add("user:b", NOW, 100)
    revoked.add("user:a", NOW + 5, 100)
    revoked.add("user:a", NOW + 7, 50)
    latest, found = revoked.since(version)
    assert [(each.name, round(each.before - NOW)) for each in found] == [("user:b", 0), ("user:a", 7)]
    assert found[1].until > NOW + 99, "it is not kept for a shorter time than before"
    assert revoked.since(latest) == (latest, [])


@pytest.mark.parametrize("name", ["user:a b", "user:é", "user:1 2 3", 'user:"\n', "id:00ff"])
def test_names(revoked: RevocationList, name: str) -> None:
    """A name may have any characters."""
    revoked.add(name, NOW, 100)
    assert [each.name for each in revoked.since(0)[1]] == [name]


def test_pages(revoked: RevocationList, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list is returned in pages; nothing is missing, also if it changes in between."""
    monkeypatch.setattr(revocation_list, "_PAGE", 3)
    for number in range(9):
        revoked.add(f"user:{number}", NOW, 100)
    version, found = revoked.since(0)
    assert [each.name for each in found] == ["user:0", "user:1", "user:2"]
    revoked.add("user:1", NOW, 100)
    names = []
    while found:
        version, found = revoked.since(version)
        names += [each.name for each in found]
    assert names == [*(f"user:{number}" for number in range(3, 9)), "user:1"]


def test_other_database(revoked: RevocationList) -> None:
    """A version that is higher than the database's is that of another one: all is returned."""
    revoked.add("user:a", NOW, 100)
    assert revoked.since(1000) == revoked.since(0)


def test_room(revoked: RevocationList, monkeypatch: pytest.MonkeyPatch, valkey: EmbeddedValkey, prefix: str) -> None:
    """The number of names is limited. Expired names make room, and leave no data."""
    monkeypatch.setattr(revocation_list, "MAX_REVOCATIONS", 2)
    revoked.add("user:a", NOW, -1)
    revoked.add("user:b", NOW, 100)
    revoked.add("user:c", NOW, 100)
    revoked.add("user:c", NOW + 1, 100)
    with pytest.raises(TooManyRevocations, match="2"):
        revoked.add("user:d", NOW, 100)
    assert [each.name for each in revoked.since(0)[1]] == ["user:b", "user:c"]
    with connected(valkey) as client:
        key = f"{prefix}:{{tokens}}:"
        assert (client.hlen(f"{key}revoked"), client.zcard(f"{key}until"), client.zcard(f"{key}order")) == (2, 2, 2)


def test_room_of_a_tenant(revoked: RevocationList, valkey: EmbeddedValkey, prefix: str) -> None:
    """The revocations of a tenant count until the last of them expires, whichever was added last."""
    revoked.add("user:a", NOW, 1000, "acme")
    revoked.add("user:b", NOW, 10, "acme")
    with connected(valkey) as client:
        key = f"{prefix}:{{tokens}}:until:acme"
        assert client.zcard(key) == 2
        assert client.pttl(key) > 500_000


def test_replicas(valkey: EmbeddedValkey, prefix: str) -> None:
    """A revocation that too few replicas have is not acknowledged."""
    settings = BrokerSettings(redis_url=valkey.url, redis_prefix=prefix, redis_timeout=0.2, min_replicas=1)
    store = Store(settings)
    with pytest.raises(BrokerUnavailable):
        RevocationList(settings, store).add("user:a", NOW, 100)
    store.close()


def test_outage() -> None:
    """Without Redis nothing can be revoked."""
    settings = BrokerSettings(redis_url=f"redis://127.0.0.1:{free_port()}")
    revoked = RevocationList(settings, Store(settings))
    with pytest.raises(BrokerUnavailable):
        revoked.add("user:a", NOW, 100)
    with pytest.raises(BrokerUnavailable):
        revoked.since(0)
