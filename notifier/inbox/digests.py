"""The digests of this worker: which items shared channels have, read from the logs only as far as they are new."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from notifier.broker.store import Store, require
from notifier.inbox.digest_cache import DigestCache
from notifier.loop import in_turns
from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor
from notifier.protocol.digest import Digest
from notifier.protocol.entry import Row
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import InboxState

_PAGE = 500  # entries of a log that are read at once
_PAGE_BYTES = 1 << 20  # that Redis reads for a page, about: it cannot read entries without their bodies
_AT_ONCE = 16  # channels that are read at once
_MOST_ITEMS = 200_000  # in all digests together, about 35 bytes each, and 100 more of those that expire or have copies


class Digests:
    """One digest per shared channel, for all users of this worker. The digests used last are kept in memory.

    `charge` is called with a user and the bytes that Redis has read for the user's inbox; it raises `RateLimited` if
    they are too many. Every method but `forget` may raise `BrokerUnavailable`.
    """

    def __init__(self, store: Store, charge: Callable[[str, int], object] = lambda user, size: None) -> None:
        self._store = store
        self._charge = charge
        self._digests = DigestCache(_MOST_ITEMS)
        self._following = threading.Lock()  # held by the reader that adds to a digest

    def view(self, user: str, state: InboxState) -> InboxView:
        """Return the view of an inbox for a request of its user, who pays for what was not in memory.

        Raises:
            RateLimited: that was too much. The next request goes on where this one has stopped.
        """
        return InboxView(state, self.of(state.sources, lambda size: self._charge(user, size)), in_turns)

    def views(self, states: Iterable[InboxState]) -> list[InboxView]:
        """Return the views of inboxes; each of their channels is read once."""
        states = list(states)
        digests = self.of(dict.fromkeys(name for state in states for name in state.sources))
        return [InboxView(state, digests, in_turns) for state in states]

    def of(self, names: Iterable[str], charge: Callable[[int], object] = lambda size: None) -> dict[str, Digest]:
        """Return digests of channels, with all that was published before the call.

        `charge` is called with the bytes that Redis has read.
        """
        found = {name: self._digests.get(name) for name in names}
        try:
            behind = list(found.values())
            while behind:
                some, behind = behind[:_AT_ONCE], behind[_AT_ONCE:]
                behind += self._follow(some, charge)
        finally:
            self._digests.settle(found.values())
        now = int(time.time() * 1000)
        for digest in in_turns(found.values()):
            digest.pass_time(now, in_turns)
        return found

    def forget(self) -> None:
        """Read all logs from their beginning when they are next asked for: entries may be lost that end no log."""
        self._digests.clear()

    def _follow(self, digests: list[Digest], charge: Callable[[int], object]) -> list[Digest]:
        """Read one more page for each digest; return those that have further pages."""
        asked = [digest.last for digest in digests]
        commands = [
            self._store.call("digest", (self._store.sharded(digest.channel),), (str(digest.last), _PAGE, _PAGE_BYTES))
            for digest in digests
        ]
        replies = self._store.carry_out(commands, pipeline=self._store.reading)
        behind, size = [], 0
        for digest, last, reply in in_turns(zip(digests, asked, replies, strict=True)):
            news = require(reply)
            with self._following:
                if not self._take(digest, last, news):
                    behind.append(digest)
            size += news[5] if news else 0
        if size:
            charge(size)
        return behind

    def _take(self, digest: Digest, last: Cursor, news: list[Any] | None) -> bool:
        """Add what was read after `last`; return whether the digest now has the whole log."""
        if news and cursor.parse(news[1]) < last:  # the log has lost its last entries in a failover
            digest.reset()
        if digest.last < last:  # it was reset, here or by another reader: to go on from `last` would leave a gap
            return False
        if not news:
            return True
        first, logged, complete, rows, ends, _ = news
        if first or cursor.parse(logged) >= digest.last:  # else another reader has seen a newer log
            digest.follow(first, (Row(*row) for row in rows), in_turns)
            digest.ends = max(ends, 0)
        return bool(complete)
