"""Receipt counts: how many users have received, read and archived the entries of shared channels.

The scripts write the receipts of a user's own channel. Shared channels have only counts, because one entry may have any
number of readers.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping

from notifier.broker.redis_connection import pack
from notifier.broker.store import Store
from notifier.errors import BrokerUnavailable
from notifier.loop import in_turns
from notifier.protocol.digest import Item
from notifier.protocol.inbox_state import ACTIONS, Marks

_DELIVERED = "d"  # the fields of read and archived end with the letter of their flag
_COUNTED = ("r", "a")


class ReceiptCounts:
    """The counts of all shared channels. They are kept for `lifetime` milliseconds after the last change."""

    def __init__(self, store: Store, lifetime: int) -> None:
        self._store = store
        self._lifetime = lifetime

    def count_action(self, action: str, items: Iterable[Item], before: Marks, after: Marks) -> None:
        """Count what an action has changed about items of shared channels, by a user's marks before and after it."""
        flags = [flag for flag in _COUNTED if flag in ACTIONS[action].flags]
        changes: dict[tuple[str, str], int] = {}
        for item in in_turns(items):
            for flag in flags:
                change = after.has(flag, item) - before.has(flag, item)
                if change:
                    changes[item.channel, f"{item.entry}:{flag}"] = change
        # The action is already done: a count that cannot be stored must not make it fail.
        with contextlib.suppress(BrokerUnavailable):
            self._add(changes)

    def count_deliveries(self, items: Iterable[Item]) -> None:
        """Count one more user for each of these items.

        Raises:
            BrokerUnavailable
        """
        self._add(Counter((item.channel, f"{item.entry}:{_DELIVERED}") for item in items))

    def _add(self, changes: Mapping[tuple[str, str], int]) -> None:
        commands = [
            pack("HINCRBY", self._store.of(channel, "receipts"), field, change)
            for (channel, field), change in in_turns(changes.items())
        ]
        for channel in {channel for channel, _ in changes}:
            commands.append(pack("PEXPIRE", self._store.of(channel, "receipts"), self._lifetime))
        self._store.tell(commands)
