"""The node: this worker's part of the service. It attaches connections, keeps their time, and drains."""

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from notifier.audience.members import Members
from notifier.audience.users import Users
from notifier.broker.database import Database
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Log
from notifier.broker.store import Store
from notifier.connections.echo import EchoConnection
from notifier.connections.events import Ask, EventConnection
from notifier.connections.hub import Hub
from notifier.connections.stream import Connection, StreamConnection
from notifier.connections.transport import Transport
from notifier.delivery.fanout import YIELD_EVERY, FanOut
from notifier.delivery.replayer import Replayer
from notifier.errors import BrokerUnavailable, Restarting, TooManyConnections, TooSlow
from notifier.inbox.action_queue import ActionQueue
from notifier.inbox.digests import Digests
from notifier.inbox.feed import InboxFeed
from notifier.inbox.inbox import Inbox
from notifier.inbox.listing import InboxLists
from notifier.inbox.mutes import Mutes
from notifier.inbox.states import InboxStates
from notifier.protocol import channel as channels
from notifier.protocol import frames, identity
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.notification import Limits
from notifier.protocol.publishing import Publishing
from notifier.protocol.session import Acknowledge, Action, Attach, Join, Leave, Marking, Rules, SendPing, Session
from notifier.protocol.wheel import Wheel
from notifier.publishing.client_queue import ClientQueue
from notifier.publishing.explanation import Explanation
from notifier.publishing.publisher import Publisher
from notifier.publishing.receipts import Receipts
from notifier.settings import Settings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=StreamConnection)

_TURN = 0.5  # seconds between two looks at the timer wheel
_PACE = 400  # connections a second that the workers send away together, where the drain timeout is long enough
_COME_BACK = 1000  # ms within which those are told to come back
_LAST_WORDS = 2.0  # seconds that the last of them have for their half of the closing handshake
_MOST_JOINING = 200  # subscriptions of a connection that have yet to be confirmed
_AHEAD = 60_000  # ms that a cursor may be ahead of this worker's clock before it is from another database


