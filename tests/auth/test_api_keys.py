"""API keys on a real server: which are accepted, on all workers, how soon and until when."""

import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.auth import api_keys
from notifier.auth.api_keys import ApiKeys
from notifier.broker import key_list
from notifier.errors import BrokerUnavailable, InvalidApiKey
from notifier.protocol import key_text
from notifier.protocol.api_key import ApiKey
from notifier.protocol.key_record import KEPT
from notifier.protocol.key_request import KeyRequest
from notifier.server.embedded_valkey import EmbeddedValkey
from tests.auth.conftest import ACME, ROOT, SHOP, KeyWorker, Pauses
from tests.kit.ports import free_port
from tests.kit.valkey import connected
from tests.kit.waiting import DEADLINE, eventually

Make = Callable[[], KeyWorker]


class TestFind:
    def test_key(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key is found by its text, without a request to Redis, and has the grants of the request."""
        worker = make()
        made = worker.create(KeyRequest("Shop", ("publish", "recall"), ("orders",), ("acme:*",)))
        worker.lose_redis(monkeypatch)
        id, scopes = made.record.id, frozenset({"publish", "recall"})
        assert worker.keys.find(made.text) == ApiKey(id, "", scopes, ("orders",), ("acme:*",), "Shop")
        assert key_text.id_of(made.text) == id

    def test_settings(self) -> None:
        """Keys of the settings are accepted, too, also while Redis is away and before anything was read."""
        worker = KeyWorker(f"redis://127.0.0.1:{free_port()}", "n")
        assert worker.keys.find(ROOT.secret) is ROOT
        assert worker.keys.find(ACME.secret) is ACME
        for text in ("", "x", ROOT.secret + "x", "nk_live_"):
            with pytest.raises(InvalidApiKey):
                worker.keys.find(text)

    def test_settings_in_the_same_form(self, make: Make) -> None:
        """A key of the settings may have the form of a managed one."""
        key = ApiKey("own", key_text.new_text(key_text.new_id(b"12345678"), b"x" * 32))
        assert ApiKeys([key], make().list).find(key.secret) is key

    def test_wrong_secret(self, make: Make) -> None:
        """The right id with another secret is rejected, and so is a text without a secret."""
        worker = make()
        made = worker.create()
        for text in (
            key_text.new_text(made.record.id, b"x" * 32),
            key_text.new_text(made.record.id, b"x" * 32, is_test=True),
            made.text.replace("live", "test"),
            made.text[:-6] + "000000",
            made.record.id,
            made.record.digest,
        ):
            assert not worker.accepts(text)

    def test_mistyped(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A mistyped key is rejected without a request to Redis, and the error names the reason."""
        worker = make()
        made = worker.create()
        worker.lose_redis(monkeypatch)
        with pytest.raises(InvalidApiKey, match="mistyped"):
            worker.keys.find(made.text[:-1] + ("x" if made.text[-1] != "x" else "y"))

    def test_expiry(self, make: Make, advance: Callable[[float], None]) -> None:
        """A key expires."""
        worker = make()
        made = worker.create(SHOP._replace(expires_in=1000))
        advance(900)
        assert worker.accepts(made.text)
        advance(1000)
        assert not worker.accepts(made.text)

    def test_starting(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker that starts without Redis does not reject managed keys: it does not know yet."""
        made = make().create()
        worker = make()
        worker.lose_redis(monkeypatch)
        assert not worker.keys.is_loaded
        with pytest.raises(BrokerUnavailable):
            worker.keys.find(made.text)

    def test_outage(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """While Redis is away, known keys are accepted, and a revoked one is not."""
        worker = make()
        made, revoked = worker.create(), worker.create()
        worker.revoke(revoked)
        worker.lose_redis(monkeypatch)
        with pytest.raises(BrokerUnavailable):
            worker.keys.update()
        assert worker.keys.is_loaded
        assert worker.accepts(made.text)
        assert not worker.accepts(revoked.text)
        with pytest.raises(BrokerUnavailable):
            worker.keys.find(key_text.new_text(key_text.new_id(b"unknown!"), b"x" * 32))


class Entrance:
    """A lock that counts who wants it."""

    def __init__(self) -> None:
        self.asked = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.asked += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_waiting_without_redis() -> None:
    """Requests that wait for others that ask Redis fail as these do: the key may be valid."""
    release, entrance = threading.Event(), Entrance()

    def since(version: int) -> Any:
        release.wait(DEADLINE)
        raise BrokerUnavailable("gone")

    stored: Any = SimpleNamespace(since=since)
    keys, text = ApiKeys((), stored), key_text.new_text(key_text.new_id(b"unknown!"), b"x" * 32)
    keys._updating = entrance  # type: ignore[assignment]
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(keys.find, text) for _ in range(4)]
        eventually(lambda: entrance.asked == 4)
        release.set()
        assert {type(each.exception()) for each in found} == {BrokerUnavailable}


class TestWorkers:
    def test_new_key(self, make: Make) -> None:
        """A new key, and a new secret, are accepted by each worker at once."""
        worker, other = make(), make()
        other.keys.update()
        made = worker.create()
        assert other.accepts(made.text)
        assert other.accepts(worker.rotate(made).text)
        assert other.accepts(made.text)

    def test_revoked(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A revoked key is rejected by this worker at once, and by others within a second."""
        worker, other = make(), make()
        made = worker.create()
        assert other.accepts(made.text)
        pauses = Pauses(lambda: made.record.id in other.keys._known)
        monkeypatch.setattr(api_keys, "time", pauses)
        other.keys.start()
        eventually(pauses.have_begun)
        worker.revoke(made)
        pauses.begin()
        assert not worker.accepts(made.text)
        eventually(lambda: not other.accepts(made.text))
        assert pauses.seconds <= 1

    def test_many_revoked(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Others also learn of revoked keys whose records were removed before they asked."""
        monkeypatch.setattr(key_list, "_PAGE", 5)
        worker, other = make(), make()
        kept, *revoked = [worker.create() for _ in range(25)]  # of a hundred keys, ten that have ended are stored
        other.keys.update()
        for made in revoked:
            worker.revoke(made)
        other.keys.update()
        assert [made.record.name for made in revoked if other.accepts(made.text)] == []
        assert other.accepts(kept.text)

    def test_revoked_while_all_are_read(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that is revoked while a worker reads all keys is rejected, though an earlier page had it."""
        worker, other = make(), make()
        made = worker.create()
        before = worker.stored(made).record
        worker.revoke(made)
        version, records = other.list.since(0)
        monkeypatch.setattr(other.list, "since", lambda _: (version, [before, *records]))
        other.keys.update()
        assert not other.accepts(made.text)

    def test_restart(self, make: Make) -> None:
        """A worker that starts knows all keys, in all states."""
        worker = make()
        made, revoked, rotated = worker.create(), worker.create(), worker.create()
        worker.revoke(revoked)
        new = worker.rotate(rotated)
        other = make()
        other.keys.update()
        assert [other.accepts(each.text) for each in (made, revoked, rotated, new)] == [True, False, True, True]

    def test_lost_database(self, make: Make, valkey: EmbeddedValkey, user: str) -> None:
        """If Redis loses its data, the keys are lost. Revoked keys stay revoked if an old copy is restored."""
        worker, other = make(), make()
        made, revoked = worker.create(), worker.create()
        other.keys.update()
        with connected(valkey) as client:
            kept = {name: client.dump(name) for name in client.keys(f"{user}:*")}
            worker.revoke(revoked)
            other.keys.update()
            client.delete(*client.keys(f"{user}:*"))
            other.keys.update()
            assert not other.accepts(made.text)
            for name, data in kept.items():
                client.restore(name, 0, data, replace=True)
        other.keys.update()
        assert other.accepts(made.text)
        assert not other.accepts(revoked.text)

    def test_used(self, make: Make) -> None:
        """The time of the last use is stored now and then, in the background."""
        worker = make()
        made, unused = worker.create(), worker.create()
        for _ in range(3):
            worker.keys.find(made.text)
        assert [each.used for each in worker.list.page("", 10)] == [0, 0]
        worker.keys.note_used()
        used = {each.record.id: each.used for each in worker.list.page("", 10)}
        assert used[unused.record.id] == 0
        assert abs(used[made.record.id] / 1000 - time.time()) < 60
        worker.keys.find(made.text)
        worker.rotate(made)
        worker.keys.find(made.text)
        assert not worker.keys._used, "not with each request"

    def test_used_during_an_outage(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """A time that could not be stored is stored later."""
        worker = make()
        worker.keys.find(worker.create().text)
        with monkeypatch.context() as patch:
            worker.lose_redis(patch)
            with pytest.raises(BrokerUnavailable):
                worker.keys.note_used()
        worker.keys.note_used()
        assert worker.list.page("", 10)[0].used

    def test_forgotten(self, make: Make) -> None:
        """Of keys that have ended, only ids are in memory, and of those that ended long ago nothing."""
        worker = make()
        kept, revoked = worker.create(), worker.create()
        worker.create(SHOP._replace(expires_in=60))
        worker.revoke(revoked)
        assert revoked.record.id not in worker.keys._known
        worker.keys.sweep(time.time() + KEPT / 1000 - 60)
        assert list(worker.keys._known) == [kept.record.id] and len(worker.keys._ended) == 2
        worker.keys.sweep(time.time() + KEPT / 1000 + 120)
        assert worker.accepts(kept.text) and not worker.keys._ended

    def test_many_that_ended(self, make: Make) -> None:
        """Keys that are created and revoked take little memory of this and other workers, and stay revoked."""
        worker, other = make(), make()
        patterns = tuple(f"{number:0128}" for number in range(100))
        made = [worker.create(SHOP._replace(topics=patterns, users=patterns)) for _ in range(3)]
        other.keys.update()
        tracemalloc.start()
        try:
            for each in made:
                worker.revoke(each)
            other.keys.update()
            records = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/key_record.py")])
        finally:
            tracemalloc.stop()
        late = make()
        for each in (worker, other, late):
            each.keys.update()
            assert not each.keys._known and len(each.keys._ended) == 3
            assert not any(each.accepts(key.text) for key in made)
        assert sum(trace.size for trace in records.statistics("filename")) < 20_000
