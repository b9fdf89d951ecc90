"""Key sets of an issuer: when they are fetched, and how tokens are answered during a fetch."""

import logging
import math
from collections.abc import Callable

import pytest

from notifier.auth import jwks
from notifier.auth.jwks import FetchError
from notifier.auth.key_set import UNKNOWN_PAUSE, KeySet
from notifier.errors import InvalidToken, IssuerUnavailable
from notifier.protocol import jwk
from notifier.protocol.identity import KeysPending
from notifier.protocol.issuer import Issuer
from notifier.protocol.token_policy import Policy
from tests.kit.issuers import SigningKey, key_server, key_set
from tests.kit.waiting import eventually

REFRESH, MAX_AGE = 300.0, 3600.0
OLD, NEW, EC = SigningKey(), SigningKey(), SigningKey("ES256")


class Bench:
    """A key set with a clock and a server of its own."""

    def __init__(self, *keys: SigningKey, **options: object) -> None:
        self.now = 1000.0
        self.answer: bytes | Exception = key_set(*keys) if keys else FetchError("out of order")
        self.requests = 0
        self.during: Callable[[], object] = lambda: None
        issuer = Issuer(Policy(issuer="https://issuer.example"), "https://issuer.example/keys")
        self.keys = KeySet(issuer, self.fetch, REFRESH, MAX_AGE, lambda: self.now)

    def fetch(self, url: str) -> bytes:
        assert url == "https://issuer.example/keys"
        self.requests += 1
        self.during()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def run(self) -> None:
        """Do what the thread does now, without waiting."""
        while self.keys.due <= self.now:
            self.keys.refresh()

    def find(self, key: SigningKey) -> str:
        """Return how a token with this key is answered."""
        try:
            found = self.keys.find(key.kid, key.algorithm)
        except (InvalidToken, KeysPending, IssuerUnavailable) as error:
            return type(error).__name__
        return found.kid


def test_first_request() -> None:
    """A token waits for the first keys."""
    bench = Bench(OLD)
    assert bench.find(OLD) == "KeysPending"
    bench.run()
    assert bench.find(OLD) == OLD.kid
    assert (bench.keys.keys, bench.keys.age) == (1, 0)


def test_no_server(caplog: pytest.LogCaptureFixture) -> None:
    """While there have never been keys, tokens are not rejected: they cannot be verified."""
    bench = Bench()
    bench.run()
    assert bench.find(OLD) == "IssuerUnavailable"
    assert "https://issuer.example" in caplog.text and "out of order" in caplog.text
    bench.answer = key_set(OLD)
    bench.now += 1
    bench.run()
    assert bench.find(OLD) == OLD.kid


def test_pauses() -> None:
    """After failures the requests become rarer, but never rarer than every 30 seconds."""
    bench = Bench()
    times = []
    bench.during = lambda: times.append(bench.now)
    while len(times) < 12:
        bench.now = max(bench.now, bench.keys.due) if math.isfinite(bench.keys.due) else bench.now
        bench.run()
    pauses = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert pauses[0] <= 1 and all(15 <= pause <= 30 for pause in pauses[-4:])


def test_refresh() -> None:
    """The keys are fetched in the background; a key that is no longer in the set is not used any more."""
    bench = Bench(OLD)
    bench.run()
    [key] = jwk.parse(key_set(OLD))
    assert bench.keys.has(key)
    bench.answer = key_set(NEW)
    bench.now += REFRESH
    bench.run()
    assert bench.requests == 2
    assert bench.find(NEW) == NEW.kid
    assert not bench.keys.has(key)
    bench.answer = key_set(SigningKey(kid=OLD.kid))
    bench.now += REFRESH
    bench.run()
    assert not bench.keys.has(key), "another key has its id"


@pytest.mark.parametrize(
    "answer", [FetchError("slow"), b"", b'{"keys": []}', b"x" * (jwk.MAX_BYTES + 1), b"[" * 100_000, None]
)
def test_last_good_set(answer: bytes | Exception | None) -> None:
    """The keys of before stay if the server has no good ones, for a bounded time. None: it has a key twice."""
    bench = Bench(OLD)
    bench.run()
    [key] = jwk.parse(key_set(OLD))
    began, bench.answer = bench.now, key_set(OLD, OLD) if answer is None else answer
    while bench.now < began + MAX_AGE - 60:
        bench.now += 59
        bench.run()
        assert bench.find(OLD) == OLD.kid
        assert bench.keys.has(key)
    bench.now = began + MAX_AGE
    bench.run()
    assert bench.find(OLD) == "IssuerUnavailable"
    assert not bench.keys.has(key)
    assert bench.keys.keys == 0
    bench.answer = key_set(OLD)
    bench.now += 60
    bench.run()
    assert bench.find(OLD) == OLD.kid


def test_rotation() -> None:
    """A token with a new key has the keys fetched at once, waits, and is verified."""
    bench = Bench(OLD)
    bench.run()
    bench.now += 10
    bench.answer = key_set(OLD, NEW)
    called: list[int] = []
    for _ in range(3):
        with pytest.raises(KeysPending) as pending:
            bench.keys.find(NEW.kid, "RS256")
        pending.value.then(lambda: called.append(1))
    bench.run()
    assert len(called) == 3
    assert bench.requests == 2
    assert bench.find(NEW) == NEW.kid


