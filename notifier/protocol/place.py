"""Places: how far a connection was sent one channel, while it catches up."""

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, Entry


class Place:
    """How far a connection was sent one channel.

    `position` is the last entry sent; None until the worker's subscription says where the channel begins. `since` is
    from where the client wants the channel, if it asked for its past. `read` is the last entry sent from the log.
    Nothing up to `least` is for this client. Losses up to `named` were reported.
    """

    __slots__ = ("least", "named", "position", "read", "since")

    def __init__(self, position: Cursor | None, least: Cursor = BEGINNING) -> None:
        self.least = least
        self.position = position
        self.since: Cursor | None = None
        self.read: Cursor | None = None
        self.named = BEGINNING

    def resume(self, since: Cursor, begin: Cursor) -> None:
        """Go back to `begin`, never forward, for a client that has everything up to `since`."""
        known = self.since or self.position
        self.since = since if known is None else min(since, known)
        self.named = min(self.named, since)
        if self.position is None or begin < self.position:
            self.position = begin
            self.read = None  # the same entries are sent once more

    def begin(self, previous: Cursor) -> Cursor:
        """Begin after an entry, unless the place has a position; return the position."""
        if self.position is None:
            self.position = max(previous, self.least)
        return self.position

    @property
    def passed(self) -> Cursor | None:
        """The entry up to which the client has been sent everything, or must be sent nothing, if that is known."""
        return self.read or (self.least if self.least > BEGINNING else None)

    def is_due(self, entry: Entry) -> bool:
        """Return whether a live entry has not been sent from the log."""
        return entry.kind == EPHEMERAL or cursor.parse(entry.id) > (self.position or BEGINNING)

    def sent(self, entry: Entry) -> bool:
        """Go forward to an entry that has been sent, and return whether the client cannot have had it before."""
        position = cursor.parse(entry.id)
        self.position = max(self.position or BEGINNING, position)
        if not entry.previous:
            self.read = position
        return position > (self.since or BEGINNING)

    def loses(self, floor: Cursor, found: Cursor) -> bool:
        """Return whether entries up to the floor of the log are lost to the client. The same loss is returned once.

        Entries before `since` may be lost, too: entries of other channels may have moved the client's cursor past them.
        A client that resumes may have been sent what follows the loss before that was found.
        """
        lost = floor if self.since is None else max(floor, found)
        if lost <= max(self.position or BEGINNING, self.named):
            return False
        self.named = max(floor, found)
        self.since = max(self.since or BEGINNING, floor)
        return True
