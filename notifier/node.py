"""The node: this worker's part of the service. It attaches connections, keeps their time, and drains."""

import secrets

from notifier.audience.members import Members
from notifier.audience.users import Users
from notifier.broker.database import Database
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Log
from notifier.broker.store import Store
from notifier.connections.acceptor import Acceptor
from notifier.connections.hub import Hub
from notifier.connections.strangers import SHARE, Strangers
from notifier.connections.stream import StreamConnection, StreamHooks
from notifier.connections.timers import Timers
from notifier.connections.websocket import Connection
from notifier.delivery.fanout import FanOut
from notifier.delivery.replayer import Replayer
from notifier.errors import TooSlow
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
from notifier.protocol.inbox_frames import Acknowledge, Marking
from notifier.protocol.notification import Limits
from notifier.protocol.publishing import Publishing
from notifier.protocol.session import Action, Rules, SendPing
from notifier.protocol.subscribing import Attach, Join, Leave
from notifier.publishing.client_queue import ClientQueue
from notifier.publishing.explanation import Explanation
from notifier.publishing.publisher import Publisher
from notifier.publishing.receipts import Receipts
from notifier.settings import Settings
from notifier.telemetry import metrics

_MOST_JOINING = 200  # subscriptions of a connection that have yet to be confirmed
_AHEAD = 60_000  # ms that a cursor may be ahead of this worker's clock before it is from another database


class Node:
    """Everything that this worker holds. Nothing runs before `start`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.name = secrets.token_hex(4)
        self._clock = Clock()
        self.store = Store(settings.broker)
        self.log = Log(settings.broker, self.store, self._clock)
        self.database = Database(settings.broker, self.store, self._clock)
        digests = Digests(self.store)
        self.inbox_lists = InboxLists(self.store, digests)
        self.inbox = Inbox(settings.broker, self.store, digests, self._clock)
        self.members = Members(settings.inbox, self.store, self.inbox.alter)
        self.users = Users(self.store, self.inbox, self.inbox_lists, self.members)
        self.receipts = Receipts(self.store)
        self.explanation = Explanation(self.store, self.inbox, self.members)
        self.publisher = Publisher(self.log, IdempotencyKeys(settings.broker, self.store), self._clock)
        self.limits = Limits(
            settings.publishing.max_notification_bytes, settings.publishing.max_users, settings.publishing.max_topics
        )
        self.connections: set[Connection] = set()
        self._strangers = Strangers(settings.connections.connection_limit // SHARE)
        hub: Hub[StreamConnection] = Hub()
        mutes: Mutes[StreamConnection] = Mutes()
        self._feed = InboxFeed(InboxStates(self.inbox.states, self.inbox.revisions), digests, hub, mutes, self)
        self._replayer = Replayer(settings.connections, self.log, hub, self._feed, mutes, self._clock, self.name)
        self._fan_out = FanOut(
            settings.broker, self.log, self.database, hub, self._replayer, self._feed, mutes, self._clock, self.name
        )
        self._client_queue = ClientQueue(self.publisher, self._fan_out.spare)
        self._actions = ActionQueue(self.inbox)
        self._timers = Timers(self._each_turn)
        hooks = StreamHooks(
            schedule=self._timers.schedule,
            closed=self._closed,
            authenticated=self._strangers.forget,
            act=self.act,
            stop=self._stop,
            drained=self._replayer.put,
            request_state=self._feed.request_state,
        )
        rules = Rules(
            self._verify,
            settings.connections.hello_timeout,
            settings.connections.attach_timeout,
            settings.connections.heartbeat,
            settings.connections.expiry_notice,
            settings.connections.max_subscriptions,
            settings.publishing.client_publish_rate,
            self.limits,
            settings.inbox.max_inbox_ids,
        )
        self.acceptor = Acceptor(
            settings.connections,
            rules,
            hooks,
            settings.server.workers,
            self.connections,
            self._strangers,
            lambda: bool(self._fan_out.birth.ms),
        )

    def start(self) -> None:
        """Begin to listen, to replay and to keep time."""
        self._fan_out.start()
        self._replayer.start()
        self._feed.start()
        self._client_queue.start()
        self._actions.start()
        self._timers.start()

    @property
    def cursor(self) -> Cursor:
        """Up to where nothing that this worker knows of is missing, if it is asked for from now on."""
        return self._clock.cursor

    @property
    def is_ready(self) -> bool:
        """Whether this worker hears what is published, and can publish."""
        return self._fan_out.is_ready and not self.acceptor.is_draining

    def drain(self) -> None:
        """Close every connection, and end. A second caller waits until the first is done."""
        self.acceptor.drain()
        self._fan_out.stop()
        self.store.close()

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

    def _closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._strangers.forget(connection)

    def _stop(self, connection: StreamConnection) -> None:
        """Unsubscribe a connection that is closing."""
        for name in connection.channels:
            self._fan_out.leave(name, connection)
        self._feed.forget(connection)

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

    def _verify(self, token: str, now: float) -> Identity:
        return identity.verify(token, self._settings.auth.token_secrets, now)

    def _attach(self, connection: StreamConnection, attach: Attach) -> None:
        names = connection.channels
        catch_up = CatchUp(dict.fromkeys(names), self._settings.connections.max_backlog_bytes)
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
        catch_up.resume(
            names, BEGINNING if from_ahead else since, int(1000 * self._settings.connections.replay_overlap)
        )

    def _each_turn(self) -> None:
        metrics.BEAT_AGE.set(self._fan_out.heartbeat.age)
        metrics.CONNECTIONS.set(len(self.connections))
        metrics.LAGGING.set(self._replayer.lagging)
        self._fan_out.forget_idle()
