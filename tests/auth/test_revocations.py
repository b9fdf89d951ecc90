"""Revocations on a real server: what they cover, on all workers, and until when."""

import time
from collections.abc import Callable, Iterator

import pytest

from notifier.auth import revocations
from notifier.auth.revocations import Revocations
from notifier.broker.revocation_list import RevocationList
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, InvalidToken, TooManyRevocations
from notifier.protocol.identity import Identity, digest_of
from notifier.protocol.share import Share
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.auth.conftest import Pauses
from tests.kit.ports import free_port
from tests.kit.valkey import connected
from tests.kit.waiting import DEADLINE, eventually

MAX_AGE = 1000.0


class Worker:
    """The revocations of one worker; `changes` counts the calls after which it looks for connections to close."""

    def __init__(self, url: str, prefix: str) -> None:
        self.changes = 0
        settings = BrokerSettings(redis_url=url, redis_prefix=prefix, redis_timeout=DEADLINE)
        self.store = Store(settings)
        self.list = RevocationList(settings, 10_000, self.store)
        self.revocations = Revocations(self.list, MAX_AGE, self._count)

    def _count(self) -> None:
        self.changes += 1


@pytest.fixture
def make(valkey: EmbeddedValkey, user: str) -> Iterator[Callable[[], Worker]]:
    """Makes workers that share a database which no other test has."""
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker(valkey.url, user))
        return made[-1]

    yield make
    for worker in made:
        worker.revocations.stop()
        worker.store.close()


def identity(user: str = "alice", issued: float = 0, jti: str = "") -> Identity:
    return Identity(user, 1e12, issued=issued, id=digest_of(jti) if jti else b"")


def test_user(make: Callable[[], Worker]) -> None:
    """Tokens that were issued before the time, or have no time, are covered; later ones and other users are not."""
    worker, other, now = make(), make(), time.time()
    worker.revocations.revoke_user("alice", now)
    other.revocations.update()
    for each in (worker.revocations, other.revocations):
        assert each.covers(identity(issued=now - 0.01)) and each.covers(identity())
        assert not each.covers(identity(issued=now)) and not each.covers(identity("bob"))
        with pytest.raises(InvalidToken, match="revoked"):
            each.check(identity())
        assert each.check(identity("bob")) == identity("bob")
    assert (worker.changes, other.changes) == (1, 1)
    other.revocations.update()
    assert other.changes == 1


def test_token(make: Callable[[], Worker]) -> None:
    """One token is covered by its id, whatever characters that has."""
    worker, other = make(), make()
    for jti in ("x", "é\ud800 :{}\n", "y" * 5000):
        worker.revocations.revoke_id(jti)
        other.revocations.update()
        assert other.revocations.covers(identity(jti=jti, issued=1e12))
    assert not other.revocations.covers(identity(jti="z"))
    assert not other.revocations.covers(identity())


def test_never_weaker(make: Callable[[], Worker]) -> None:
    """An earlier time does not replace a later one."""
    worker, other, now = make(), make(), time.time()
    worker.revocations.revoke_user("alice", now)
    worker.revocations.revoke_user("alice", now - 500)
    other.revocations.update()
    for each in (worker, other):
        assert each.revocations.covers(identity(issued=now - 1))


def test_new_worker(make: Callable[[], Worker]) -> None:
    """A worker that starts learns all revocations, in pages, also those that were changed in between."""
    worker, now = make(), time.time()
    for number in range(2500):
        worker.list.add(f"user:user-{number}", now, MAX_AGE)
    worker.list.add("user:user-7", now + 9, MAX_AGE)
    other = make()
    other.revocations.update()
    assert all(other.revocations.covers(identity(f"user-{number}")) for number in range(2500))
    assert other.revocations.covers(identity("user-7", issued=now + 5))
    assert other.changes == 1


