"""The node: this worker's part of the service. It attaches connections, fans out what Redis carries, and drains."""

import logging
import random
import secrets
import threading
import time
from collections import defaultdict

from notifier import metrics
from notifier.broker import Broker
from notifier.connection import Connection, EchoConnection, StreamConnection
from notifier.errors import BrokerUnavailable, Restarting, TooManyConnections
from notifier.hub import Channel, Hub
from notifier.intake import Intake
from notifier.protocol import channel as channels
from notifier.protocol import cursor, frames, identity, websocket
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.replay import EPHEMERAL, CatchUp, Entry
from notifier.protocol.session import Action, Attach, Join, Leave, Rules, SendPing, Session
from notifier.protocol.wheel import Wheel
from notifier.replayer import Replayer, channels_of, encode_entry
from notifier.settings import Settings
from notifier.subscriber import Subscriber
from notifier.transport import Transport

logger = logging.getLogger(__name__)

NODES = "nodes"  # the channel on which nodes hear themselves and each other
_YIELD_EVERY = 200  # writes, about half a millisecond: HTTP has its turn in between
_WRITE = 65536  # bytes of frames joined into one write
_TURN = 0.5  # seconds between two looks at the timer wheel
_LINGER = 10.0  # seconds that a channel stays subscribed after its last connection: people reload pages
_WINDOW = 1000  # ms: entries of several channels may change places within it, well inside the replay overlap
_AHEAD = 60_000  # ms that a cursor may be ahead of this worker's clock before it is from another database


