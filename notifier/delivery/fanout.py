"""Fan out: from what Redis carries to every connection of a channel, and the certainty of hearing it."""

import logging
import time
from collections import defaultdict

from notifier.broker.database import Database
from notifier.broker.heartbeat import NODES, Heartbeat
from notifier.broker.log import Log
from notifier.broker.subscriber import Subscriber
from notifier.connections.hub import Channel, Hub
from notifier.connections.stream import StreamConnection
from notifier.connections.timers import YIELD_EVERY
from notifier.delivery.replayer import Replayer, encode_entry
from notifier.errors import Disconnected, Problem
from notifier.inbox.feed import InboxFeed
from notifier.inbox.mutes import Mutes
from notifier.inbox.states import known
from notifier.protocol import channel as channels
from notifier.protocol import cursor, notification
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import DISCONNECT, ERASED, STATE, Entry
from notifier.protocol.framing import Framing
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_WRITE = 65536  # bytes of frames joined into one write
_LINGER = 10.0  # seconds that a channel stays subscribed after its last connection: people reload pages
_MOST_SPARED = 10_000  # notifications that have yet to be heard
_WINDOW = 1000  # ms: entries of several channels may change places within it, well inside the replay overlap


class FanOut:
    """Subscribes to what the hub's connections hear, and is the listener of that subscription.

    `birth` is since when the database exists, unknown until Redis was first reached; `complete` is up to when
    everything has been fanned out.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        log: Log,
        database: Database,
        hub: Hub[StreamConnection],
        replayer: Replayer,
        feed: InboxFeed,
        mutes: Mutes[StreamConnection],
        clock: Clock,
        name: str,
    ) -> None:
        self._log = log
        self._database = database
        self._feed = feed
        self._mutes = mutes
        self._hub = hub
        self._replayer = replayer
        self._clock = clock
        self._subscriber = Subscriber(settings.redis_url, settings.redis_prefix, settings.redis_timeout, self)
        self.heartbeat = Heartbeat(
            settings, database, clock, name, prepare=self._look_at_birth, on_silence=self._subscriber.reconnect
        )
        self._hears = False
        self._no_echo: dict[str, StreamConnection] = {}  # by the id of what it publishes itself
        self.birth = BEGINNING
        self.complete = replayer.complete

    def start(self) -> None:
        """Begin to hear, in threads of its own."""
        self._subscriber.start()
        self.heartbeat.start()

    def stop(self) -> None:
        """Hear no more."""
        self._subscriber.stop()

    @property
    def is_hearing(self) -> bool:
        """Whether this worker hears what is published."""
        return self._hears and self.heartbeat.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether this worker hears what is published, and could write to Redis when it last tried."""
        return self.is_hearing and self.heartbeat.writes

    def join(self, name: str, connection: StreamConnection) -> None:
        """Let a connection hear a channel."""
        if self._hub.join(name, connection):
            self._subscriber.subscribe(name)

    def leave(self, name: str, connection: StreamConnection) -> None:
        """Let a connection hear a channel no more."""
        self._hub.leave(name, connection, time.time())

    def spare(self, id: str, name: str, connection: StreamConnection) -> None:
        """Do not send a connection the notification that it publishes itself, when it is heard on that channel."""
        channel = self._hub.get(name)
        if channel is None or connection not in channel.connections:
            return  # it does not hear it, and perhaps this worker does not either: that would be remembered for nothing
        self._no_echo[id] = connection
        if len(self._no_echo) > _MOST_SPARED:
            del self._no_echo[next(iter(self._no_echo))]  # it was never heard

    def forget_idle(self) -> None:
        """Give up the channels that nobody has heard for a while."""
        for name in self._hub.forget_idle(time.time() - _LINGER):
            self._subscriber.unsubscribe(name)

    # What the subscriber tells its listener.

    def wanted_channels(self) -> list[str]:
        """Return all channels that are to be heard.

        This worker has a new connection to Redis, perhaps to another database: nothing is heard before it is known
        since when there is one, and what time it is.
        """
        self._look_at_birth()
        self._note_lost(self._log.note_lost_ends())
        return [NODES, *(channel.name for channel in self._hub.channels())]

    def subscription_lost(self) -> None:
        """Put everybody behind: what is published from now on is read from the log, in order over all channels."""
        metrics.DEAF.inc()
        self._hears = False
        self._replayer.recent.clear()
        for connection in self._hub.members(channels.ALL):
            self._replayer.fall_behind(connection)
        for channel in self._hub.channels():
            channel.lose_subscription()
        self._feed.subscription_lost(self._hub.channels())

    def subscribed(self, names: list[str]) -> None:
        """Begin with channels that are heard from now on: learn what their logs have, and serve who waits."""
        self._hears = self._hears or NODES in names
        fresh = [name for name in names if (channel := self._hub.get(name)) and not channel.confirmed]
        marks = dict(zip(fresh, self._log.log_ends(fresh), strict=True))
        readable = {name: mark for name, mark in marks.items() if not isinstance(mark, Problem)}
        self._notice_regression(readable)
        for name in marks:
            channel = self._hub.get(name)
            if channel is not None:
                # Whoever is before the floor has to be told. A log that cannot be read is met when it is.
                channel.confirm(max(readable.get(name, (BEGINNING,))))
                self._feed.subscribed(channel)
                self._clock.observe(channel.last.ms)
                for connection in list(channel.connections):
                    if connection.catch_up:
                        self._replayer.put(connection)
        if NODES in names:
            self.heartbeat.beat()  # nobody is served before the first one is heard

    def received(self, messages: list[tuple[str, bytes]]) -> None:
        """Fan out what came, channel by channel, so that each connection gets one write."""
        groups: dict[str, list[Entry]] = defaultdict(list)
        opened = newest = 0
        for name, message in messages:
            if name == NODES:
                newest = max(newest, self.heartbeat.receive(message))
                continue
            try:
                entry = Entry(*message.split(b" ", 3))
                ms = cursor.parse(entry.id).ms
            except (TypeError, ValueError):
                logger.warning("Something that is no entry was published to %s", name)
                continue
            if entry.kind in (STATE, DISCONNECT):
                # Entries before it are delivered as things were, and those behind it as they are then.
                self._fan_out_all(groups)
                groups.clear()
                self._hear_of_user(name, entry)
                continue
            self._clock.observe(ms)
            newest = max(newest, ms)
            if ms > opened + _WINDOW:
                self._fan_out_all(groups)
                groups.clear()
                opened = ms
            groups[name].append(entry)
        self._fan_out_all(groups)
        has_begun = bool(self.complete.ms)
        self.complete.observe(newest)
        if not has_begun:
            for connection in self._hub.members(channels.ALL):
                if connection.catch_up:
                    self._replayer.put(connection)

    def _hear_of_user(self, name: str, entry: Entry) -> None:
        """Take what is no entry: something was done with the inbox of a user, or they are to go."""
        channel = self._hub.get(name)
        if channel is None:
            return
        if entry.kind == STATE:
            if self._feed.changed(channel, entry.body):
                for connection in list(channel.connections):
                    self._replayer.hold(connection)
            return
        when, why = entry.body.split()
        inbox = known(channel)
        is_news = inbox.note_disconnect(int(when))
        if why == ERASED:
            self._replayer.recent.forget(name)
            channel.restart()
            inbox.invalidate_filters()
        if is_news:
            for connection in list(channel.connections):
                connection.close(Disconnected())

    def _fan_out_all(self, groups: dict[str, list[Entry]]) -> None:
        for name, entries in groups.items():
            channel = self._hub.get(name)
            if channel is not None:
                self._fan_out(channel, entries)

    def _fan_out(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        seen = channel.seen
        self._notice_gap(channel, entries)
        self._replayer.recent.hear(channel.name, entries, seen)
        writes, spared = _Writes(channel.name, entries), self._spared(channel, entries)
        connections = list(channel.connections)
        members = channel.connections
        metrics.DELIVERIES.inc(len(entries) * len(connections))
        for start in range(0, len(connections), YIELD_EVERY):
            if start:
                time.sleep(0)
                channel.leave_out_overtaken(entries, spared)  # a replay may have come to its end meanwhile
            for connection in connections[start : start + YIELD_EVERY]:
                if start and connection not in members:
                    continue  # it has left meanwhile
                if connection in spared:
                    self._pass_on(connection, channel, spared[connection])
                elif connection.catch_up is not None:
                    connection.catch_up.hear(channel.name, entries)
                else:
                    self._write(connection, channel, writes[connection.framing])
        channel.fanned_out()
        self._feed.received(channel, entries)

    def _spared(self, channel: Channel[StreamConnection], entries: list[Entry]) -> dict[StreamConnection, list[Entry]]:
        """Return who is not to be sent all of these entries, and what they are to be sent."""
        muted = self._mutes.apply_to_all(channel.connections, channel.name, entries)
        # Mutes of connections that catch up are applied when they are sent: they may be others by then.
        spared = {connection: sent for connection, sent in muted.items() if connection.catch_up is None}
        channel.leave_out_overtaken(entries, spared)
        if self._no_echo:
            for entry in entries:
                own = self._no_echo.pop(notification.id_of(entry.body), None)
                if own:
                    spared[own] = [each for each in spared.get(own, entries) if each is not entry]
        return spared

    def _pass_on(self, connection: StreamConnection, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        if not entries:
            return
        if connection.catch_up is not None:
            connection.catch_up.hear(channel.name, entries)
        else:
            self._write(connection, channel, _Writes(channel.name, entries)[connection.framing])

    def _write(
        self, connection: StreamConnection, channel: Channel[StreamConnection], writes: list[tuple[bytes, bytes]]
    ) -> None:
        taken = b""
        for data, last in writes:
            if not connection.deliver(data):
                self._replayer.fall_behind(connection)
                if taken and connection.catch_up:
                    connection.catch_up.positions[channel.name] = cursor.parse(taken)
                return
            taken = last

    def _notice_gap(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        """Compare what each entry says came before it with what was seen: the log has what is between."""
        if channel.follow(entries) and channel.confirmed:
            metrics.GAPS.inc()
            logger.warning("Channel %s had a gap; it is served from the log", channel.name)
            for connection in channel.connections:
                self._replayer.fall_behind(connection)
                self._replayer.put(connection)

    def _notice_regression(self, marks: dict[str, tuple[Cursor, Cursor]]) -> None:
        """Ask whether logs that now end elsewhere still have what was seen of them: after a failover they may not."""
        seen = {name: channel.last for name in marks if (channel := self._hub.get(name))}
        changed = [(name, last) for name, last in seen.items() if marks[name][0] != last and marks[name][1] < last]
        self._note_lost(self._log.note_regression(changed))

    def _note_lost(self, gone: int) -> None:
        if gone:
            metrics.REGRESSIONS.inc(gone)
            logger.warning("%d channels have lost their last entries in Redis", gone)

    def _look_at_birth(self) -> None:
        """Learn since when the database exists. Is it another one, then everybody has lost everything."""
        before, self.birth = self.birth, self._database.birth()
        if not before.ms or before == self.birth:
            return
        logger.warning("Redis has lost its data: every client is told")
        for connection in self._hub.members(channels.ALL):
            self._replayer.fall_behind(connection)
            if connection.catch_up:
                connection.catch_up.lost = connection.channels
            self._replayer.put(connection)


class _Writes(dict[Framing, list[tuple[bytes, bytes]]]):
    """The frames of entries per framing: each is built once, and few writes take all of them.

    With each write comes the id of its last entry.
    """

    def __init__(self, channel: str, entries: list[Entry]) -> None:
        self._channel = channel
        self._entries = entries

    def __missing__(self, framing: Framing) -> list[tuple[bytes, bytes]]:
        writes = self[framing] = self._join(framing)
        return writes

    def _join(self, framing: Framing) -> list[tuple[bytes, bytes]]:
        writes: list[tuple[list[bytes], bytes]] = []
        size = 0
        for entry in self._entries:
            frame = encode_entry(framing, self._channel, entry, replay=False)
            if not writes or size + len(frame) > _WRITE:
                writes.append(([], entry.id))
                size = 0
            frames, _ = writes[-1]
            frames.append(frame)
            writes[-1] = (frames, entry.id)
            size += len(frame)
        return [(b"".join(frames), last) for frames, last in writes]
