"""The memory of digests: those of empty topics do not stay for ever."""

from typing import Any

from notifier.inbox import digests
from notifier.inbox.digests import Digests


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
    most = digests._MOST_ITEMS // digests._OWN_SIZE
    for start in range(0, most + 2000, 1000):
        subject.of(f"topic:{number}" for number in range(start, start + 1000))
    assert len(subject._digests) == most
    assert f"topic:{most + 1999}" in subject._digests