class Node:
    """Everything that this worker holds. Nothing runs before `start`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = secrets.token_hex(4)
        self.clock = Clock()
        self._complete = Clock()  # everything up to here has been fanned out
        self.broker = Broker(settings, self.clock)
        self.intake = Intake(self.broker, self.clock, settings)
        self.connections: set[Connection] = set()
        self._hub: Hub[StreamConnection] = Hub()
        self._subscriber = Subscriber(settings.redis_url, settings.redis_prefix, self)
        self._replayer = Replayer(self.broker, self._hub, self.clock, self._complete, self.name, settings.heartbeat)
        self._wheel: Wheel[Connection] = Wheel(time.time())
        self._limit = settings.connection_limit
        self._numbers = 0
        self._birth = BEGINNING
        self._last_beat = 0.0  # Unix seconds when this node last heard itself
        self._hears = False
        self._draining = False
        self._rules = Rules(
            self._verify,
            settings.hello_timeout,
            settings.attach_timeout,
            settings.heartbeat,
            settings.expiry_notice,
            settings.max_subscriptions,
        )

    def start(self) -> None:
        """Begin to listen, to replay and to keep time."""
        self._last_beat = time.time()
        try:
            self._birth = self.broker.birth()  # before the first connection comes
        except BrokerUnavailable as error:
            logger.warning("Redis cannot be reached yet: %s", error.detail)
        self._subscriber.start()
        self._replayer.start()
        for run in (self._turn_wheel, self._beat):
            threading.Thread(target=run, name=run.__name__, daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """Whether this worker hears what is published."""
        deadline = self._last_beat + self.settings.broker_deadline
        return self._hears and not self._draining and time.time() < deadline

    def require_room(self) -> None:
        """Refuse a connection that is too many, or too early.

        Raises:
            TooManyConnections: this worker is full, or drains.
            BrokerUnavailable: this worker has not reached Redis yet, so it cannot tell a cursor of today from one
                of another database.
        """
        if not self._birth.ms:
            raise BrokerUnavailable("This worker has yet to reach Redis.", retry_after=1)
        if self._draining or len(self.connections) >= self._limit:
            raise TooManyConnections(f"This worker holds at most {self._limit} connections.", retry_after=5)

    def open_stream(self, transport: Transport, who: Identity | None, early: bytes) -> None:
        """Take over a WebSocket of the stream. `who` is known if the request said it."""
        self._numbers += 1
        connection = StreamConnection(
            transport,
            self,
            Session(self._rules, time.time(), who),
            number=self._numbers,
            max_message=self.settings.max_message_bytes,
            lag_timeout=self.settings.lag_timeout,
        )
        self._open(connection, early)

    def open_echo(self, transport: Transport, early: bytes) -> None:
        """Take over a WebSocket of the echo."""
        settings = self.settings
        limit, heartbeat = settings.max_message_bytes, settings.heartbeat
        self._open(EchoConnection(transport, self, max_message=limit, heartbeat=heartbeat), early)

    def verify(self, token: str) -> Identity:
        """Return the identity of a token.

        Raises:
            InvalidToken, TokenExpired: it is not good.
        """
        return self._verify(token, time.time())

    def drain(self) -> None:
        """Send every connection away, spread over the drain timeout, and wait until they have gone."""
        self._draining = True
        timeout = self.settings.drain_timeout
        connections = list(self.connections)
        random.shuffle(connections)
        for connection in connections:
            if isinstance(connection, StreamConnection) and connection.session.is_welcome:
                delay = int(random.uniform(0, 1000 * timeout))
                connection.transport.write(websocket.encode(frames.drain(delay)))
        pause = 0.5 * timeout / max(len(connections), 1)
        for connection in connections:
            connection.close(Restarting())
            time.sleep(pause if pause > 0.001 else 0)
        deadline = time.time() + 0.4 * timeout
        while any(connection.transport.is_open for connection in connections) and time.time() < deadline:
            time.sleep(0.05)
        self._subscriber.stop()

    # What connections ask of their keeper.

    def schedule(self, connection: Connection, due: float) -> None:
        """Let a connection tick when its time has come."""
        self._wheel.add(connection, due)

    def act(self, connection: StreamConnection, action: Action) -> None:
        """Carry out what a session asks for."""
        match action:
            case Attach():
                self._attach(connection, action)
            case Join():
                self._join(connection, action)
            case Leave():
                self._leave(connection, action)
            case SendPing():
                connection.ping(self._complete.cursor)

    def left(self, connection: Connection) -> None:
        """Forget a connection that ends."""
        self.connections.discard(connection)
        if isinstance(connection, StreamConnection):
            now = time.time()
            for name in channels_of(connection):
                self._hub.leave(name, connection, now)

    def drained(self, connection: StreamConnection) -> None:
        """Go on with a connection that reads again."""
        self._replayer.put(connection)

    # What the subscriber tells its listener.

    def wanted(self) -> list[str]:
        """Return all channels that are to be heard.

        This worker has a new connection to Redis, perhaps to another database: nothing is heard before it is known
        since when there is one, and what time it is.
        """
        before, self._birth = self._birth, self.broker.birth()
        if before.ms and before != self._birth:
            logger.warning("Redis has lost its data: every client is told")
            for connection in self._streams():
                if connection.catch_up:
                    connection.catch_up.lost = channels_of(connection)
        return [NODES, *(channel.name for channel in self._hub.channels())]

    def deaf(self) -> None:
        """Put everybody behind: what is published from now on is read from the log, in order over all channels."""
        metrics.DEAF.inc()
        self._hears = False
        for channel in self._hub.channels():
            channel.confirmed = False
        for connection in self._streams():
            self._fall_behind(connection)

    def confirmed(self, names: list[str]) -> None:
        """Begin with channels that are heard from now on: learn what their logs have, and serve who waits."""
        self._hears = self._hears or NODES in names
        fresh = [name for name in names if (channel := self._hub.get(name)) and not channel.confirmed]
        marks = dict(zip(fresh, self.broker.marks(fresh), strict=True))
        self._notice_regression(marks)
        for name, mark in marks.items():
            channel = self._hub.get(name)
            if channel is not None:
                channel.confirm(max(mark))  # whoever is before the floor has to be told
                for connection in list(channel.connections):
                    if connection.catch_up:
                        self._replayer.put(connection)

    def heard(self, messages: list[tuple[str, bytes]]) -> None:
        """Fan out what came, channel by channel, so that each connection gets one write."""
        groups: dict[str, list[Entry]] = defaultdict(list)
        opened = newest = 0
        for name, message in messages:
            if name == NODES:
                newest = max(newest, self._hear_beat(message))
                continue
            entry = Entry(*message.split(b" ", 3))
            ms = int(entry.id.partition(b"-")[0])
            self.clock.observe(ms)
            newest = max(newest, ms)
            if ms > opened + _WINDOW:
                self._fan_out_all(groups)
                groups.clear()
                opened = ms
            groups[name].append(entry)
        self._fan_out_all(groups)
        self._complete.observe(newest)

    def _open(self, connection: Connection, early: bytes) -> None:
        self.connections.add(connection)
        connection.start(early)

    def _verify(self, token: str, now: float) -> Identity:
        return identity.verify(token, self.settings.token_secrets, now)

    def _attach(self, connection: StreamConnection, attach: Attach) -> None:
        names = channels_of(connection)
        catch_up = CatchUp(dict.fromkeys(names), self.settings.max_backlog_bytes)
        catch_up.owed += map(frames.error, attach.refused)
        connection.catch_up = catch_up
        if attach.since:
            self._resume(catch_up, names, attach.since)
        for name in names:
            self._listen(name, connection)
        self._replayer.put(connection)

    def _join(self, connection: StreamConnection, join: Join) -> None:
        name = channels.of_topic(join.topic)
        catch_up = connection.catch_up = connection.catch_up or self._caught_up(connection)
        catch_up.confirmations.append(join.ref)
        catch_up.positions.setdefault(name, None)
        if join.since:
            self._resume(catch_up, [name], join.since)
        self._listen(name, connection)
        self._replayer.put(connection)

    def _leave(self, connection: StreamConnection, leave: Leave) -> None:
        for topic in leave.topics:
            name = channels.of_topic(topic)
            self._hub.leave(name, connection, time.time())
            if connection.catch_up:
                connection.catch_up.forget(name)
        connection.reply(frames.ok(leave.ref, connection.session.topics))
        if connection.catch_up:
            self._replayer.put(connection)  # it may have waited for what it left

    def _listen(self, name: str, connection: StreamConnection) -> None:
        _, new = self._hub.join(name, connection)
        if new:
            self._subscriber.subscribe(name)

    def _resume(self, catch_up: CatchUp, names: list[str], since: Cursor) -> None:
        """Let channels be replayed from a cursor on; one that this database cannot know has lost everything."""
        known = self._birth <= since and since.ms <= self.clock.ms + _AHEAD
        if not known:
            catch_up.lost += names
        overlap = int(1000 * self.settings.replay_overlap)
        catch_up.resume(names, since if since.ms <= self.clock.ms + _AHEAD else BEGINNING, overlap)

    def _caught_up(self, connection: StreamConnection) -> CatchUp:
        """Return the catch-up of a connection that has been sent all that was fanned out."""
        positions: dict[str, Cursor | None] = {}
        for name in channels_of(connection):
            channel = self._hub.get(name)
            if channel and connection in channel.connections:
                positions[name] = cursor.parse(channel.delivered)
        return CatchUp(positions, self.settings.max_backlog_bytes)

    def _fall_behind(self, connection: StreamConnection) -> None:
        """Let a connection be served from the log, from what it was sent last."""
        if connection.catch_up is None:
            connection.catch_up = self._caught_up(connection)
        connection.catch_up.drop()

    def _fan_out_all(self, groups: dict[str, list[Entry]]) -> None:
        for name, entries in groups.items():
            channel = self._hub.get(name)
            if channel is not None:
                self._fan_out(channel, entries)

    def _fan_out(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        self._notice_gap(channel, entries)
        writes = _join_frames(channel.name, entries)
        connections = list(channel.connections)
        metrics.DELIVERIES.inc(len(entries) * len(connections))
        for start in range(0, len(connections), _YIELD_EVERY):
            if start:
                time.sleep(0)
            for connection in connections[start : start + _YIELD_EVERY]:
                if connection.catch_up is not None:
                    connection.catch_up.hear(channel.name, entries)
                    continue
                for data in writes:
                    if not connection.transport.write(data):
                        self._fall_behind(connection)
                        break
        channel.delivered = channel.seen

    def _notice_gap(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        """Compare what each entry says came before it with what was seen: the log has what is between."""
        gap = False
        for entry in entries:
            if entry.previous != channel.seen and cursor.parse(entry.previous) > channel.last:
                gap = True
            if entry.kind != EPHEMERAL and (entry.previous == channel.seen or cursor.parse(entry.id) > channel.last):
                channel.seen = entry.id
        if gap and channel.confirmed:
            metrics.GAPS.inc()
            logger.warning("Channel %s had a gap; it is served from the log", channel.name)
            for connection in channel.connections:
                self._fall_behind(connection)
                self._replayer.put(connection)

    def _notice_regression(self, marks: dict[str, tuple[Cursor, Cursor]]) -> None:
        """Compare what logs have with what was seen of them: after a failover they may have less."""
        seen = {name: channel.last for name in marks if (channel := self._hub.get(name))}
        gone = [(name, last) for name, last in seen.items() if max(marks[name]) < last]
        if gone:
            metrics.REGRESSIONS.inc(len(gone))
            logger.warning("%d channels have lost their last entries in Redis", len(gone))
            self.broker.note_regression(gone)

    def _streams(self) -> list[StreamConnection]:
        return [
            connection
            for connection in self.connections
            if isinstance(connection, StreamConnection) and connection.session.identity
        ]

    def _hear_beat(self, message: bytes) -> int:
        """Note who lives, and return what time it is there, in ms."""
        name, ms = message.split()
        self.clock.observe(int(ms))
        if name.decode() == self.name:
            self._last_beat = time.time()
        return int(ms)

    def _beat(self) -> None:
        """Speak to itself through Redis, and take silence for deafness."""
        while not self._draining:
            try:
                self.broker.beat(NODES, self.name)
            except BrokerUnavailable as error:
                logger.warning("The heartbeat failed: %s", error.detail)
            except Exception:
                logger.exception("The heartbeat failed")
            if time.time() - self._last_beat > self.settings.broker_deadline:
                logger.warning("Nothing was heard for %s seconds: connecting anew", self.settings.broker_deadline)
                metrics.SILENCES.inc()
                self._last_beat = time.time()
                self._subscriber.reconnect()
            time.sleep(self.settings.broker_heartbeat)

    def _measure(self, now: float, late: float) -> None:
        metrics.LOOP_DELAY.set(late)
        metrics.BEAT_AGE.set(now - self._last_beat)
        metrics.CONNECTIONS.set(len(self.connections))
        metrics.LAGGING.set(sum(1 for connection in self._streams() if connection.catch_up))

    def _turn_wheel(self) -> None:
        while True:
            begin = time.monotonic()
            time.sleep(_TURN)
            now = time.time()
            try:
                self._measure(now, late=time.monotonic() - begin - _TURN)
                for count, connection in enumerate(self._wheel.turn(now), 1):
                    connection.tick(now)
                    if not count % _YIELD_EVERY:
                        time.sleep(0)
                for name in self._hub.forget_idle(now - _LINGER):
                    self._subscriber.unsubscribe(name)
            except Exception:
                # This loop must survive: without it dead connections stay.
                logger.exception("A turn of the wheel failed")


def _join_frames(channel: str, entries: list[Entry]) -> list[bytes]:
    """Return the frames of entries, each built once, joined into few writes."""
    writes: list[list[bytes]] = []
    size = _WRITE
    for entry in entries:
        frame = encode_entry(channel, entry, replay=False)
        if size + len(frame) > _WRITE:
            writes.append([])
            size = 0
        writes[-1].append(frame)
        size += len(frame)
    return [b"".join(frames) for frames in writes]
