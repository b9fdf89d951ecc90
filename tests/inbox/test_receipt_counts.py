"""Receipt counts: what is counted for an action or a delivery. With Redis, tests/publishing/test_receipts.py."""

from typing import Any

import pytest

from notifier.broker.redis_connection import pack
from notifier.errors import BrokerUnavailable
from notifier.inbox.receipt_counts import ReceiptCounts
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Item
from notifier.protocol.inbox_state import Marks

LIFETIME = 5000  # ms


class Store:
    """A store that records commands."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.fails = False

    def of(self, channel: str, what: str) -> str:
        return f"{channel}:{what}"

    def tell(self, commands: list[bytes]) -> None:
        if self.fails:
            raise BrokerUnavailable()
        self.commands += commands


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def counts(store: Any) -> ReceiptCounts:
    return ReceiptCounts(store, LIFETIME)


def item(ms: int, channel: str = "all") -> Item:
    return Item(channel, Cursor(ms, 0).rank, 0)


def marks(seen: int = 0, read: int = 0, archived: int = 0) -> Marks:
    """Return marks at times in ms."""
    return Marks(*(Cursor(ms, 0).rank for ms in (seen, read, archived)))


def added(*fields: tuple[str, int], channel: str = "all") -> list[bytes]:
    """Return the commands that add to fields of a channel."""
    key = f"{channel}:receipts"
    changes = [pack("HINCRBY", key, field, change) for field, change in fields]
    return [*changes, pack("PEXPIRE", key, LIFETIME)]


def test_actions(store: Store, counts: ReceiptCounts) -> None:
    """An action counts for items whose flag it has changed; seen items are not counted."""
    items = [item(1), item(2), item(3)]
    counts.count_action("archive", items, marks(seen=3, read=1), marks(seen=3, read=3, archived=3))
    assert sorted(store.commands) == sorted(added(("1-0:a", 1), ("2-0:r", 1), ("2-0:a", 1), ("3-0:r", 1), ("3-0:a", 1)))


@pytest.mark.parametrize(("action", "expected"), [("unread", {"r", "a"}), ("unarchive", {"a"}), ("seen", set())])
def test_flags(store: Store, counts: ReceiptCounts, action: str, expected: set[str]) -> None:
    """Only flags that the action concerns are counted."""
    counts.count_action(action, [item(1)], marks(seen=0, read=1, archived=1), marks(seen=1))
    assert sorted(store.commands) == (sorted(added(*((f"1-0:{flag}", -1) for flag in expected))) if expected else [])


def test_deliveries(store: Store, counts: ReceiptCounts) -> None:
    """Deliveries of the same item to several users are added together, for each channel."""
    counts.count_deliveries([item(1), item(2), item(1), item(1, "topic:t")])
    assert sorted(store.commands) == sorted(
        [*added(("1-0:d", 2), ("2-0:d", 1)), *added(("1-0:d", 1), channel="topic:t")]
    )


def test_outage(store: Store, counts: ReceiptCounts) -> None:
    """An action that is done does not fail because it cannot be counted; a delivery does."""
    store.fails = True
    counts.count_action("read", [item(1)], marks(), marks(read=1))
    with pytest.raises(BrokerUnavailable):
        counts.count_deliveries([item(1)])
