"""Replay: what a connection missed, from the log, joined with what is published meanwhile.

A connection that has missed something has a `CatchUp`. Live entries are put aside in it while the log is read; when
the log has no more, both are sent as one sequence without gap or duplicate, and the connection is live.
"""

from collections.abc import Iterable
from typing import NamedTuple

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import EPHEMERAL, Entry, Page

_SHARED = 30_000  # ms between positions that one read serves
_PATIENCE = 10  # rounds in which others are read for first

Read = tuple[str, Cursor]  # a channel, and the position after which its log is read


class Step(NamedTuple):
    """What to send now, in order, with its channel; whether that is all; and of which channels something is gone."""

    entries: list[tuple[str, Entry]]
    complete: bool
    lost: list[str]


def share(reads: Iterable[Read], alone: Iterable[Read] = ()) -> dict[Read, Read]:
    """Return for each read of a log the one that answers it: where many come back, few reads serve them all.

    Those that are `alone` answer themselves.
    """
    answers: dict[Read, Read] = {}
    first: Read | None = None
    for read in sorted(set(reads)):
        channel, position = read
        if first is None or first[0] != channel or position.ms > first[1].ms + _SHARED:
            first = read
        answers[read] = first
    return answers | {read: read for read in alone}


class CatchUp:
    """How far one connection has been sent each of its channels, while it is not live.

    `positions` has the last entry sent per channel; None means that the connection has missed nothing yet and waits
    for the subscription of its worker. At most `max_aside` bytes of live entries are put aside; beyond that they are
    dropped and read from the log again. `changes` tells what was read before channels came, went or began anew from
    what was read since.
    """

    __slots__ = (
        "_aside",
        "_max_aside",
        "_since",
        "_size",
        "changes",
        "confirmations",
        "has_news",
        "has_sent",
        "is_held",
        "lost",
        "owed",
        "positions",
        "read",
        "waits",
    )

    def __init__(self, positions: dict[str, Cursor | None], max_aside: int) -> None:
        self.positions = positions
        self.changes = 0
        self.lost: list[str] = []  # known to be gone before the log was read
        self.owed: list[bytes] = []  # frames to be sent after the welcome
        self.confirmations: list[str | None] = []  # refs to be confirmed when all has been sent
        self.read: dict[str, Cursor] = {}  # the last entry sent that came from the log
        self.waits = 0  # rounds in a row in which a shared read ended before its position
        self.has_sent = False  # an entry
        self.is_held = False  # the connection was live, and waits for its memberships and mutes only
        self.has_news = False  # one that the client cannot have, or that something is gone
        self._since: dict[str, Cursor] = {}
        self._max_aside = max_aside
        self._aside: list[tuple[str, Entry]] | None = []
        self._size = 0

    def enter(self, channel: str) -> None:
        """Hear a channel from now on, if it is not heard yet."""
        if channel not in self.positions:
            self.positions[channel] = None
            self.changes += 1

    def resume(self, channels: Iterable[str], since: Cursor, overlap: int) -> None:
        """Go back to `since` on these channels, less the overlap in milliseconds; never forward."""
        for name in channels:
            position = self.positions.get(name)
            known = self._since.get(name, position)
            self._since[name] = since if known is None else min(since, known)
            if position is None or since.earlier(overlap) < position:
                self.positions[name] = since.earlier(overlap)
                self.read.pop(name, None)  # it is to be sent once more
        self.changes += 1

    @property
    def resumed(self) -> bool:
        """Whether it began with a cursor of the client."""
        return bool(self._since)

    def since(self, channel: str) -> Cursor | None:
        """Return from where a channel is resumed; None: it is not."""
        return self._since.get(channel)

    @property
    def is_impatient(self) -> bool:
        """Whether it shares no reads any more: of two that are each behind on another channel, both would wait."""
        return self.waits >= _PATIENCE

    def forget(self, channel: str) -> None:
        """Leave a channel."""
        self.positions.pop(channel, None)
        self._since.pop(channel, None)
        self.read.pop(channel, None)
        self.changes += 1
        if self._aside:
            self._aside = [item for item in self._aside if item[0] != channel]

    def begin(self) -> None:
        """Put live entries aside from now on: the log is about to be read.

        What is aside already stays: it may be of a channel that is not read.
        """
        if self._aside is None:
            self._aside, self._size = [], 0

    def drop(self) -> None:
        """Put nothing aside: the log has it all, and will be read later."""
        self._aside = None

    def hear(self, channel: str, entries: list[Entry]) -> None:
        """Take live entries of a channel."""
        if channel not in self.positions:
            return
        if self.positions[channel] is None:
            # The log has what follows this entry, should there be more than can be put aside.
            self.positions[channel] = cursor.parse(entries[0].previous)
        if self._aside is None:
            return
        self._size += sum(len(entry.body) for entry in entries)
        if self._size > self._max_aside:
            self._aside = None
        else:
            self._aside += [(channel, entry) for entry in entries]

    def join(self, pages: dict[str, Page]) -> Step:
        """Return what to send after the log was read from `positions` on.

        A channel without a page has nothing after its position. While a page is not complete, only what lies before
        its end may go out: another channel's later entry would move the client's cursor past what it has not seen.
        """
        self.waits = 0
        ends = [cursor.parse(page.entries[-1].id) for page in pages.values() if not page.complete]
        complete = not ends and self._aside is not None
        sequence = [
            (cursor.parse(entry.id), channel, entry) for channel, page in pages.items() for entry in page.entries
        ]
        if ends:
            end = min(ends)
            sequence = [item for item in sequence if item[0] <= end]
        if not ends and self._aside:
            known = {(channel, entry.id) for _, channel, entry in sequence}
            sequence += [
                (cursor.parse(entry.id), channel, entry)
                for channel, entry in self._aside
                if (channel, entry.id) not in known and self._is_due(channel, entry)
            ]
            self._aside, self._size = [], 0
        sequence.sort(key=lambda item: item[0])
        lost, self.lost = self.lost, []
        lost += self._lost(pages, lost)
        self.has_news |= bool(lost)
        return Step([(channel, entry) for _, channel, entry in sequence], complete, lost)

    def sent(self, channel: str, entry: Entry) -> None:
        """Note that an entry has gone out."""
        position = cursor.parse(entry.id)
        self.positions[channel] = max(self.positions[channel] or BEGINNING, position)
        if not entry.previous:
            self.read[channel] = position
        self.has_sent = True
        self.has_news |= position > self._since.get(channel, BEGINNING)

    def _is_due(self, channel: str, entry: Entry) -> bool:
        """Tell whether an entry that was put aside has not come from the log since."""
        return entry.kind == EPHEMERAL or cursor.parse(entry.id) > (self.positions.get(channel) or BEGINNING)

    def _lost(self, pages: dict[str, Page], known: list[str]) -> list[str]:
        lost = []
        for channel, page in pages.items():
            since = self._since.get(channel, BEGINNING)
            if page.floor > max(self.positions[channel] or BEGINNING, since):
                self._since[channel] = page.floor  # said once
                if channel not in known:
                    lost.append(channel)
        return lost
