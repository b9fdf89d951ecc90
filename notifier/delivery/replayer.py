"""The replayer: serves connections from the log until they are live.

It works in rounds. Each round takes the connections that can be served, reads what they need in one pipeline, what
several of them need only once, and writes to each what its socket takes. Who was away for a moment only is served
from what the worker has heard lately, without Redis.
"""

import itertools
import logging
import random
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from notifier.broker.log import Log
from notifier.connections.hub import Hub
from notifier.connections.stream import StreamConnection
from notifier.errors import BrokerUnavailable, Disconnect, Overloaded, Problem, UnexpectedFault
from notifier.inbox.feed import InboxFeed
from notifier.inbox.mutes import Mutes
from notifier.inbox.states import disconnected_at
from notifier.protocol import channel as channels
from notifier.protocol import frames
from notifier.protocol.catch_up import CatchUp, Step, share
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import EXPIRED, MUTED, REMOVED, Entry, Page
from notifier.protocol.framing import Framing
from notifier.protocol.inbox_view import InboxView
from notifier.protocol.recent import Recent
from notifier.settings import ConnectionSettings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_ROUND = 64  # connections per round: enough to share reads, few enough to keep others waiting for a moment only
_CHUNK = 16384  # bytes per write, so that a connection that blocks leaves little behind
_PAUSE = 0.5  # seconds before another round after the broker failed

_Pages = dict[str, Page | Problem | None]  # by channel; None: it has to be read once more


class _Wanted(NamedTuple):
    """After which entries a connection is to be served, and how often that had changed by then."""

    positions: dict[str, Cursor]
    changes: int


