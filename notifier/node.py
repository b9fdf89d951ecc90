"""The node: this worker's part of the service. It attaches connections, keeps their time, and drains."""

import secrets
from collections.abc import Callable

from notifier.audience.members import Members
from notifier.audience.users import Users
from notifier.auth.api_keys import ApiKeys
from notifier.auth.key_changes import KeyChanges
from notifier.auth.revocations import Revocations
from notifier.auth.tokens import Tokens
from notifier.broker.audit_log import AuditLog
from notifier.broker.database import Database
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.key_list import KeyList
from notifier.broker.log import Log
from notifier.broker.revocation_list import RevocationList
from notifier.broker.store import Store
from notifier.connections.acceptor import Acceptor
from notifier.connections.hub import Hub
from notifier.connections.places import Counts, Places, user_of
from notifier.connections.strangers import SHARE, Strangers
from notifier.connections.stream import StreamConnection, StreamHooks
from notifier.connections.timers import Timers
from notifier.connections.turns import Turns
from notifier.connections.websocket import Connection
from notifier.connections.work_queue import Bounds
from notifier.delivery.fanout import FanOut
from notifier.delivery.history import History
from notifier.delivery.progress import Progress
from notifier.delivery.redis_listener import Listener
from notifier.delivery.replayer import Replayer
from notifier.delivery.subscriptions import Subscriptions
from notifier.errors import TokenRevoked
from notifier.inbox.action_queue import ActionQueue
from notifier.inbox.digests import Digests
from notifier.inbox.feed import InboxFeed
from notifier.inbox.inbox import Inbox
from notifier.inbox.listing import InboxLists
from notifier.inbox.mutes import Mutes
from notifier.inbox.states import InboxStates
from notifier.limits.usage import UsageLimits
from notifier.limits.users import UserLimits
from notifier.loop import in_turns
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.protocol.identity import Identity
from notifier.protocol.inbox_frames import Acknowledge, Marking
from notifier.protocol.notification import Limits
from notifier.protocol.publishing import Publishing
from notifier.protocol.recent import Recent
from notifier.protocol.session import Action, Rules, SendPing
from notifier.protocol.subscribing import Attach, Join, Leave
from notifier.publishing.client_queue import ClientQueue
from notifier.publishing.explanation import Explanation
from notifier.publishing.publisher import Publisher
from notifier.publishing.receipts import Receipts
from notifier.settings import ConnectionSettings, Settings
from notifier.telemetry import metrics


