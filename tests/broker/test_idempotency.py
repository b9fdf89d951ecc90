"""Idempotency keys, on a real server."""

from uuid import uuid4

import pytest
import redis

from notifier.broker.idempotency import IdempotencyKeys
from tests.kit.broker import Make, append


class TestClaim:
    @pytest.fixture
    def key(self) -> str:
        return f"shop:{uuid4()}"

    def test_free(self, keys: IdempotencyKeys, key: str) -> None:
        """A free key is claimed under the id and time that were given."""
        created = 1_763_661_600.123456
        assert keys.claim([(key, "print", "id", created)]) == [("claimed", "id", created, b"")]

    def test_running(self, keys: IdempotencyKeys, key: str) -> None:
        """While the first request runs, another one with its key waits."""
        keys.claim([(key, "print", "id", 1.5)])
        assert keys.claim([(key, "print", "other", 2.5)])[0].outcome == "running"

    def test_answered(self, keys: IdempotencyKeys, key: str) -> None:
        """A repeated request gets the answer of the first one, byte for byte."""
        keys.claim([(key, "print", "id", 1.5)])
        keys.answer([(key, b'{"id":"\xc3\xa9"}\n')])
        for _ in range(2):
            assert keys.claim([(key, "print", "other", 2.5)]) == [("answered", "", 0, b'{"id":"\xc3\xa9"}\n')]

    @pytest.mark.parametrize("length", [2, 3000, 100_000])
    def test_long_answers(self, keys: IdempotencyKeys, client: redis.Redis, key: str, length: int) -> None:
        """A long answer comes back unchanged, and needs little memory in Redis."""
        receipt = b'{"channel":"user:%d","cursor":"1795247931855-0","online":true},'
        answer = b"".join(receipt % number for number in range(length // 60)) + b"}"
        keys.claim([(key, "print", "id", 1.5)])
        keys.answer([(key, answer)])
        assert keys.claim([(key, "print", "other", 2.5)]) == [("answered", "", 0, answer)]
        assert keys.claim([(key, "another", "other", 2.5)])[0].outcome == "mismatch"
        [name] = client.scan_iter(f"*idempotency:{key}*")
        assert client.memory_usage(name) < 1000 + length / 5

    def test_mismatch(self, keys: IdempotencyKeys, key: str) -> None:
        """Another request under the same key is refused, before and after the answer."""
        keys.claim([(key, "print", "id", 1.5)])
        assert keys.claim([(key, "another", "other", 2.5)])[0].outcome == "mismatch"
        keys.answer([(key, b"{}")])
        assert keys.claim([(key, "another", "other", 2.5)])[0].outcome == "mismatch"

    def test_release(self, keys: IdempotencyKeys, key: str) -> None:
        """A request that failed may be tried again at once, under the first one's id and time."""
        keys.claim([(key, "print", "id", 1.5)])
        keys.release([key])
        assert keys.claim([(key, "print", "other", 2.5)]) == [("claimed", "id", 1.5, b"")]
        assert keys.claim([(key, "print", "other", 2.5)])[0].outcome == "running"

    def test_forget(self, make: Make, key: str) -> None:
        """A request that was rejected leaves no key, unless its lease has ended: a retry may have taken it over."""
        keys = make().keys
        keys.claim([(key, "print", "id", 1.5)])
        keys.forget([key])
        assert keys.claim([(key, "another", "other", 2.5)]) == [("claimed", "other", 2.5, b"")]
        dead = make(idempotency_lease=0).keys
        dead.claim([(f"{key}-dead", "print", "id", 1.5)])
        dead.forget([f"{key}-dead"])
        assert keys.claim([(f"{key}-dead", "print", "other", 2.5)]) == [("claimed", "id", 1.5, b"")]

    def test_lease(self, make: Make, key: str) -> None:
        """A request that died is taken over when its lease is over, under its id and time."""
        make(idempotency_lease=0).keys.claim([(key, "print", "id", 1.5)])
        assert make().keys.claim([(key, "print", "other", 2.5)]) == [("claimed", "id", 1.5, b"")]
        assert make().keys.claim([(key, "print", "other", 2.5)])[0].outcome == "running"

    def test_several(self, keys: IdempotencyKeys, key: str) -> None:
        """Several keys are claimed at once; the same one twice is claimed once."""
        keys.claim([(key, "print", "id", 1.5)])
        free = f"{key}-free"
        claims = keys.claim([(key, "print", "a", 1.5), (free, "print", "b", 1.5), (free, "print", "c", 1.5)])
        assert [claim.outcome for claim in claims] == ["running", "claimed", "running"]
        assert keys.claim([]) == []

    def test_age(self, make: Make, client: redis.Redis, key: str) -> None:
        """A key is remembered for its time, and a dedupe key for as long."""
        worker = make(idempotency_age=100)
        worker.keys.claim([(key, "print", "id", 1.5)])
        worker.keys.answer([(key, b"{}")])
        append(worker.log, f"user:{key}", dedupe_key="m")
        for pattern in (f"*idempotency:{key}*", f"*{key}*mark*"):
            [name] = client.scan_iter(pattern)
            assert 0 < client.pttl(name) <= 100_000
