"""Entries: what a channel carries, and one page of a channel's log."""

from typing import NamedTuple

from notifier.protocol import cursor
from notifier.protocol.cursor import Cursor

# Kinds of entries, as broker/scripts/log/append.lua writes them.
NOTIFICATION, HISTORY, EPHEMERAL, REMOVED = b"i", b"h", b"e", b"r"
MUTED = b"m"  # stored, but sent to no connection: the user has muted it
EXPIRED = b"x"  # read from the log after its `ttl`: it is not sent
# Kinds of messages on a user's channel that are no entries.
STATE, DISCONNECT = b"s", b"d"
ERASED = b"erased"  # why a user is disconnected


class Entry(NamedTuple):
    """One entry of a channel: `id` and `previous` are cursors as text, `body` is JSON as it is sent.

    `previous` is the entry before this one in the log. It is empty if the entry was read from the log itself. The
    body of an entry of kind `REMOVED` is the id of a notification.
    """

    id: bytes
    previous: bytes
    kind: bytes
    body: bytes


class Row(NamedTuple):
    """One entry of the log, without its body. `id` is its notification, or the one that it recalls."""

    entry: bytes
    kind: bytes
    id: bytes
    expires: bytes
    collapse_key: bytes
    type: bytes
    copy: bytes


class Page(NamedTuple):
    """Entries of one channel after a position, in order. If not `complete`, the log may have more after them.

    `floor` is the highest entry that was removed from the log because of its bounds.
    """

    entries: list[Entry]
    complete: bool
    floor: Cursor

    def after(self, position: Cursor) -> "Page | None":
        """Return the page as it is after a later position, or None if the page ends before that position."""
        entries = [entry for entry in self.entries if cursor.parse(entry.id) > position]
        return Page(entries, self.complete, self.floor) if entries or self.complete else None