class Node:
    """Everything that this worker holds. Nothing runs before `start`."""

    def __init__(self, settings: Settings) -> None:
        self.name = secrets.token_hex(4)
        self._clock = Clock()
        self.store = Store(settings.broker)
        self.log = Log(settings.broker, self.store, self._clock)
        self.database = Database(settings.broker, self.store, self._clock)
        self.usage = UsageLimits(settings, self.store, self.name)
        digests = Digests(self.store, self.usage.users.count_reading)
        self.inbox_lists = InboxLists(self.store, digests)
        self.inbox = Inbox(settings.broker, self.store, digests, self._clock, self.usage.users.count_items)
        self.members = Members(settings.inbox, self.store, self.inbox.alter)
        self.users = Users(self.store, self.inbox, self.inbox_lists, self.members)
        self.receipts = Receipts(self.store)
        self.explanation = Explanation(self.store, self.inbox, self.members)
        self.publisher = Publisher(self.log, IdempotencyKeys(settings.broker, self.store), self._clock)
        publishing = settings.publishing
        self.limits = Limits(publishing.max_notification_bytes, publishing.max_users, publishing.max_topics)
        self.access = _Access(settings, self.store, self._close_revoked)
        self.connections: set[Connection] = set()
        self._places = _places(settings.connections, self.usage)
        self._delivery = _Delivery(
            settings, self.log, self.database, self.inbox, digests, self._clock, self.name, self.usage.users
        )
        bounds = Bounds(settings.limits.user_pending, settings.limits.user_pending_bytes, settings.limits.pending_bytes)
        self._client_queue = ClientQueue(self.publisher, self._delivery.fan_out.skip, self.usage.payer_of_user, bounds)
        self._actions = ActionQueue(self.inbox, bounds)
        self._timers = Timers(self._each_turn)
        rules = _rules(settings, self.limits, self.access.tokens.verify, self.usage.users)
        self.acceptor = Acceptor(
            settings.connections,
            rules._replace(share=self._delivery.hub.shared),
            self._hooks(settings.connections),
            settings.server.workers,
            self.connections,
            self._places,
            lambda: bool(self._delivery.listener.birth.ms) and self.access.revocations.is_loaded,
        )

    def start(self) -> None:
        """Begin to listen, to replay and to keep time."""
        for part in (self.access, self.usage, self._delivery, self._client_queue, self._actions, self._timers):
            part.start()

    @property
    def cursor(self) -> Cursor:
        """Up to where nothing that this worker knows of is missing, if it is asked for from now on."""
        return self._clock.cursor

    @property
    def is_ready(self) -> bool:
        """Whether this worker receives what is published, knows keys and revocations, and can publish."""
        return self._delivery.listener.is_ready and self.access.is_loaded and not self.acceptor.is_draining

    @property
    def is_loading(self) -> bool:
        """Whether this worker has reached Redis, but does not know yet all that it needs to serve clients."""
        listener = self._delivery.listener
        return bool(listener.birth.ms) and not (listener.is_receiving and self.access.is_loaded)

    def drain(self) -> None:
        """Close every connection, and end. A second caller waits until the first is done."""
        self.acceptor.drain()
        for part in (self._delivery.listener, self.access, self.usage):
            part.stop()
        self.store.close()

    def act(self, connection: StreamConnection, action: Action) -> None:
        """Hand what a session asks for to the part that carries it out."""
        match action:
            case Attach() if self._close_if_revoked(connection):
                pass  # since the request that brought the token
            case Attach():
                self._attach(connection, action)
            case Join():
                self._delivery.subscriptions.join(connection, action)
            case Leave():
                self._delivery.subscriptions.leave(connection, action)
            case Publishing():
                self._client_queue.put(connection, action)
            case Marking():
                self._actions.put(connection, action)
            case Acknowledge():
                self._actions.acknowledge(connection, action)
            case SendPing():
                connection.ping(self._delivery.progress.reached)

    def _attach(self, connection: StreamConnection, attach: Attach) -> None:
        """Subscribe a connection to its channels, if its user may have one more.

        Raises:
            RateExceeded
        """
        self._places.authenticated(connection)
        self._delivery.subscriptions.attach(connection, attach)

    def _close_revoked(self) -> None:
        """Close the connections whose tokens have been revoked: thousands at once, if they are those of one user."""
        for connection in in_turns(list(self.connections)):
            if isinstance(connection, StreamConnection):
                self._close_if_revoked(connection)

    def _close_if_revoked(self, connection: StreamConnection) -> bool:
        identity = connection.session.identity
        if identity is None or not self.access.revocations.covers(identity):
            return False
        connection.close(TokenRevoked())
        return True

    def _closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._places.closed(connection)

    def _stop(self, connection: StreamConnection) -> None:
        """Unsubscribe a connection that is closing."""
        self._places.closing(connection)
        self._delivery.subscriptions.close(connection)
        self._delivery.feed.forget(connection)

    def _hooks(self, settings: ConnectionSettings) -> StreamHooks:
        return StreamHooks(
            max_message=settings.max_message_bytes,
            lag_timeout=settings.lag_timeout,
            schedule=self._timers.schedule,
            received=lambda connection: self.usage.users.count_frame(user_of(connection)),
            refused=lambda connection: self.usage.addresses.failed_on_stream(connection.address),
            closed=self._closed,
            buffered=self._places.strangers.buffer,
            take_turn=Turns().add,
            act=self.act,
            stop=self._stop,
            drained=self._delivery.progress.serve,
            request_state=self._delivery.feed.request_state,
        )

    def _each_turn(self) -> None:
        metrics.BEAT_AGE.set(self._delivery.listener.heartbeat.age)
        metrics.CONNECTIONS.set(len(self.connections))
        metrics.LAGGING.set(self._delivery.progress.lagging)
        self._delivery.listener.forget_idle()


