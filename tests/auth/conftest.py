"""Fixtures of the tests of keys and tokens: workers that share a database."""

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.auth import api_keys, key_changes
from notifier.auth.api_keys import ApiKeys
from notifier.auth.key_changes import KeyChanges, Made, Retry
from notifier.broker.key_list import KeyList, Stored
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable, InvalidApiKey
from notifier.protocol.api_key import ApiKey
from notifier.protocol.key_request import KeyRequest
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import BrokerSettings
from tests.kit.waiting import DEADLINE

ROOT = ApiKey("root", "secret-of-the-root-key")
ACME = ApiKey("acme", "secret-of-acme's-key", topics=("acme:*",), users=("acme:*",))
SHOP = KeyRequest("Shop", ("publish",))
_NO_RETRY = Retry()


class KeyWorker:
    """The API keys of one worker."""

    def __init__(self, url: str, prefix: str) -> None:
        settings = BrokerSettings(redis_url=url, redis_prefix=prefix, redis_timeout=DEADLINE)
        self.store = Store(settings)
        self.list = KeyList(settings, 100, self.store)
        self.keys = ApiKeys([ROOT, ACME], self.list)
        self.changes = KeyChanges(self.list, self.keys, 100)

    def create(self, request: KeyRequest = SHOP, by: ApiKey = ROOT, retry: Retry = _NO_RETRY) -> Made:
        """Create a key."""
        self.changes.require_covered(by, request)
        return self.changes.create(by, self.changes.new_id(retry), request, retry)

    def rotate(self, made: Made, overlap: int = 60, retry: Retry = _NO_RETRY) -> Made:
        """Rotate a key."""
        found = self.stored(made)
        return self.changes.rotate(found, self.changes.new_secret(found, overlap, retry))

    def revoke(self, made: Made) -> None:
        """Revoke a key."""
        self.changes.revoke(self.stored(made))

    def stored(self, made: Made) -> Stored:
        """Return the record of a key."""
        return self.changes.find(ROOT, made.record.id)

    def accepts(self, text: str) -> bool:
        """Return whether a key is accepted."""
        try:
            self.keys.find(text)
        except InvalidApiKey:
            return False
        return True

    def lose_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cut the worker off from Redis."""

        def away(*_: Any) -> Any:
            raise BrokerUnavailable("gone")

        for name in ("since", "get", "put", "page", "note_used"):
            monkeypatch.setattr(self.list, name, away)


class Pauses:
    """Takes the place of the module `time` in a module whose loop pauses between two looks, and adds up the pauses.

    Unlike a clock it does not show how long a busy machine takes for everything else. It counts while `counts()`.
    """

    monotonic, time = staticmethod(time.monotonic), staticmethod(time.time)

    def __init__(self, counts: Callable[[], object]) -> None:
        self._counts = counts
        self._pauses: list[float] = []
        self._first = 0

    def sleep(self, seconds: float) -> None:
        """Pause."""
        if self._counts():
            self._pauses.append(seconds)
        time.sleep(seconds)

    def have_begun(self) -> bool:
        """Return whether the loop has looked once, and pauses."""
        return bool(self._pauses)

    def begin(self) -> None:
        """Count from now on, with the pause that has begun."""
        self._first = max(len(self._pauses) - 1, 0)

    @property
    def seconds(self) -> float:
        """How long the loop has paused since then."""
        return sum(self._pauses[self._first :])


@pytest.fixture
def make(valkey: EmbeddedValkey, user: str) -> Iterator[Callable[[], KeyWorker]]:
    """Makes workers that share a database which no other test has."""
    made: list[KeyWorker] = []

    def make() -> KeyWorker:
        made.append(KeyWorker(valkey.url, user))
        return made[-1]

    yield make
    for worker in made:
        worker.keys.stop()
        worker.store.close()


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Returns a function that sets the clock of all workers' keys forward, from what it really shows."""

    def advance(seconds: float) -> None:
        ahead = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic, sleep=time.sleep)
        for module in (api_keys, key_changes):
            monkeypatch.setattr(module, "time", ahead)

    return advance
