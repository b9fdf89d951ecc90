"""Entries: what a channel carries, and one page of a channel's log."""

from typing import NamedTuple

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor

# Kinds of entries, as broker/scripts/log/append.lua writes them.
NOTIFICATION, HISTORY, EPHEMERAL, REMOVED = b"i", b"h", b"e", b"r"
MUTED = b"m"  # stored, but sent to no connection: the user has muted it
EXPIRED = b"x"  # read from the log after its `ttl`: it is not sent
# Kinds of messages on a user's channel that are no entries.
STATE, DISCONNECT = b"s", b"d"
LOST = b"lost"  # a message on any channel that is no entry, and has another form: `lost <when that was found>`
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


class Ends(NamedTuple):
    """The last entry of a log, its `floor`, and when its last loss was `found`, as in `Page`."""

    last: Cursor
    floor: Cursor
    found: Cursor


class Page(NamedTuple):
    """Entries of one channel after a position, in order. If not `complete`, the log may have more after them.

    `floor` is the highest entry that was removed from the log because of its bounds, or that Redis has lost. `found` is
    when that loss was found: clients that were served before were not notified of it, however far they have come.
    """

    entries: list[Entry]
    complete: bool
    floor: Cursor
    found: Cursor = BEGINNING

    def after(self, position: Cursor) -> "Page | None":
        """Return the page as it is after a later position, or None if the page ends before that position."""
        entries = [entry for entry in self.entries if cursor.parse(entry.id) > position]
        return self._replace(entries=entries) if entries or self.complete else None
