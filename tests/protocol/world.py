"""A world around one `CatchUp`: logs, a worker that receives what is published later, and a socket that blocks.

Each public method is one thing that can happen. A test chooses the order; `Promises` checks what is sent.
"""

from collections.abc import Sequence
from typing import Any

from notifier.protocol.catch_up import CatchUp
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import NOTIFICATION, Entry, Page
from notifier.protocol.log_position import LogPosition
from notifier.protocol.recent import Recent
from tests.protocol.promises import LOGS, PROMISES, Log, Promises, at, keys
from tests.protocol.states import CATCH_UP, GROUPS, LISTS, MAPPING, PAGES, PLACES, RECENT, SEQUENCE, Kind

PLENTY = 10**6  # bytes
SKEW = 3  # ms by which the clocks of two workers differ
A, B, C = "user:a", "topic:b", "all"
ME = "the connection"
SENT_TO_ME, SENT_TO_NOBODY = frozenset({ME}).__contains__, frozenset[str]().__contains__


class World:
    """Some channels, a worker, and one connection that wants everything after `since`."""

    def __init__(
        self,
        history: Sequence[tuple[str, int]] = (),
        since: int | None = None,
        *,
        channels: Sequence[str] = (A, B),
        others: Sequence[str] = (),
        overlap: int = 0,
        page: int = 2,
        max_aside: int = PLENTY,
        remembers: int = 1000,
        is_confirmed: bool = True,
    ) -> None:
        self._logs = {name: Log() for name in (*channels, *others)}
        self._now = max([0, since or 0, *(ms for _, ms in history)]) + SKEW
        for name, ms in history:
            self._logs[name].append(ms)
        # The worker.
        self._places: dict[str, LogPosition[str]] = {name: LogPosition() for name in self._logs}
        self._recent = Recent(remembers)
        self._complete = 0  # ms up to which everything has been fanned out
        self._is_listening = is_confirmed
        self._wire: list[tuple[str, Entry]] = []  # published, and not received yet
        self._groups: list[tuple[str, list[Entry]]] = []  # received; the first of them is being fanned out
        self._had_turn = False  # the connection was sent the first of them
        self._chosen: dict[str, list[Entry]] = {}
        # The connection.
        self._channels = list(channels)  # `others` have other connections
        self._max_aside, self._size = max_aside, page
        self._budget: int | None = None  # entries that the socket takes before it blocks
        self._positions: dict[str, Cursor] | None = None  # of the read that is under way
        self._pages: dict[str, Page] = {}
        self._catch_up: CatchUp | None = CatchUp(dict.fromkeys(channels), max_aside)
        self.promises = Promises(self._logs, self._places)
        if is_confirmed:
            self.confirm()
        if since is not None:
            self._catch_up.resume(channels, Cursor(since, 0), overlap)
            self.promises.attach(self._logs, Cursor(since, 0).earlier(overlap))
        self._note_beginnings()

    # Actions of others.

    def publish(self, name: str, kind: bytes = NOTIFICATION, skew: int = 0) -> None:
        """Append an entry; `skew` is how far the clock of its worker is behind, in ms."""
        self._now += 1
        entry = self._logs[name].append(self._now - skew, kind)
        if self._is_listening:
            self._wire.append((name, entry))

    def trim(self, name: str) -> None:
        """Remove the oldest entry because of a bound."""
        log = self._logs[name]
        if log.entries:
            log.floor = at(log.entries.pop(0))

    def withdraw(self, name: str, index: int) -> None:
        """Remove an entry because its publisher wants so."""
        log = self._logs[name]
        if log.entries:
            log.withdrawn.add(log.entries.pop(index % len(log.entries)).id)

    def squeeze(self, entries: int = 0) -> None:
        """Have the socket take only so many entries more."""
        self._budget = entries

    def relieve(self) -> None:
        """Have the client read again."""
        self._budget = None

    # Events that the worker receives, as in delivery/redis_listener.py and delivery/fanout.py.

    def lose_subscription(self) -> None:
        self.end_fan_out()
        self._is_listening, self._wire = False, []
        self.promises.confirmed.clear()
        self._fall_behind()
        for place in self._places.values():
            place.lose_subscription()
        self._recent.clear()

    def listen(self) -> None:
        self._is_listening = True

    def confirm(self) -> None:
        """Learn the end of each log, after the subscription is back."""
        self.end_fan_out()
        for name, place in self._places.items() if self._is_listening else ():
            if not place.confirmed:
                place.confirm(self._logs[name].end)
                self.promises.confirmed[name] = self._logs[name].end

    def reconnect(self) -> None:
        self.lose_subscription()
        self.listen()
        self.confirm()

    def miss(self) -> None:
        """Lose a message on its way. A connection without a cursor may begin after it."""
        if self._wire:
            name, _ = self._wire.pop(0)
            self.promises.confirmed.pop(name, None)

    def receive(self, count: int = 1) -> None:
        self.begin_fan_out(count)
        self.end_fan_out()

    def begin_fan_out(self, count: int = 1) -> None:
        """Receive entries, and pause before the connection's turn comes."""
        self.end_fan_out()
        received, self._wire = self._wire[:count], self._wire[count:]
        names = dict.fromkeys(name for name, _ in received)
        self._groups = [(name, [entry for of, entry in received if of == name]) for name in names]
        self._begin_group()

    def pause_fan_out(self, count: int = 1) -> None:
        """Receive entries, and pause after the connection's turn."""
        self.begin_fan_out(count)
        if self._groups:
            name, _ = self._groups[0]
            written = SENT_TO_ME if name in self._channels else SENT_TO_NOBODY
            self._take_turn()
            self._had_turn = True
            self._places[name].pause(written)

    def end_fan_out(self) -> None:
        while self._groups:
            self._end_group()
            self._begin_group()

    def _begin_group(self) -> None:
        for name, entries in self._groups[:1]:
            place = self._places[name]
            seen = place.seen
            if place.follow(entries) and place.confirmed and name in self._channels:
                self._fall_behind()
            self._recent.receive(name, entries, seen)
            self._chosen = {}
            place.leave_out_overtaken(entries, self._chosen)

    def _end_group(self) -> None:
        if not self._had_turn:
            self._take_turn()
        name, entries = self._groups.pop(0)
        self._had_turn = False
        self._places[name].fanned_out()
        self._complete = max(self._complete, *(at(entry).ms for entry in entries))

    def _take_turn(self) -> None:
        name, entries = self._groups[0]
        self._places[name].leave_out_overtaken(entries, self._chosen)
        wanted = self._chosen.get(ME, entries)
        if name in self._channels and wanted:
            self._pass_on(name, wanted)

    def _pass_on(self, name: str, entries: list[Entry]) -> None:
        if self._catch_up is not None:
            self._catch_up.receive(name, entries)
            self._note_beginnings()
            return
        taken = b""
        for entry in entries:
            if not self._send(name, entry):
                self._fall_behind().advance(name, self._places[name].sent_to(ME, taken))
                return
            taken = entry.id

    # Requests of the connection, as in delivery/subscriptions.py.

    def subscribe(self, name: str, since: int) -> None:
        """Subscribe to a channel from a cursor on, perhaps once more.

        The cursor is not ahead of all clocks, nor of what the worker has received: the client would be sent entries
        that it has, or a report that they are lost.
        """
        unheard = [at(entry).ms - 1 for of, entry in self._unheard() if of == name]
        begin = Cursor(max(min([since, self._now - SKEW, *unheard]), 0), 0)
        catch_up = self._begin_catch_up()
        self.promises.ask(name, begin, catch_up.positions.get(name))
        if name not in self._channels:
            self._channels.append(name)
        catch_up.add(name)
        catch_up.resume([name], begin)

    def unsubscribe(self, name: str) -> None:
        if name in self._channels:
            self._channels.remove(name)
            self._places[name].forget(ME)
        self.promises.forget(name)
        if self._catch_up is not None:
            self._catch_up.remove(name)

    def _begin_catch_up(self) -> CatchUp:
        if self._catch_up is None:
            self.promises.begin_catch_up()
            positions = {name: self._places[name].sent_to(ME) for name in self._channels}
            self._catch_up = CatchUp(positions, self._max_aside)
        return self._catch_up

    def _fall_behind(self) -> CatchUp:
        catch_up = self._begin_catch_up()
        catch_up.fall_behind()
        return catch_up

    # The replayer, as delivery/replayer.py and delivery/history.py have it.

    def step(self) -> None:
        """Read one more log, or serve the connection from what was read."""
        if self._positions is None:
            self._begin_read()
        elif self._positions.keys() == self._pages.keys():
            self._serve(self._pages)
        if self._positions is not None:
            name = next(name for name in self._positions if name not in self._pages)
            self._pages[name] = self._logs[name].read(self._positions[name], self._size)

    def _begin_read(self) -> None:
        if self._catch_up is None or self._budget == 0 or not self._is_subscribed():
            return
        self._positions, self._pages = self._catch_up.read(lambda name: self._places[name].last), {}
        self._note_beginnings()
        self.promises.begin_read(self._channels)
        recent = self._from_memory(self._positions)
        if recent is not None:
            self._serve(recent)

    def _from_memory(self, positions: dict[str, Cursor]) -> dict[str, Page] | None:
        pages = {}
        for name, position in positions.items():
            place = self._places[name]
            if place.is_ahead_of(ME, position):
                return None
            if position < place.last:
                page = self._recent.page(name, position, place.seen, self._now)
                if page is None:
                    return None
                pages[name] = page
        return pages

    def _serve(self, pages: dict[str, Page]) -> None:
        catch_up, self._positions = self._catch_up, None
        if catch_up is None or not catch_up.is_reading:
            return
        step = catch_up.take(pages)
        for name in step.lost:
            self.promises.lose(name, pages[name].floor)
        for name, entry in step.entries:
            if not self._send(name, entry):
                catch_up.fall_behind()
                return
            catch_up.sent([(name, entry)])
        if step.is_last and self._is_subscribed():
            self._go_live(catch_up)
        else:
            catch_up.pause()

    def _go_live(self, catch_up: CatchUp) -> None:
        for name, position in catch_up.go_live().items():
            self._places[name].run_ahead(ME, position, Cursor(self._complete, 0))
        self._catch_up = None
        self.promises.overtaken |= keys(item for item in self._wire if at(item[1]).ms < self._complete)

    def _send(self, name: str, entry: Entry) -> bool:
        if self._budget == 0:
            return False
        self._budget = self._budget and self._budget - 1
        self.promises.send(name, entry, is_live=self._catch_up is None)
        return True

    def _is_subscribed(self) -> bool:
        return all(self._places[name].confirmed for name in self._channels)

    def _unheard(self) -> list[tuple[str, Entry]]:
        """Return what has been published, and not been fanned out yet."""
        return [(name, entry) for name, entries in self._groups for entry in entries] + self._wire

    def _note_beginnings(self) -> None:
        for name, position in self._catch_up.positions.items() if self._catch_up else ():
            if position is not None:
                self.promises.begin(name, position, keys(item for item in self._unheard() if item[0] == name))

    def copy(self) -> "World":
        """Return a world in the same state, for another order."""
        copied = WORLDS.copy(self)
        copied.promises.share(copied._logs, copied._places)
        return copied

    @property
    def state(self) -> tuple[Any, ...]:
        """All that decides what happens next: equal for worlds in the same state."""
        return WORLDS.value(self)

    def settle(self) -> None:
        """Run until nothing is left to do, and check that nothing is missing, also not of later entries."""
        self.relieve()
        self.listen()
        self._finish()
        for name in self._channels:
            self.publish(name)
        self._finish()

    def _finish(self) -> None:
        self.receive(len(self._wire))
        self.confirm()
        steps = 0
        while self._catch_up is not None:
            self.step()
            steps += 1
            assert steps < 1000, "the connection does not become live"
        self.promises.check_complete(self._channels)


WORLDS = Kind(
    World,
    vars(World()),
    _logs=LOGS,
    _places=PLACES,
    _recent=RECENT,
    _wire=SEQUENCE,
    _groups=GROUPS,
    _chosen=LISTS,
    _channels=SEQUENCE,
    _positions=MAPPING,
    _pages=PAGES,
    _catch_up=CATCH_UP,
    promises=PROMISES,
)
