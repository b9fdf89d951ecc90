"""How far one worker, and through it each live connection, has come in the log of a channel."""

from collections.abc import Callable
from typing import Generic, TypeVar

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, Entry

Member = TypeVar("Member")

_NOWHERE = b"0-0"


class LogPosition(Generic[Member]):
    """A worker's position in one log. Others read its fields, and only its methods change them.

    `confirmed` is whether Redis has confirmed the worker's subscription. `seen` is the last entry that is known of the
    log. `delivered` is the last entry that all live connections have been sent: it differs from `seen` only while
    entries are being fanned out. Both are ids as text. A live connection that replay has taken past the entries that
    the worker has received is ahead; its own position is kept until the worker has received those entries, too.
    """

    __slots__ = ("_ahead", "_passed", "_written", "confirmed", "delivered", "seen")

    def __init__(self) -> None:
        self.confirmed = False
        self.seen = _NOWHERE
        self.delivered = _NOWHERE
        self._ahead: dict[Member, Cursor] | None = None  # up to where; None: nobody is ahead, as on most channels
        self._passed: dict[Member, Cursor] | None = None  # ahead no longer, once the fan-out under way has ended
        self._written: Callable[[Member], bool] | None = None  # who was sent what is being fanned out; None: nobody

    @property
    def last(self) -> Cursor:
        """`seen` as a cursor."""
        return cursor.parse(self.seen)

    def confirm(self, log_end: Cursor) -> None:
        """Note that the subscription is confirmed, and the last entry that the log had after that.

        Every later entry is received, and every earlier one is in the log.
        """
        self.seen = self.delivered = str(max(log_end, self.last)).encode()
        self.confirmed = True

    def lose_subscription(self) -> None:
        """Note that entries may be missed from now on. Every connection of the channel must have fallen behind."""
        self.confirmed = False
        self._written = None
        self._ahead = self._passed = None  # another server may give out lower ids: those entries are news all the same

    def restart(self) -> None:
        """Note that the log was erased, so that its next entry does not look like one after a loss."""
        self.seen = self.delivered = _NOWHERE
        self._ahead = self._passed = self._written = None

    def follow(self, entries: list[Entry]) -> bool:
        """Take received entries into account, and return whether entries before them were missed.

        Each entry names the one before it in its log.
        """
        has_gap = False
        for entry in entries:
            if entry.previous != self.seen and cursor.parse(entry.previous) > self.last:
                has_gap = True
                self.seen = entry.previous  # the log has it, and what is before it
            if entry.kind != EPHEMERAL and (entry.previous == self.seen or cursor.parse(entry.id) > self.last):
                self.seen = entry.id
        return has_gap

    def fanned_out(self) -> None:
        """Note that all live connections have been sent the entries that were followed."""
        self.delivered = self.seen
        self._passed = self._written = None

    def pause(self, written: Callable[[Member], bool]) -> None:
        """Note that other threads run within a fan-out, and which connections have been sent its entries."""
        self._written = written

    def sent_to(self, member: Member, taken: bytes = b"") -> Cursor:
        """Return the position of a live connection: what it was sent last.

        `taken` is the last one that it took of the entries that are being fanned out.
        """
        passed = self._passed.get(member, BEGINNING) if self._passed else BEGINNING
        sent = self.seen if self._written and self._written(member) else taken or self.delivered
        return max(cursor.parse(sent), self._position_ahead(member), passed)

    def run_ahead(self, member: Member, position: Cursor, complete: Cursor) -> None:
        """Note that replay has sent the log up to a position to a connection that is now live.

        `complete` is a time up to which the worker has received and fanned out everything. There may be more of that
        millisecond. `delivered` does not decide alone: it may be what the log had when the subscription was confirmed,
        and not be received yet.
        """
        if position > cursor.parse(self.delivered) or position >= complete:
            self._ahead = self._ahead or {}
            self._ahead[member] = max(position, self._position_ahead(member))

    def is_ahead_of(self, member: Member, position: Cursor) -> bool:
        """Return whether entries after a position will be left out for a connection when they are received."""
        return position < self._position_ahead(member)

    def leave_out_overtaken(self, entries: list[Entry], chosen: dict[Member, list[Entry]]) -> None:
        """Choose what to send to connections that are ahead: only what their replay has not covered.

        The log had the rest, or no longer had it. `chosen` has what to send to connections that are not to be sent
        all of the entries. It is updated; entries that are left out in it already stay out.
        """
        if not self._ahead:
            return
        first, last = cursor.parse(entries[0].id), cursor.parse(entries[-1].id)
        for member, position in list(self._ahead.items()):
            if first <= position:  # otherwise it can share its frames with others
                wanted = chosen.get(member, entries)
                chosen[member] = [e for e in wanted if e.kind == EPHEMERAL or cursor.parse(e.id) > position]
            if last >= position:
                self._passed = self._passed or {}
                self._passed[member] = position
                del self._ahead[member]
        self._ahead = self._ahead or None  # an empty dict would cost as much as an idle channel

    def forget(self, member: Member) -> None:
        """Forget a connection that has left the channel."""
        for positions in (self._ahead, self._passed):
            if positions:
                positions.pop(member, None)
        # An empty dict would cost as much as an idle channel.
        self._ahead, self._passed = self._ahead or None, self._passed or None

    def _position_ahead(self, member: Member) -> Cursor:
        return self._ahead.get(member, BEGINNING) if self._ahead else BEGINNING