def test_while_fetching() -> None:
    """Tokens that come while the keys are being fetched wait for that, too."""
    bench = Bench(OLD)
    bench.run()
    bench.now += 10
    assert bench.find(NEW) == "KeysPending"
    found: list[str] = []
    bench.during = lambda: found.append(bench.find(NEW))
    bench.answer = key_set(NEW)
    bench.run()
    assert found == ["KeysPending"]
    assert bench.find(NEW) == NEW.kid


def test_unknown_keys() -> None:
    """Tokens with unknown keys cause a request every 30 seconds at most, whatever their keys are."""
    bench = Bench(OLD)
    bench.run()
    bench.now += 10
    began, bench.requests = bench.now, 0
    while bench.now < began + 300:
        for number in range(10):
            assert bench.find(SigningKeyStub(f"{bench.now}-{number}")) in ("KeysPending", "IssuerUnavailable")
        bench.now += 0.5
        bench.run()
        bench.keys.find(OLD.kid, "RS256")
    assert 8 <= bench.requests <= 300 / UNKNOWN_PAUSE + 2


class SigningKeyStub:
    """A key that exists nowhere."""

    def __init__(self, kid: str) -> None:
        self.kid, self.algorithm = kid, "RS256"


def test_known_to_be_unknown() -> None:
    """A key that the set does not have after it was fetched again is rejected, and fetched again later."""
    bench = Bench(OLD)
    bench.run()
    bench.now += 10
    assert bench.find(NEW) == "KeysPending"
    bench.now += 0.1
    bench.run()
    assert bench.find(NEW) == "InvalidToken"
    assert bench.find(NEW) == "InvalidToken"
    assert bench.requests == 2
    bench.now += UNKNOWN_PAUSE
    bench.answer = key_set(NEW)
    assert bench.find(NEW) == "KeysPending"
    bench.run()
    assert bench.find(NEW) == NEW.kid


def test_rotation_after_a_request() -> None:
    """A key that appears right after a request for an unknown one is not rejected, but fetched after the interval."""
    bench = Bench(OLD)
    bench.run()
    bench.now += 10
    assert bench.find(SigningKeyStub("none")) == "KeysPending"  # type: ignore[arg-type]
    bench.now += 0.1
    bench.run()
    bench.now += 1
    bench.answer = key_set(NEW)
    for _ in range(3):
        with pytest.raises(IssuerUnavailable) as caught:
            bench.keys.find(NEW.kid, "RS256")
        assert caught.value.retry_after == 29
    bench.now += 26
    assert bench.find(NEW) == "KeysPending"
    bench.now += 3
    bench.run()
    assert bench.find(NEW) == NEW.kid
    assert bench.requests == 3


def test_unknown_key_of_a_broken_server() -> None:
    """If the keys cannot be fetched, a token with an unknown key may still be valid."""
    bench = Bench(OLD)
    bench.run()
    bench.now += 10
    bench.answer = FetchError("out of order")
    assert bench.find(NEW) == "KeysPending"
    bench.now += 0.1
    bench.run()
    assert bench.find(NEW) in ("IssuerUnavailable", "KeysPending")
    assert bench.find(OLD) == OLD.kid
    bench.answer = key_set(OLD, NEW)
    bench.now += 40
    bench.run()
    assert bench.find(NEW) == NEW.kid


def test_other_algorithm() -> None:
    """A key of another algorithm than the token's is not used, and nothing is fetched."""
    bench = Bench(OLD, EC)
    bench.run()
    for kid, algorithm in [(OLD.kid, "PS256"), (OLD.kid, "ES256"), (EC.kid, "RS256"), (OLD.kid, "none"), ("", "none")]:
        with pytest.raises(InvalidToken, match="kid, alg"):
            bench.keys.find(kid, algorithm)
    assert bench.requests == 1


def test_no_key_id() -> None:
    """A token without a key id may use the only key of its algorithm."""
    bench = Bench(OLD, EC)
    bench.run()
    assert bench.keys.find("", "RS256").kid == OLD.kid
    bench.answer = key_set(OLD, NEW, EC)
    bench.now += REFRESH
    bench.run()
    assert bench.keys.find("", "ES256").kid == EC.kid
    with pytest.raises(InvalidToken):
        bench.keys.find("", "RS256")


def test_fixed_keys() -> None:
    """Keys of the settings are never fetched, and never too old."""
    issuer = Issuer(Policy(issuer="x"), keys=jwk.parse(key_set(OLD)))
    keys = KeySet(issuer, lambda url: pytest.fail("there is no URL"), REFRESH, MAX_AGE, lambda: 1e12)
    keys.start()
    assert keys.find(OLD.kid, "RS256").kid == OLD.kid
    assert keys.has(issuer.keys[0])
    assert (keys.keys, keys.age) == (1, None)
    for _ in range(300):
        with pytest.raises(InvalidToken, match="unknown key"):
            keys.find(NEW.kid, "RS256")


def test_thread(caplog: pytest.LogCaptureFixture) -> None:
    """The thread fetches the keys at the start, and again when a token needs it."""
    caplog.set_level(logging.WARNING)
    with key_server(key_set(OLD)) as server:
        issuer = Issuer(Policy(issuer="https://issuer.example"), server.url)
        keys = KeySet(issuer, jwks.fetch, REFRESH, MAX_AGE)
        keys.start()
        eventually(lambda: keys.keys == 1)
        server.body = key_set(OLD, NEW)
        with pytest.raises(KeysPending):
            keys.find(NEW.kid, "RS256")
        eventually(lambda: keys.keys == 2)
        assert keys.find(NEW.kid, "RS256").kid == NEW.kid
        assert server.requests == 2
        keys.stop()
    assert not caplog.records