class Node:
    """Everything that this worker holds. Nothing runs before `start`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = secrets.token_hex(4)
        self._clock = Clock()
        self.store = Store(settings)
        self.log = Log(settings, self.store, self._clock)
        self.database = Database(settings, self.store, self._clock)
        digests = Digests(self.store)
        self.inbox_lists = InboxLists(self.store, digests)
        self.inbox = Inbox(settings, self.store, digests, self._clock)
        self.members = Members(settings, self.store, self.inbox)
        self.users = Users(self.store, self.inbox, self.inbox_lists, self.members)
        self.receipts = Receipts(self.store)
        self.explanation = Explanation(self.store, self.inbox, self.members)
        self.publisher = Publisher(self.log, IdempotencyKeys(settings, self.store), self._clock, settings)
        self.limits = Limits(settings.max_notification_bytes, settings.max_users, settings.max_topics)
        self.connections: set[Connection] = set()
        hub: Hub[StreamConnection] = Hub()
        mutes: Mutes[StreamConnection] = Mutes()
        self._feed = InboxFeed(InboxStates(self.inbox.states), digests, hub, mutes, self)
        self._replayer = Replayer(settings, self.log, hub, self._feed, mutes, self._clock, self.name)
        self._fan_out = FanOut(
            settings, self.log, self.database, hub, self._replayer, self._feed, mutes, self._clock, self.name
        )
        self._client_queue = ClientQueue(self.publisher, self._fan_out.spare)
        self._actions = ActionQueue(self.inbox)
        self._wheel: Wheel[Connection] = Wheel(time.time())
        self._limit = settings.connection_limit
        self._numbers = 0
        self._draining = False
        self._drain = threading.Lock()
        self._rules = Rules(
            self._verify,
            settings.hello_timeout,
            settings.attach_timeout,
            settings.heartbeat,
            settings.expiry_notice,
            settings.max_subscriptions,
            settings.client_publish_rate,
            self.limits,
            settings.max_inbox_ids,
        )

    def start(self) -> None:
        """Begin to listen, to replay and to keep time."""
        self._fan_out.start()
        self._replayer.start()
        self._feed.start()
        self._client_queue.start()
        self._actions.start()
        threading.Thread(target=self._turn_wheel, name="timer wheel", daemon=True).start()

    @property
    def cursor(self) -> Cursor:
        """Up to where nothing that this worker knows of is missing, if it is asked for from now on."""
        return self._clock.cursor

    @property
    def is_ready(self) -> bool:
        """Whether this worker hears what is published, and can publish."""
        return self._fan_out.is_ready and not self._draining

    def require_room(self) -> None:
        """Refuse a connection that is too many, or too early.

        Raises:
            BrokerUnavailable: it has not reached Redis yet, so it cannot tell a cursor of today from one of another
                database.
            TooManyConnections: it is full.
        """
        if not self._fan_out.birth.ms:
            raise BrokerUnavailable("This worker has yet to reach Redis.", retry_after=1)
        if len(self.connections) >= self._limit and not self._draining:  # else there soon is room elsewhere
            raise TooManyConnections(f"This worker holds at most {self._limit} connections.", retry_after=5)

    def open_stream(self, transport: Transport, who: Identity | None, early: bytes) -> None:
        """Take over a WebSocket of the stream. `who` is known if the request said it."""
        connection = self._stream(StreamConnection, transport, Session(self._rules, time.time(), who))
        self._keep(connection, lambda: connection.start(early))

    def open_plain(self, kind: type[EventConnection], transport: Transport, who: Identity, ask: Ask) -> None:
        """Take over a stream of Server-Sent Events, or a long poll."""
        connection = self._stream(kind, transport, Session(self._rules, time.time(), who))
        self._keep(connection, lambda: connection.begin(ask))

    def open_echo(self, transport: Transport, early: bytes) -> None:
        """Take over a WebSocket of the echo."""
        settings = self.settings
        limit, heartbeat = settings.max_message_bytes, settings.heartbeat
        connection = EchoConnection(transport, self, max_message=limit, heartbeat=heartbeat)
        self._keep(connection, lambda: connection.start(early))

    def drain(self) -> None:
        """Send every connection away, at a pace, and wait until they have gone.

        Whoever asks a second time waits for the first.
        """
        with self._drain:
            if not self._draining:
                self._draining = True
                self._send_away()

    def _send_away(self) -> None:
        """Let them go one by one: what goes evenly comes back evenly, and nobody is away for long."""
        connections = list(self.connections)
        begin = time.monotonic()
        seconds = min(len(connections) * self.settings.workers / _PACE, self.settings.drain_timeout)
        for number, connection in enumerate(connections):
            time.sleep(max(begin + seconds * number / len(connections) - time.monotonic(), 0))
            if isinstance(connection, StreamConnection) and connection.session.is_welcome:
                connection.drain(random.randint(0, _COME_BACK))
            connection.close(Restarting())
        deadline = time.monotonic() + _LAST_WORDS
        while time.monotonic() < deadline and any(each.transport.is_open for each in list(self.connections)):
            time.sleep(0.05)
        self._fan_out.stop()
        self.store.close()

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
            case Publishing():
                self._client_queue.put(connection, action)
            case Marking():
                self._actions.put(connection, action)
            case Acknowledge():
                self._actions.acknowledge(connection, action)
            case SendPing():
                connection.ping(self._replayer.reached)

    def left(self, connection: Connection) -> None:
        """Send a connection nothing more: it ends."""
        if isinstance(connection, StreamConnection):
            for name in connection.channels:
                self._fan_out.leave(name, connection)
            self._feed.forget(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection whose transport is closed."""
        self.connections.discard(connection)

    def drained(self, connection: StreamConnection) -> None:
        """Go on with a connection that reads again."""
        self._replayer.put(connection)

    def owes_state(self, connection: StreamConnection) -> None:
        """Tell a connection how its user's inbox stands."""
        self._feed.request_state(connection)

    # What the feed asks of it.

    def enroll(self, connection: StreamConnection, topics: dict[str, Cursor]) -> None:
        """Let a connection hear these topics by membership, each from an entry on, and no others."""
        before, connection.memberships = connection.memberships or (), tuple(topics)
        subscribed = connection.session.topics
        for topic in before:
            if topic not in topics and topic not in subscribed:
                self._stop_hearing(connection, topic)
        for topic, joined in topics.items():
            if topic not in before and topic not in subscribed and connection.is_open:
                self._hear_as_member(connection, topic, joined)
        if connection.catch_up:
            self._replayer.put(connection)  # it may have waited for what it left

    def _hear_as_member(self, connection: StreamConnection, topic: str, joined: Cursor) -> None:
        name, own = channels.of_topic(topic), connection.channels[0]
        catch_up = connection.catch_up = connection.catch_up or self._replayer.caught_up(connection)
        catch_up.enter(name)
        since = catch_up.since(own)
        if connection.session.is_welcome:
            catch_up.resume([name], joined, 0)
        elif since is not None:
            self._resume(catch_up, [name], since)
            catch_up.positions[name] = max(catch_up.positions[name] or joined, joined)
        self._fan_out.join(name, connection)

    def _stop_hearing(self, connection: StreamConnection, topic: str) -> None:
        name = channels.of_topic(topic)
        self._fan_out.leave(name, connection)
        if connection.catch_up:
            connection.catch_up.forget(name)

    def _stream(self, kind: type[S], transport: Transport, session: Session) -> S:
        self._numbers += 1
        limit, patience = self.settings.max_message_bytes, self.settings.lag_timeout
        return kind(transport, self, session, number=self._numbers, max_message=limit, lag_timeout=patience)

    def _keep(self, connection: Connection, begin: Callable[[], None]) -> None:
        self.connections.add(connection)
        begin()
        if self._draining:  # else it would be killed: whoever comes so late goes as all others do
            connection.close(Restarting())

    def _verify(self, token: str, now: float) -> Identity:
        return identity.verify(token, self.settings.token_secrets, now)

    def _attach(self, connection: StreamConnection, attach: Attach) -> None:
        names = connection.channels
        catch_up = CatchUp(dict.fromkeys(names), self.settings.max_backlog_bytes)
        catch_up.owed += map(frames.error, attach.refused)
        connection.catch_up = catch_up
        if attach.since:
            self._resume(catch_up, names, attach.since)
        for name in names:
            self._fan_out.join(name, connection)
        self._replayer.put(connection)

    def _join(self, connection: StreamConnection, join: Join) -> None:
        name = channels.of_topic(join.topic)
        catch_up = connection.catch_up = connection.catch_up or self._replayer.caught_up(connection)
        if len(catch_up.confirmations) >= _MOST_JOINING:
            raise TooSlow()
        catch_up.confirmations.append(join.ref)
        catch_up.enter(name)
        if join.since:
            self._resume(catch_up, [name], join.since)
        self._fan_out.join(name, connection)
        self._replayer.put(connection)

    def _leave(self, connection: StreamConnection, leave: Leave) -> None:
        for topic in leave.topics:
            if topic not in (connection.memberships or ()):
                self._stop_hearing(connection, topic)
        connection.reply(frames.ok(leave.ref, connection.session.topics))
        if connection.catch_up:
            self._replayer.put(connection)  # it may have waited for what it left

    def _resume(self, catch_up: CatchUp, names: list[str], since: Cursor) -> None:
        """Let channels be replayed from a cursor on; one that this database cannot know has lost everything."""
        from_ahead = since.ms > self._clock.ms + _AHEAD
        if from_ahead or since < self._fan_out.birth:
            catch_up.lost += names
        else:
            now = self._clock.ms
            catch_up.lost += [name for name in names if since.ms < now - self.log.remembers(name)]
        catch_up.resume(names, BEGINNING if from_ahead else since, int(1000 * self.settings.replay_overlap))

    def _turn_wheel(self) -> None:
        while True:
            begin = time.monotonic()
            time.sleep(_TURN)
            try:
                self._measure(late=time.monotonic() - begin - _TURN)
                self._tick(time.time())
                self._fan_out.forget_idle()
            except Exception:
                # This loop must survive: without it dead connections stay.
                logger.exception("A turn of the wheel failed")

    def _tick(self, now: float) -> None:
        for count, connection in enumerate(self._wheel.turn(now), 1):
            connection.tick(now)
            if not count % YIELD_EVERY:
                time.sleep(0)

    def _measure(self, late: float) -> None:
        metrics.LOOP_DELAY.set(late)
        metrics.BEAT_AGE.set(self._fan_out.heartbeat.age)
        metrics.CONNECTIONS.set(len(self.connections))
        metrics.LAGGING.set(self._replayer.lagging)
