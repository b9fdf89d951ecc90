"""The list of revocations on a real server: pages, order, room and expiry."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from notifier.broker import revocation_list
from notifier.broker.revocation_list import RevocationList
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, TooManyRevocations
from notifier.protocol.share import Share
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.ports import free_port
from tests.kit.valkey import connected
from tests.kit.waiting import DEADLINE

NOW = time.time()
OPERATOR = Share(is_operator=True)


@pytest.fixture
def prefix(user: str) -> str:
    """The prefix of keys that no other test has."""
    return user.replace(":", "-")


@pytest.fixture
def revoked(valkey: EmbeddedValkey, prefix: str) -> Iterator[RevocationList]:
    settings = BrokerSettings(redis_url=valkey.url, redis_prefix=prefix, redis_timeout=DEADLINE)
    with contextlib.closing(Store(settings)) as store:
        yield list_of(store)


def list_of(store: Store, most: int = 100) -> RevocationList:
    return RevocationList(BrokerSettings(), most, store)


def fill(revoked: RevocationList, share: Share, name: str = "", most: int = 1000) -> int:
    """Revoke the tokens of as many users as a share has room for. Return how many these are."""
    for number in range(most):
        try:
            revoked.add(f"user:{share.name} {name} {number}", NOW, 100, share)
        except TooManyRevocations:
            return number
    return most


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


def test_room(revoked: RevocationList, valkey: EmbeddedValkey, prefix: str) -> None:
    """The number of names is limited, also for the operator. Expired names make room, and leave no data."""
    revoked = list_of(revoked._store, 2)
    revoked.add("user:a", NOW, -1, OPERATOR)
    revoked.add("user:b", NOW, 100, OPERATOR)
    revoked.add("user:c", NOW, 100, OPERATOR)
    revoked.add("user:c", NOW + 1, 100, OPERATOR)
    with pytest.raises(TooManyRevocations, match="At most 2"):
        revoked.add("user:d", NOW, 100, OPERATOR)
    assert [each.name for each in revoked.since(0)[1]] == ["user:b", "user:c"]
    with connected(valkey) as client:
        key = f"{prefix}:{{tokens}}:"
        assert (client.hlen(f"{key}revoked"), client.zcard(f"{key}until"), client.zcard(f"{key}order")) == (2, 2, 2)


@pytest.mark.parametrize(
    ("share", "most"),
    [(Share(), 72), (Share("", "shop"), 25), (Share("acme"), 25), (Share("acme", "shop"), 10), (OPERATOR, 100)],
)
def test_shares(revoked: RevocationList, share: Share, most: int) -> None:
    """Nobody takes all of the room. Revocations of a full share can be extended, and none is removed."""
    assert fill(revoked, share) == most
    revoked.add(f"user:{share.name}  0", NOW + 5, 100, share)
    assert len(revoked.since(0)[1]) == most
    if share != OPERATOR:
        for other in (Share(), Share("", "other"), Share("acme"), Share("acme", "other"), Share("beta")):
            is_within = other.tenant == share.tenant == "acme" and not share.key
            assert fill(revoked, other, most=1) or is_within or other == share, "others find room"
        assert fill(revoked, OPERATOR) >= 10
    assert len(revoked.since(0)[1]) == 100


def test_many_shares(revoked: RevocationList) -> None:
    """However many keys and tenants revoke all that they can, others find room, and the operator has its own."""
    revoked = list_of(revoked._store, 1000)
    shares = [Share("", f"key-{number}") for number in range(20)] + [Share(f"t-{number}") for number in range(20)]
    taken = [fill(revoked, share) for share in shares]
    assert all(taken) and max(taken) == taken[0] == 242
    assert fill(revoked, Share("", "late")) and fill(revoked, Share("late")) and fill(revoked, Share())
    assert fill(revoked, OPERATOR) >= 100


def test_key_with_many_keys(revoked: RevocationList) -> None:
    """The keys of a tenant share its room, so that more keys are not more room, and some is left for its admin."""
    revoked = list_of(revoked._store, 1000)
    assert 150 < sum(fill(revoked, Share("acme", f"key-{number}")) for number in range(9)) < 242
    assert fill(revoked, Share("acme")) and fill(revoked, Share("acme", "late")) == 0
    assert fill(revoked, Share("beta")) > 100


def test_first_share(revoked: RevocationList, valkey: EmbeddedValkey, prefix: str) -> None:
    """A revocation that another share extends takes the room of the first one until it expires then."""
    weak = Share("acme", "a/b c\n}")
    revoked.add("user:a", NOW, 10, weak)
    revoked.add("user:a", NOW, 1000, OPERATOR)
    revoked.add("user:b", NOW, 1000, OPERATOR)
    revoked.add("user:b", NOW, 1000, weak)
    with connected(valkey) as client:
        for name in ("acme", weak.name):
            key = f"{prefix}:{{tokens}}:until:{name}"
            assert client.zcard(key) == 1
            assert client.pttl(key) > 900_000
        assert not client.exists(f"{prefix}:{{tokens}}:until:")


def test_expired_shares(revoked: RevocationList) -> None:
    """Expired revocations of a share make room in it."""
    share = Share("", "shop")
    for number in range(20):
        revoked.add(f"user:{number}", NOW, 0.05, share)
    time.sleep(max(NOW + 0.06 - time.time(), 0.06))
    assert fill(revoked, share) == 25


def test_older_data(revoked: RevocationList, valkey: EmbeddedValkey, prefix: str) -> None:
    """Revocations without a share, of an older version, are read and extended."""
    with connected(valkey) as client:
        until = int(1000 * time.time()) + 100_000
        client.hset(f"{prefix}:{{tokens}}:revoked", "user:a", f"5000 {until}")
        client.zadd(f"{prefix}:{{tokens}}:until", {"user:a": until})
        client.zadd(f"{prefix}:{{tokens}}:order", {"user:a": 1})
        client.set(f"{prefix}:{{tokens}}:version", 1)
    assert [each.before for each in revoked.since(0)[1]] == [5]
    revoked.add("user:a", 7, 10)
    [found] = revoked.since(0)[1]
    assert (found.before, found.until) == (7, until / 1000)


def test_room_of_a_tenant(revoked: RevocationList, valkey: EmbeddedValkey, prefix: str) -> None:
    """The revocations of a tenant count until the last of them expires, whichever was added last."""
    revoked.add("user:a", NOW, 1000, Share("acme"))
    revoked.add("user:b", NOW, 10, Share("acme"))
    with connected(valkey) as client:
        key = f"{prefix}:{{tokens}}:until:acme"
        assert client.zcard(key) == 2
        assert client.pttl(key) > 500_000


def test_replicas(valkey: EmbeddedValkey, prefix: str) -> None:
    """A revocation that too few replicas have is not acknowledged."""
    settings = BrokerSettings(redis_url=valkey.url, redis_prefix=prefix, redis_timeout=0.2, min_replicas=1)
    store = Store(settings)
    with pytest.raises(BrokerUnavailable):
        RevocationList(settings, 100, store).add("user:a", NOW, 100)
    store.close()


def test_outage() -> None:
    """Without Redis nothing can be revoked."""
    settings = BrokerSettings(redis_url=f"redis://127.0.0.1:{free_port()}")
    revoked = RevocationList(settings, 100, Store(settings))
    with pytest.raises(BrokerUnavailable):
        revoked.add("user:a", NOW, 100)
    with pytest.raises(BrokerUnavailable):
        revoked.since(0)
