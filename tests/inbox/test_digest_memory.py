"""The memory of digests: which are kept, and for how long."""

from typing import Any

from notifier.inbox import digest_cache, digests
from notifier.inbox.digest_cache import OWN_SIZE, DigestCache
from notifier.inbox.digests import Digests
from notifier.protocol import tenant as tenants
from notifier.protocol.entry import Row
from tests.kit.cases import every
from tests.kit.ids import id_of


class EmptyStore:
    """A store in which no channel has an entry."""

    reading = None

    def sharded(self, channel: str) -> str:
        return channel

    def call(self, *_: object) -> bytes:
        return b""

    def carry_out(self, commands: list[bytes], pipeline: object) -> list[Any]:
        return [None] * len(commands)


def test_empty_topics() -> None:
    """However many topics users become members of, a worker keeps the digests of the last ones only."""
    store: Any = EmptyStore()
    subject = Digests(store)
    most = digests._MOST_ITEMS // digest_cache.OWN_SIZE
    for start in range(0, most + 2000, 1000):
        subject.of(f"topic:{number}" for number in range(start, start + 1000))
    kept = list(subject._digests)
    assert len(kept) == most
    assert f"topic:{most + 1999}" in kept


def fill(cache: DigestCache, channel: str, items: int) -> None:
    """Use a digest, which has so many items then."""
    digest = cache.get(channel)
    ids = range(len(digest) + 1, items + 1)
    digest.follow(b"1-0", [Row(b"%d-0" % id, b"i", id_of(f"{channel}{id}").encode(), b"", b"", b"", b"") for id in ids])
    cache.settle([digest])


def test_least_recently_used() -> None:
    """The digests that were used last are kept; one that was used again is."""
    cache = DigestCache(10 * (OWN_SIZE + 90))
    for number in range(10):
        fill(cache, f"topic:{number}", 90)
    assert len(list(cache)) == 10
    fill(cache, "topic:0", 90)
    fill(cache, "topic:new", 90)
    assert list(cache) == [f"topic:{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 0)] + ["topic:new"]


def test_one_digest() -> None:
    """The last digest is kept, however many items it has."""
    cache = DigestCache(100)
    fill(cache, "topic:0", 10)
    fill(cache, "all", 500)
    assert list(cache) == ["all"]
    cache.clear()
    assert list(cache) == []
    fill(cache, "topic:1", 10)
    assert list(cache) == ["topic:1"]


@every(order=[("", "a"), ("a", "")])
def test_tenants(order: tuple[str, str]) -> None:
    """The tenant with most items gives way, also if its digests were used last."""
    one, other = (tenants.scoped_channel(tenant, f"topic:{tenant}") for tenant in order)
    cache = DigestCache(1000)
    for number in range(3):
        fill(cache, f"{one}{number}", 90)
    for number in range(100):
        fill(cache, f"{other}{number}", 90)
    kept = list(cache)
    assert [name for name in kept if tenants.of_channel(name) == order[0]] == [f"{one}{n}" for n in range(3)]
    assert len(kept) == 10 and f"{other}99" in kept


def test_shrinking() -> None:
    """Items that have left a digest no longer count."""
    cache = DigestCache(1000)
    fill(cache, "topic:0", 900)
    digest = cache.get("topic:0")
    digest.follow(b"", [])
    cache.settle([digest])
    fill(cache, "topic:1", 900)
    assert list(cache) == ["topic:0", "topic:1"]


def test_evicted_while_read() -> None:
    """A digest that was evicted while somebody has read on counts no more."""
    cache = DigestCache(1000)
    digest = cache.get("topic:0")
    cache.clear()
    cache.settle([digest])
    fill(cache, "topic:1", 980)
    assert list(cache) == ["topic:1"]
