"""The list of API keys on a real server: changes, pages, room, and when keys were used."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifier.broker import key_list
from notifier.broker.key_list import KeyList
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, TooManyKeys
from notifier.protocol import key_record
from notifier.protocol.key_record import KEPT, KeyRecord
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.broker import TIMEOUT
from tests.kit.ports import free_port
from tests.kit.valkey import connected
from tests.kit.waiting import DEADLINE

NOW = int(1000 * time.time())
Make = Callable[..., KeyList]


@pytest.fixture
def prefix(user: str) -> str:
    """The prefix of keys that no other test has."""
    return user.replace(":", "-")


@pytest.fixture
def make(valkey: EmbeddedValkey, prefix: str) -> Iterator[Make]:
    """Makes the list, as one worker has it."""
    stores = []

    def make(max_keys: int = 100, **settings: Any) -> KeyList:
        settings.setdefault("redis_timeout", DEADLINE)
        broker = BrokerSettings(redis_url=valkey.url, redis_prefix=prefix, **settings)
        stores.append(Store(broker))
        return KeyList(broker, max_keys, stores[-1])

    yield make
    for store in stores:
        store.close()


def record(id: str, **others: Any) -> KeyRecord:
    return KeyRecord(id, f"Key {id}", ("publish",), ("*",), ("*",), NOW, "root", "aa", **others)


def test_empty(make: Make) -> None:
    """There are no keys at first."""
    keys = make()
    assert keys.since(0) == (0, [])
    assert keys.page("", 10) == []
    assert keys.get("a") is None


def test_changes(make: Make) -> None:
    """A record is stored only if it has not changed since it was read."""
    keys = make()
    assert keys.put(record("a"))
    assert not keys.put(record("a")), "it is not new"
    first = keys.get("a")
    assert first and first.record == record("a")
    assert keys.put(first.record.revoke(NOW), first.text)
    assert not keys.put(first.record.rotate("bb", NOW, 5, ""), first.text), "it is another one now"
    second = keys.get("a")
    assert second and second.record.revoked == NOW


def test_since(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what has changed since a version is returned, each key once, however many there are."""
    monkeypatch.setattr(key_list, "_PAGE", 3)
    keys = make()
    for number in range(10):
        keys.put(record(f"key-{number}"))
    version, found = keys.since(0)
    assert [each.id for each in found] == [f"key-{number}" for number in range(10)]
    assert keys.since(version) == (version, [])
    for id in ("key-7", "key-2"):
        stored = keys.get(id)
        assert stored and keys.put(stored.record.revoke(NOW), stored.text)
    later, found = keys.since(version)
    assert [(each.id, each.revoked) for each in found] == [("key-7", NOW), ("key-2", NOW)]
    assert later == version + 2


def test_other_database(make: Make) -> None:
    """A version of another database is lower: all keys are to be read again."""
    keys = make()
    keys.put(record("a"))
    assert keys.since(1000) == (1, [])


def test_pages(make: Make) -> None:
    """Keys are listed in the order of their ids, with the time of their last use."""
    keys = make()
    for id in ("b", "D", "a", "c"):
        keys.put(record(id))
    keys.note_used({"a": 7000, "b": 9000, "nobody": 9000})
    keys.note_used({"a": 8000, "b": 8000})
    assert [each.record.id for each in keys.page("", 3)] == ["D", "a", "b"]
    assert [(each.record.id, each.used) for each in keys.page("D", 10)] == [("a", 8000), ("b", 9000), ("c", 0)]
    assert keys.page("c", 10) == []


def test_room(make: Make, valkey: EmbeddedValkey, prefix: str) -> None:
    """The number of keys is limited. A key that has ended makes room, and leaves no data."""
    keys = make(max_keys=3)
    for id in ("a", "b", "c"):
        keys.put(record(id))
    keys.note_used({"b": 5000})
    with pytest.raises(TooManyKeys, match="3"):
        keys.put(record("d"))
    stored = keys.get("b")
    assert stored and keys.put(stored.record.revoke(NOW), stored.text), "a change needs no room"
    keys.put(record("d"))
    assert [each.record.id for each in keys.page("", 10)] == ["a", "c", "d"]
    with pytest.raises(TooManyKeys):
        keys.put(record("e"))
    with connected(valkey) as client:
        key = f"{prefix}:{{keys}}:"
        sizes = [client.hlen(f"{key}records"), client.zcard(f"{key}names"), client.zcard(f"{key}order")]
        assert (sizes, client.hlen(f"{key}used"), client.zcard(f"{key}until")) == ([3, 3, 3], 0, 0)


def test_expiring_keys_keep_their_room(make: Make) -> None:
    """A key that will expire makes no room before it has expired."""
    keys = make(max_keys=1)
    keys.put(record("a", expires=NOW + 10**7))
    with pytest.raises(TooManyKeys):
        keys.put(record("b"))