class Replayer:
    """One thread that turns connections with a `CatchUp` into live ones."""

    def __init__(
        self,
        settings: ConnectionSettings,
        log: Log,
        hub: Hub[StreamConnection],
        feed: InboxFeed,
        mutes: Mutes[StreamConnection],
        clock: Clock,
        name: str,
    ) -> None:
        self._settings = settings
        self._log = log
        self._feed = feed
        self._mutes = mutes
        self._hub = hub
        self._clock = clock
        self._name = name
        self.complete = Clock()  # everything up to here has been fanned out
        self.recent = Recent(settings.recent_bytes)
        self._queue: dict[StreamConnection, None] = {}
        self._filled = threading.Event()

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        threading.Thread(target=self._run, name="replayer", daemon=True).start()

    def put(self, connection: StreamConnection) -> None:
        """Serve a connection, once this worker hears all of its channels, and knows up to where it has."""
        if connection.is_open and self._hears_all(connection):
            self._queue[connection] = None
            self._filled.set()

    @property
    def reached(self) -> Cursor | None:
        """Up to where everything has been fanned out; None: not known yet."""
        return self.complete.cursor if self.complete.ms else None

    @property
    def lagging(self) -> int:
        """How many connections are not live."""
        return sum(1 for connection in self._hub.members(channels.ALL) if connection.catch_up)

    def caught_up(self, connection: StreamConnection) -> CatchUp:
        """Return the catch-up of a connection that has been sent all that was fanned out."""
        positions: dict[str, Cursor | None] = {}
        for name in connection.channels:
            channel = self._hub.get(name)
            if channel and connection in channel.connections:
                positions[name] = channel.sent_to(connection)
        return CatchUp(positions, self._settings.max_backlog_bytes)

    def fall_behind(self, connection: StreamConnection) -> None:
        """Let a connection be served from the log, from what it was sent last."""
        if connection.catch_up is None:
            connection.catch_up = self.caught_up(connection)
        connection.catch_up.drop()

    def hold(self, connection: StreamConnection) -> None:
        """Send a connection nothing until its memberships and mutes are known again; entries are put aside."""
        if connection.session.is_welcome and connection.catch_up is None:
            connection.catch_up = self.caught_up(connection)
            connection.catch_up.is_held = True
        self.put(connection)

    def _run(self) -> None:
        while True:
            self._filled.wait()
            batch = list(itertools.islice(self._queue, _ROUND))
            for connection in batch:
                del self._queue[connection]
            if not self._queue:
                self._filled.clear()
            self._take(batch)

    def _take(self, batch: list[StreamConnection]) -> None:
        """Serve connections. What is wrong with one of them ends that one only."""
        try:
            self._meet([connection for connection in batch if self._can_serve(connection)])
            self._round([connection for connection in batch if self._can_serve(connection)])
        except BrokerUnavailable as error:
            logger.warning("Replay waits for the broker: %s", error.detail)
            self._again(batch)
        except Exception:
            # This loop must survive: without it nobody is welcomed.
            if len(batch) > 1:
                for connection in batch:
                    self._take([connection])
            else:
                logger.exception("A connection cannot be served")
                batch[0].close(UnexpectedFault())

    def _again(self, batch: list[StreamConnection]) -> None:
        time.sleep(random.uniform(_PAUSE / 2, _PAUSE))
        for connection in batch:
            self.put(connection)

    def _meet(self, batch: list[StreamConnection]) -> None:
        """Subscribe new connections to the topics of their users; retry later if this worker is not subscribed yet."""
        self._feed.prepare(batch)

    def _round(self, batch: list[StreamConnection]) -> None:
        strangers = [connection for connection in batch if not connection.session.is_welcome]
        views = self._feed.views(strangers) if strangers else {}
        # Meanwhile they may have joined what this worker does not hear yet: they come back when it does.
        batch = [connection for connection in batch if self._can_serve(connection)]
        filters = self._feed.filters(batch)
        for connection in batch:
            if connection not in filters:
                self.put(connection)  # its memberships or mutes have changed since it was prepared
        batch = list(filters)
        wanted = {connection: self._wanted(connection) for connection in batch}
        pages = {connection: self._heard_lately(connection, wanted[connection].positions) for connection in batch}
        unheard = {connection: wanted[connection].positions for connection in batch if pages[connection] is None}
        pages |= self._read(unheard)
        outdated = self._feed.outdated(unheard) if unheard else set()
        encode = _Encoder()
        for connection in batch:
            # Asked for each of them, since others have their turn in between.
            if connection in outdated or self._feed.filters([connection]).get(connection) != filters[connection]:
                self.put(connection)  # its memberships or mutes may be others than those for which this was read
                continue
            try:
                self._serve(connection, wanted[connection].changes, pages[connection] or {}, encode, views)
            except Disconnect as disconnect:
                connection.close(disconnect)
            except Exception:
                logger.exception("A connection cannot be served")
                connection.close(UnexpectedFault())
            if pages[connection]:
                time.sleep(0)  # others have their turn

    def _wanted(self, connection: StreamConnection) -> _Wanted:
        """Return what was sent last of each channel, and put live entries aside from now on."""
        catch_up = connection.catch_up
        assert catch_up is not None
        catch_up.begin()
        for name, position in catch_up.positions.items():
            if position is None:
                catch_up.positions[name] = self._hub[name].last
        positions = {name: position for name, position in catch_up.positions.items() if position is not None}
        return _Wanted(positions, catch_up.changes)

    def _heard_lately(self, connection: StreamConnection, positions: dict[str, Cursor]) -> _Pages | None:
        """Return what was missed, if this worker has heard all of it; None: the logs have to be read, all of them.

        Should it not have heard of an entry, because it went deaf and does not know yet, then what is read from other
        channels would move the client's cursor past it. Nor has it heard what it will leave out for the connection.
        """
        pages: _Pages = {}
        now = int(time.time() * 1000)
        for name, position in positions.items():
            channel = self._hub[name]
            if channel.is_ahead_of(connection, position):
                return None
            if position < channel.last:
                if position.ms <= disconnected_at(channel):
                    return None  # it may have been erased, and this worker may not have heard so yet
                pages[name] = self.recent.page(name, position, channel.seen, now)
                if pages[name] is None:
                    return None
        return pages

    def _read(self, wanted: dict[StreamConnection, dict[str, Cursor]]) -> dict[StreamConnection, _Pages | None]:
        """Return what the logs have after the positions of some connections."""
        alone = (each for each in wanted if each.catch_up and each.catch_up.is_impatient)
        answers = share(
            (read for positions in wanted.values() for read in positions.items()),
            [read for connection in alone for read in wanted[connection].items()],
        )
        reads = list(dict.fromkeys(answers.values()))
        found = dict(zip(reads, self._log.read(reads, int(time.time() * 1000)), strict=True))
        metrics.LOG_READS.inc(len(reads))
        return {
            connection: {name: _after(found[answers[name, position]], position) for name, position in positions.items()}
            for connection, positions in wanted.items()
        }

    def _serve(
        self,
        connection: StreamConnection,
        changes: int,
        pages: _Pages,
        encode: "_Encoder",
        views: dict[StreamConnection, InboxView],
    ) -> None:
        catch_up = connection.catch_up
        if not connection.is_open or catch_up is None:
            return
        if catch_up.changes != changes:
            self.put(connection)  # it joined or left a topic, or asked for it once more, while the log was read
            return
        if None in pages.values():
            catch_up.waits += 1
            self.put(connection)  # others are further behind, and the page they shared ended before its position
            return
        readable = {name: page for name, page in pages.items() if isinstance(page, Page)}
        if len(readable) < len(pages):
            logger.error("The log of %s cannot be read", ", ".join(pages.keys() - readable.keys()))
            raise Overloaded("a log cannot be read")
        step = catch_up.join(readable)
        self._introduce(connection, step, views.get(connection))
        entries = self._mutes.apply(connection, step.entries)
        for chunk in _chunks(entries, connection.framing, encode):
            data = b"".join(frame for frame, _, _ in chunk)
            taken = not connection.transport.is_blocked and connection.deliver(data)
            if not taken:
                catch_up.drop()  # `on_drained` comes back
                return
            metrics.REPLAYED.inc(len(chunk))
            for _, name, entry in chunk:
                catch_up.sent(name, entry)
        if connection.transport.is_blocked:
            catch_up.drop()  # it goes live when there is room for what is said then
            return
        if not step.complete or not self._hears_all(connection):
            self.put(connection)
            return
        for name, position in catch_up.read.items():
            self._hub[name].run_ahead(connection, position, self.complete.cursor)
        connection.caught_up(self.reached)

    def _introduce(self, connection: StreamConnection, step: Step, view: InboxView | None) -> None:
        session, catch_up = connection.session, connection.catch_up
        assert catch_up is not None and session.identity is not None
        if step.lost:
            metrics.LOST.inc()
        if session.is_welcome:
            if step.lost:
                connection.reply(frames.lost(step.lost))
            return
        assert view is not None
        id, user = f"{self._name}-{connection.number}", session.identity.user
        now, heartbeat = self._clock.cursor, int(self._settings.heartbeat)
        connection.welcome(frames.welcome(id, user, session.topics, now, heartbeat, step.lost, view), now)
        for frame in catch_up.owed:
            connection.reply(frame)

    def _can_serve(self, connection: StreamConnection) -> bool:
        return (
            connection.is_open
            and connection.catch_up is not None
            and not connection.transport.is_blocked
            and self._hears_all(connection)
        )

    def _hears_all(self, connection: StreamConnection) -> bool:
        heard = (self._hub.get(name) for name in connection.channels)
        return self.reached is not None and all(channel is not None and channel.confirmed for channel in heard)