class _Access:
    """The parts of a worker that decide who may use the service. `revoked` is called when tokens have been revoked."""

    def __init__(self, settings: Settings, store: Store, revoked: Callable[[], None]) -> None:
        broker, auth = settings.broker, settings.auth
        self.revocations = Revocations(RevocationList(broker, auth.max_revocations, store), auth.max_token_age, revoked)
        key_list = KeyList(broker, auth.max_keys, store)
        self.api_keys = ApiKeys(auth.api_keys, key_list)
        self.key_changes = KeyChanges(key_list, self.api_keys, auth.max_tenant_keys)
        self.audit_log = AuditLog(auth.max_audit_entries, store)
        self.tokens = Tokens(auth, self.revocations)
        self._loaded = (self.revocations, self.api_keys, self.tokens)

    @property
    def is_loaded(self) -> bool:
        """Whether all keys and revocations are known."""
        return self.revocations.is_loaded and self.api_keys.is_loaded

    def start(self) -> None:
        """Begin to load keys, revocations and the keys of issuers."""
        for part in self._loaded:
            part.start()

    def stop(self) -> None:
        """Stop loading."""
        for part in self._loaded:
            part.stop()


class _Delivery:
    """The parts that bring notifications to the connections of this worker."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        database: Database,
        inbox: Inbox,
        digests: Digests,
        clock: Clock,
        name: str,
        users: UserLimits,
    ) -> None:
        limits = settings.connections
        hub = self.hub = Hub[StreamConnection]()
        mutes: Mutes[StreamConnection] = Mutes()
        recent = Recent(limits.recent_bytes)
        self.progress = Progress(hub, limits.max_backlog_bytes)
        self.subscriptions = Subscriptions(
            hub,
            self.progress,
            clock,
            int(1000 * limits.replay_overlap),
            remembers=log.remembers,
            birth=lambda: self.listener.birth,
            subscribe=lambda channel: self.listener.subscribe(channel),
        )
        states = InboxStates(inbox.states, inbox.revisions)
        self.feed = InboxFeed(states, digests, hub, mutes, self.subscriptions)
        history, count = History(log, hub, recent), users.count_replay
        self.replayer = Replayer(self.progress, history, self.feed, mutes, clock, name, limits.heartbeat, count)
        self.fan_out = FanOut(hub, self.progress, recent, mutes, self.feed.received)
        self.listener = Listener(
            settings.broker, log, database, hub, self.progress, recent, self.fan_out.send_all, self.feed, clock, name
        )

    def start(self) -> None:
        """Begin to listen, to replay and to send states."""
        self.listener.start()
        self.replayer.start()
        self.feed.start()


def _places(settings: ConnectionSettings, usage: UsageLimits) -> Places:
    addresses, users = usage.addresses, usage.users
    counts = Counts(addresses.opened, addresses.closed, users.open_stream, users.streams.closed)
    return Places(Strangers(settings.connection_limit // SHARE, settings.stranger_bytes), counts)


def _rules(settings: Settings, limits: Limits, verify: Callable[[str, float], Identity], users: UserLimits) -> Rules:
    return Rules(
        verify,
        settings.connections.hello_timeout,
        settings.connections.attach_timeout,
        settings.connections.heartbeat,
        settings.connections.expiry_notice,
        settings.connections.max_subscriptions,
        limits,
        settings.inbox.max_inbox_ids,
        users.publications.take,
        users.actions.take,
    )