def test_forgotten(make: Make) -> None:
    """Keys that have ended are removed after some time."""
    keys = make()
    keys.put(record("a", expires=NOW - KEPT - 1))
    keys.put(record("b", expires=NOW - KEPT + 10**8))
    keys.put(record("c"))
    assert [each.record.id for each in keys.page("", 10)] == ["b", "c"]


def test_replicas(make: Make) -> None:
    """A change that too few replicas have is not acknowledged."""
    keys = make(min_replicas=1, redis_timeout=TIMEOUT)
    with pytest.raises(BrokerUnavailable):
        keys.put(record("a"))


def test_outage() -> None:
    """Without Redis nothing can be changed or read."""
    settings = BrokerSettings(redis_url=f"redis://127.0.0.1:{free_port()}")
    keys = KeyList(settings, 10, Store(settings))
    asks: list[Callable[[], object]] = [
        lambda: keys.put(record("a")),
        lambda: keys.since(0),
        lambda: keys.get("a"),
        lambda: keys.page("", 1),
    ]
    for ask in asks:
        with pytest.raises(BrokerUnavailable):
            ask()


def test_ended_keys_of_a_group(make: Make, valkey: EmbeddedValkey, prefix: str) -> None:
    """A tenant or a limited key that creates and revokes keys removes records of its own only, the oldest first."""
    keys = make(max_keys=20)
    groups: list[dict[str, str]] = [{}, {"tenant": "beta"}, {"holder": "shop"}]
    for number, group in enumerate(groups):
        keys.put(record(f"other-{number}", revoked=NOW - 1000, **group))
    for number in range(30):
        stored = record(f"acme-{number:02}", tenant="acme")
        keys.put(stored)
        keys.put(stored.revoke(NOW + number), stored.encode())
    assert [each.record.id for each in keys.page("", 100)] == [
        "acme-28",
        "acme-29",
        "other-0",
        "other-1",
        "other-2",
    ]
    with connected(valkey) as client:
        assert client.zcard(f"{prefix}:{{keys}}:until:acme") == 2
        left = client.pttl(f"{prefix}:{{keys}}:until:acme")
        assert 1000 * time.time() + left > NOW + KEPT - 1000


def test_same_id_again(make: Make, valkey: EmbeddedValkey, prefix: str) -> None:
    """A key with the id of one that was removed to make room is not removed in its place."""
    keys = make(max_keys=10)
    keys.put(record("a", revoked=NOW - 1000))
    with connected(valkey) as client:
        for what in ("records", "used"):
            client.hdel(f"{prefix}:{{keys}}:{what}", "a")
        for what in ("until", "names", "order"):
            client.zrem(f"{prefix}:{{keys}}:{what}", "a")
    keys.put(record("a", tenant="acme"))
    for id in ("b", "c", "d"):
        keys.put(record(id, revoked=NOW))
    assert [each.record.id for each in keys.page("", 100)] == ["a", "d"]


def test_reserve(make: Make) -> None:
    """The last tenth of the keys is the operator's to create."""
    keys = make(max_keys=10)
    for number in range(9):
        keys.put(record(str(number)))
    with pytest.raises(TooManyKeys, match="9"):
        keys.put(record("x"))
    assert keys.put(record("x"), is_operator=True)
    with pytest.raises(TooManyKeys, match="10"):
        keys.put(record("y"), is_operator=True)


def test_removed_before_it_was_read(make: Make) -> None:
    """A worker that has not read the end of a key before the record was removed has to read all records."""
    keys = make(max_keys=10)
    for id in ("a", "b", "c"):
        keys.put(record(id))
    before, _ = keys.since(0)
    _revoke(keys, "a")
    between, _ = keys.since(before)
    _revoke(keys, "b")
    assert [each.id for each in keys.since(0)[1]] == ["c", "b"]
    assert [each.id for each in keys.since(between)[1]] == ["b"], "it has read the end of the key that was removed"
    assert keys.since(before) == (0, [])


def test_removed_while_all_are_read(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is removed between two pages is not taken for one that has not changed."""
    monkeypatch.setattr(key_list, "_PAGE", 2)
    keys, other = make(max_keys=10), make(max_keys=10)
    for id in ("a", "b", "c"):
        keys.put(record(id))
    decode, done = key_record.decode, set[str]()

    def decode_slowly(text: bytes) -> KeyRecord:
        found = decode(text)
        if not done:
            done.add(found.id)
            for id in ("a", "b"):
                _revoke(other, id)
        return found

    monkeypatch.setattr(key_record, "decode", decode_slowly)
    version, found = keys.since(0)
    assert [(each.id, each.revoked) for each in found] == [("a", 0), ("b", 0), ("c", 0), ("b", NOW + 1)]
    assert keys.since(version) == (0, [])


def _revoke(keys: KeyList, id: str) -> None:
    stored = keys.get(id)
    assert stored and keys.put(stored.record.revoke(NOW + (id == "b")), stored.text)
