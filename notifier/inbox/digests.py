"""The digests of this worker: which items shared channels have, read from the logs only as far as they are new."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from notifier.broker.store import Store, require
from notifier.loop import in_turns
from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Digest
from notifier.protocol.entry import Row
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import InboxState

_PAGE = 500  # entries of a log that are read at once
_MOST_ITEMS = 200_000  # in all digests together, about 35 bytes each, and 100 more of those that expire or have copies
_OWN_SIZE = 10  # items that a digest counts for, apart from its own: topics that are empty stay no longer than others


class Digests:
    """One digest per shared channel, for all users of this worker. The digests used last are kept in memory.

    Every method but `forget` may raise `BrokerUnavailable`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._digests: OrderedDict[str, Digest] = OrderedDict()  # the one that was used last comes last
        self._following = threading.Lock()  # held by the reader that adds to a digest

    def views(self, states: Iterable[InboxState]) -> list[InboxView]:
        """Return the views of inboxes; each of their channels is read once."""
        states = list(states)
        digests = self.of(dict.fromkeys(name for state in states for name in state.sources))
        return [InboxView(state, digests, in_turns) for state in states]

    def of(self, names: Iterable[str]) -> dict[str, Digest]:
        """Return digests of channels, with all that was published before the call."""
        found = {name: self._digests[name] if name in self._digests else Digest(name) for name in names}
        for name, digest in found.items():
            self._digests[name] = digest
            self._digests.move_to_end(name)
        behind = list(found)
        while behind:
            behind = self._follow([found[name] for name in behind])
        now = int(time.time() * 1000)
        for digest in found.values():
            digest.pass_time(now)
        self._drop()
        return found

    def forget(self) -> None:
        """Read all logs from their beginning when they are next asked for: entries may be lost that end no log."""
        self._digests.clear()

    def _follow(self, digests: list[Digest]) -> list[str]:
        """Read one more page for each digest; return the channels that have further pages."""
        asked = [digest.last for digest in digests]
        commands = [
            self._store.call("digest", (self._store.sharded(digest.channel),), (str(digest.last), _PAGE))
            for digest in digests
        ]
        replies = self._store.carry_out(commands, pipeline=self._store.reading)
        with self._following:
            return [
                digest.channel
                for digest, last, reply in zip(digests, asked, replies, strict=True)
                if not self._take(digest, last, require(reply))
            ]

    def _take(self, digest: Digest, last: Cursor, news: list[Any] | None) -> bool:
        """Add what was read after `last`; return whether the digest now has the whole log."""
        if news and cursor.parse(news[1]) < last:  # the log has lost its last entries in a failover
            digest.reset()
        if digest.last < last:  # it was reset, here or by another reader: to go on from `last` would leave a gap
            return False
        if not news:
            return True
        first, logged, complete, rows, ends = news
        if first or cursor.parse(logged) >= digest.last:  # else another reader has seen a newer log
            digest.follow(first, (Row(*row) for row in rows))
            digest.ends = max(ends, 0)
        return bool(complete)

    def _drop(self) -> None:
        size = sum(_OWN_SIZE + len(digest) for digest in self._digests.values())
        while size > _MOST_ITEMS and len(self._digests) > 1:
            _, digest = self._digests.popitem(last=False)
            size -= _OWN_SIZE + len(digest)