class _Encoder:
    """Builds each frame of a round once per framing, however many connections are sent it."""

    def __init__(self) -> None:
        self._frames: dict[tuple[Framing, str, bytes, bytes, bool], bytes] = {}

    def __call__(self, framing: Framing, channel: str, entry: Entry) -> bytes:
        replay = not entry.previous  # it comes from the log
        key = (framing, channel, entry.id, entry.kind, replay)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._frames[key] = encode_entry(framing, channel, entry, replay)
        return frame


def _after(page: Page | Problem, position: Cursor) -> Page | Problem | None:
    return page.after(position) if isinstance(page, Page) else page


def encode_entry(framing: Framing, channel: str, entry: Entry, replay: bool) -> bytes:
    """Return an entry as it goes out; nothing, where it has expired or is not wanted."""
    if entry.kind in (EXPIRED, MUTED):
        return b""
    if entry.kind == REMOVED:
        return framing.frame(frames.removed(channel, entry.id, entry.body), entry.id)
    return framing.frame(frames.notification(channel, entry.id, entry.body, replay), entry.id)


def _chunks(
    entries: list[tuple[str, Entry]], framing: Framing, encode: _Encoder
) -> Iterator[list[tuple[bytes, str, Entry]]]:
    """Yield entries with their frames, as many at a time as make a write; what is not asked for is not encoded."""
    chunk: list[tuple[bytes, str, Entry]] = []
    size = 0
    for name, entry in entries:
        frame = encode(framing, name, entry)
        if chunk and size + len(frame) > _CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append((frame, name, entry))
        size += len(frame)
    if chunk:
        yield chunk
