"""Catching up: brings a connection that has missed entries up to the live entries of its channels.

A live connection has no `CatchUp`. A connection gets one with its hello, when it joins a channel, when it does not
read fast enough, and when its worker may have missed entries. The log of each channel is then read after the last
entry that the connection was sent, while live entries are put aside. When the end of the log is reached, both are sent
as one sequence without gap or duplicate, and the connection is live. The states on the way are in `catch_up_states`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from notifier.errors import TooSlow
from notifier.protocol import cursor
from notifier.protocol.catch_up_states import Event, State, follow
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import Entry, Page
from notifier.protocol.place import Place

_PATIENCE = 10  # rounds in which reads of connections that are further behind come first
_MOST_DEFERRED, _MOST_DEFERRED_BYTES = 200, 262_144  # replies that wait for the welcome
_MOST_CONFIRMATIONS = 200  # subscriptions that wait for their confirmation


class Step(NamedTuple):
    """The entries to send now, in order, each with its channel. `lost`: the channels that have lost entries.

    `is_last` is whether the connection may go live afterwards.
    """

    entries: list[tuple[str, Entry]]
    is_last: bool
    lost: list[str]


class CatchUp:
    """How far one connection has been sent its channels while it is not live, and which replies wait until then.

    Begins as `waiting`. `positions` has the last entry sent of each channel; None: the connection has missed nothing
    yet, and begins with the worker's subscription. Live entries of at most `max_aside` bytes are put aside.

    `has_sent` is whether any entry was sent, and `has_news` whether the client cannot have had one of them, or has
    lost something. `is_held` is whether the connection was live, and only waits for memberships and mutes. `state` and
    these are for reading; only the methods change them.
    """

    __slots__ = (
        "_aside",
        "_confirmations",
        "_deferred",
        "_lost",
        "_max_aside",
        "_places",
        "_size",
        "_waits",
        "has_news",
        "has_sent",
        "is_held",
        "state",
    )

    def __init__(self, positions: Mapping[str, Cursor | None], max_aside: int, deferred: Iterable[bytes] = ()) -> None:
        self.state = State.WAITING
        self.is_held = False
        self.has_sent = False
        self.has_news = False
        self._places = {name: Place(position) for name, position in positions.items()}
        self._max_aside = max_aside
        self._aside: list[tuple[str, Entry]] | None = []  # None: live entries are dropped
        self._size = 0  # bytes put aside
        self._lost: dict[str, None] = {}  # channels known to have lost entries before their logs are read
        self._deferred = list(deferred)
        self._confirmations: list[str | None] = []
        self._waits = 0  # rounds in a row in which a shared read ended before a position

    # Channels.

    @property
    def positions(self) -> dict[str, Cursor | None]:
        """The last entry sent of each channel, None where that is not known yet."""
        return {name: place.position for name, place in self._places.items()}

    @property
    def is_resumed(self) -> bool:
        """Whether the client asked for the past of a channel, or was notified of a loss."""
        return any(place.since is not None for place in self._places.values())

    def since(self, channel: str) -> Cursor | None:
        """Return from where the client wants a channel; None: from its subscription on."""
        place = self._places.get(channel)
        return place.since if place else None

    def add(self, channel: str, not_before: Cursor = BEGINNING) -> None:
        """Add a channel, from the worker's subscription on, unless the connection has it already.

        Nothing up to `not_before` is sent, although the worker may receive it only later.
        """
        if channel not in self._places:
            self._move(Event.CHANGE)
            self._places[channel] = Place(None, not_before)

    def resume(
        self,
        channels: Iterable[str],
        since: Cursor,
        overlap: int = 0,
        *,
        not_before: Cursor = BEGINNING,
        lost: Iterable[str] = (),
    ) -> None:
        """Send these channels again from `since`, less the overlap in ms, but nothing up to `not_before`.

        A channel goes back when it is asked to, never forward. `lost` are channels that are known to have lost entries.
        """
        self._move(Event.CHANGE)
        begin = max(since.earlier(overlap), not_before)
        for name in channels:
            self._places[name].resume(since, begin)
        self.lose(lost)

    def remove(self, channel: str) -> None:
        """Remove a channel, if the connection has it."""
        if channel not in self._places:
            return
        self._move(Event.CHANGE)
        del self._places[channel]
        self._lost.pop(channel, None)
        if self._aside:
            self._aside = [item for item in self._aside if item[0] != channel]

    def lose(self, channels: Iterable[str]) -> None:
        """Note that these channels have lost entries, whatever their logs say."""
        self._lost |= dict.fromkeys(channels)

    # Live entries.

    def receive(self, channel: str, entries: list[Entry]) -> None:
        """Take live entries of a channel."""
        place = self._places.get(channel)
        if place is None:
            return
        if place.position is None:
            # The log has what follows this entry, should there be more than can be put aside.
            place.begin(cursor.parse(entries[0].previous))
        if self._aside is None:
            return
        size = self._size + sum(len(entry.body) for entry in entries)
        if size > self._max_aside:
            self._move(Event.OVERFLOW)
            self._aside = None
            self.is_held = False
        else:
            self._size = size
            self._aside += [(channel, entry) for entry in entries]

    def hold(self) -> None:
        """Note that the connection misses nothing, but that it is not known what it may be sent next."""
        self.is_held = True

    def fall_behind(self) -> None:
        """Drop live entries until the next read: the log has all of them."""
        self._move(Event.FALL_BEHIND)
        self._aside = None
        self.is_held = False

    def advance(self, channel: str, position: Cursor) -> None:
        """Note that a connection that has just fallen behind was sent live entries up to a position."""
        place = self._places.get(channel)
        if place:
            place.position = position

    # Reading the log.

    @property
    def is_reading(self) -> bool:
        """Whether a read is under way that is not void."""
        return self.state in (State.READING, State.OVERRUN)

    @property
    def is_impatient(self) -> bool:
        """Whether it no longer shares reads: two connections, each behind on another channel, would both wait."""
        return self._waits >= _PATIENCE

    def read(self, last: Callable[[str], Cursor]) -> dict[str, Cursor]:
        """Begin to read the log, and return after which entry of each channel.

        Live entries are put aside from now on. Those that are aside already stay, since they may be of a channel that
        was not read. `last` returns the last entry known of a channel: a channel without a position begins there.
        """
        self._move(Event.READ)
        if self._aside is None:
            self._aside, self._size = [], 0
        return {name: place.position or place.begin(last(name)) for name, place in self._places.items()}

    def retry(self) -> None:
        """Read once more: a page that was shared with connections that are further behind ends before a position."""
        self._move(Event.RETRY)
        self._waits += 1

    def take(self, pages: Mapping[str, Page]) -> Step:
        """Return what to send after the log was read.

        A channel without a page has nothing after its position. While a page is not complete, only what lies before
        its end may be sent: another channel's later entry would move the client's cursor past what it has not seen.
        """
        ends = [cursor.parse(page.entries[-1].id) for page in pages.values() if not page.complete]
        is_last = not ends and self._aside is not None
        self._move(Event.SEND_REST if is_last else Event.SEND_PART)
        self._waits = 0
        found = [(cursor.parse(entry.id), channel, entry) for channel, page in pages.items() for entry in page.entries]
        if ends:
            end = min(ends)
            found = [item for item in found if item[0] <= end]
        elif self._aside:
            known = {(channel, entry.id) for _, channel, entry in found}
            found += [item for item in self._due() if (item[1], item[2].id) not in known]
        if self._aside is None or not ends:
            self._aside, self._size = [], 0  # they are sent now, or were dropped: the next read has them
        found.sort(key=lambda item: item[0])
        return Step([(channel, entry) for _, channel, entry in found], is_last, self._take_lost(pages))

    # Sending.

    def sent(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Note that entries of the step have been sent."""
        for channel, entry in entries:
            self.has_news |= self._places[channel].sent(entry)
            self.has_sent = True

    def pause(self) -> None:
        """Read the log again: the step was sent, and the connection does not go live yet."""
        self._move(Event.PAUSE)

    def go_live(self) -> dict[str, Cursor]:
        """End, and return up to which entry of each channel nothing must be sent that the worker has yet to receive."""
        self._move(Event.GO_LIVE)
        return {name: place.passed for name, place in self._places.items() if place.passed is not None}

    # Replies that wait.

    def defer(self, reply: bytes) -> None:
        """Keep a reply until the welcome has been sent.

        Raises:
            TooSlow: the client asks without awaiting the replies.
        """
        size = sum(map(len, self._deferred))
        if len(self._deferred) >= _MOST_DEFERRED or size + len(reply) > _MOST_DEFERRED_BYTES:
            raise TooSlow()
        self._deferred.append(reply)

    def take_deferred(self) -> list[bytes]:
        """Return the replies that waited for the welcome, once."""
        deferred, self._deferred = self._deferred, []
        return deferred

    def confirm_later(self, ref: str | None) -> None:
        """Keep a subscription's `ref` until everything has been sent.

        Raises:
            TooSlow: the client subscribes without awaiting the confirmations.
        """
        if len(self._confirmations) >= _MOST_CONFIRMATIONS:
            raise TooSlow()
        self._confirmations.append(ref)

    def take_confirmations(self) -> list[str | None]:
        """Return the refs of the subscriptions to confirm, once."""
        confirmations, self._confirmations = self._confirmations, []
        return confirmations

    def _move(self, event: Event) -> None:
        self.state = follow(self.state, event)

    def _due(self) -> Iterable[tuple[Cursor, str, Entry]]:
        """Yield what was put aside and has not been sent from the log since."""
        for channel, entry in self._aside or ():
            if self._places[channel].is_due(entry):
                yield cursor.parse(entry.id), channel, entry

    def _take_lost(self, pages: Mapping[str, Page]) -> list[str]:
        """Return the channels that have lost entries: those known before, and those whose floor is too high."""
        lost = self._lost
        self._lost = {}
        for channel, page in pages.items():
            if self._places[channel].loses(page.floor, page.found):
                lost[channel] = None
        self.has_news |= bool(lost)
        return list(lost)