def test_thread(make: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker knows within a second."""
    worker, other = make(), make()
    pauses = Pauses(lambda: not other.changes)
    monkeypatch.setattr(revocations, "time", pauses)
    other.revocations.start()
    eventually(pauses.have_begun)
    worker.revocations.revoke_user("alice", time.time())
    pauses.begin()
    eventually(lambda: other.changes)
    assert pauses.seconds <= 1
    assert other.revocations.covers(identity())


def test_expiry(make: Callable[[], Worker], valkey: EmbeddedValkey, user: str) -> None:
    """A revocation is forgotten when no token can be valid any more that it covers, in memory and in Redis."""
    worker, now = make(), time.time()
    worker.revocations.revoke_user("alice", now + 60)
    worker.revocations.revoke_id("x")
    worker.revocations.sweep(now + MAX_AGE + 5)
    assert worker.revocations.covers(identity(jti="x")) and worker.revocations.covers(identity())
    worker.revocations.sweep(now + MAX_AGE + 60)
    assert worker.revocations.covers(identity())
    worker.revocations.sweep(now + MAX_AGE + 200)
    assert not worker.revocations.covers(identity(jti="x"))
    worker.list.add("user:gone", now, -1)
    worker.list.add("user:here", now, 5)
    with connected(valkey) as client:
        assert b"user:gone" not in client.hkeys(f"{user}:{{tokens}}:revoked")
        for what in ("until", "order"):
            assert client.zcard(f"{user}:{{tokens}}:{what}") == 3
    other = make()
    other.revocations.update()
    assert not other.revocations.covers(identity("gone"))


def test_full(make: Callable[[], Worker]) -> None:
    """A key that has revoked all that it can is refused, by users and by ids; what it has revoked stays revoked."""
    worker, now, shop = make(), time.time(), Share("", "shop")
    worker.list._most = 10
    users = [f"shop:{number}" for number in range(3)]
    for user in users:
        worker.revocations.revoke_user(user, now, shop)
    with pytest.raises(TooManyRevocations, match="This key has used up its share"):
        worker.revocations.revoke_user("shop:3", now, shop)
    with pytest.raises(TooManyRevocations, match="This key has used up its share"):
        worker.revocations.revoke_id("1", shop)
    acme = Share("acme")
    worker.revocations.revoke_id("1", acme)
    worker.revocations.revoke_user("acme\x1fa", now, acme)
    with pytest.raises(TooManyRevocations, match="This tenant has used up its share"):
        worker.revocations.revoke_user("acme\x1fb", now, acme)
    for number in range(5):
        worker.revocations.revoke_id(str(number), Share(is_operator=True))
    with pytest.raises(TooManyRevocations, match="At most 10"):
        worker.revocations.revoke_user("a", now, Share(is_operator=True))
    assert all(worker.revocations.covers(identity(user)) for user in (*users, "acme\x1fa"))


def test_lost_database(make: Callable[[], Worker], valkey: EmbeddedValkey, user: str) -> None:
    """If Redis loses its data, workers keep what they know, and learn what is new."""
    worker, other = make(), make()
    for name in ("alice", "bob", "carol"):
        worker.revocations.revoke_user(name, time.time())
    other.revocations.update()
    with connected(valkey) as client:
        client.delete(*client.keys(f"{user}:*"))
    other.revocations.update()
    worker.revocations.revoke_user("dave", time.time())
    other.revocations.update()
    for name in ("alice", "dave"):
        assert other.revocations.covers(identity(name))


def test_failover(make: Callable[[], Worker], valkey: EmbeddedValkey, user: str) -> None:
    """If a replica without the last changes takes over, changes that were made there under their numbers are read."""
    worker, other = make(), make()
    worker.revocations.revoke_user("alice", time.time())
    with connected(valkey) as client:
        kept = {name: client.dump(name) for name in client.keys(f"{user}:*")}
        worker.revocations.revoke_user("bob", time.time())
        other.revocations.update()
        for name in client.keys(f"{user}:*"):
            client.restore(name, 0, kept[name], replace=True)
    worker.list.add("user:carol", time.time(), MAX_AGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other.list, "since", _away)
        with pytest.raises(BrokerUnavailable):
            other.revocations.update()
    other.revocations.update()
    assert all(other.revocations.covers(identity(name)) for name in ("alice", "bob", "carol"))


def _away(_: int) -> None:
    raise BrokerUnavailable("gone")


def test_loaded(make: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is loaded once it has read all revocations from before its start; a later outage changes nothing."""
    worker = make()
    assert not worker.revocations.is_loaded
    worker.revocations.update()
    assert worker.revocations.is_loaded
    monkeypatch.setattr(worker.list, "since", _away)
    with pytest.raises(BrokerUnavailable):
        worker.revocations.update()
    assert worker.revocations.is_loaded


def test_outage() -> None:
    """While Redis cannot be reached, nothing can be revoked, and what is known stays."""
    worker = Worker(f"redis://127.0.0.1:{free_port()}", "n")
    with pytest.raises(BrokerUnavailable):
        worker.revocations.revoke_user("alice", time.time())
    assert not worker.revocations.covers(identity()) and not worker.revocations.is_loaded
