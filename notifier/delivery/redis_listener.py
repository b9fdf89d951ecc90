"""The listener: keeps this worker subscribed to its channels, and knows whether it receives everything."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable

from notifier.broker.database import Database
from notifier.broker.heartbeat import NODES, Heartbeat
from notifier.broker.log import Log
from notifier.broker.subscriber import Subscriber
from notifier.connections.hub import Hub
from notifier.connections.stream import StreamConnection
from notifier.delivery.progress import Progress
from notifier.errors import BrokerUnavailable, Disconnected, Problem
from notifier.inbox.feed import InboxFeed
from notifier.inbox.states import known
from notifier.loop import in_turns
from notifier.protocol import cursor
from notifier.protocol import tenant as tenants
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.entry import DISCONNECT, ERASED, LOST, STATE, Ends, Entry
from notifier.protocol.recent import Recent
from notifier.settings import BrokerSettings
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_LINGER = 10.0  # seconds that a channel stays subscribed after its last connection: people reload pages
_WINDOW = 1000  # ms: entries of several channels may change places within it, well inside the replay overlap


class Listener:
    """The listener of the worker's subscription: all that Redis publishes to this worker arrives here.

    `send_all` is called with entries by channel. `birth` is when the database was first used, `BEGINNING` until Redis
    has been reached.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        log: Log,
        database: Database,
        hub: Hub[StreamConnection],
        progress: Progress,
        recent: Recent,
        send_all: Callable[[dict[str, list[Entry]]], None],
        feed: InboxFeed,
        clock: Clock,
        name: str,
    ) -> None:
        self._log = log
        self._database = database
        self._hub = hub
        self._progress = progress
        self._recent = recent
        self._send_all = send_all
        self._feed = feed
        self._clock = clock
        self._subscriber = Subscriber(settings.redis_url, settings.redis_prefix, settings.redis_timeout, self)
        self.heartbeat = Heartbeat(
            settings, database, clock, name, prepare=self._check_server, on_silence=self._subscriber.reconnect
        )
        self._is_subscribed = False
        self.birth = BEGINNING

    def start(self) -> None:
        """Subscribe, in threads of its own."""
        self._subscriber.start()
        self.heartbeat.start()

    def stop(self) -> None:
        """End the subscription."""
        self._subscriber.stop()

    @property
    def is_receiving(self) -> bool:
        """Whether this worker receives what is published."""
        return self._is_subscribed and self.heartbeat.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether this worker receives what is published, and could write to Redis when it last tried."""
        return self.is_receiving and self.heartbeat.writes

    def subscribe(self, name: str) -> None:
        """Subscribe this worker to a channel that is new in the hub."""
        self._subscriber.subscribe(name)

    def forget_idle(self) -> None:
        """Unsubscribe from channels that have had no connection for a while."""
        for name in self._hub.forget_idle(time.time() - _LINGER):
            self._subscriber.unsubscribe(name)
            self._feed.left(name)

    # The callbacks of the subscriber.

    def wanted_channels(self) -> list[str]:
        """Return all channels to subscribe to.

        This worker has a new connection to Redis, perhaps to another database. Nothing may be received before the
        birth of that database and its time are known.
        """
        self._check_birth()
        self._count_losses(self._log.note_lost_ends())
        return [NODES, *(channel.name for channel in self._hub.channels())]

    def subscription_lost(self) -> None:
        """Put every connection behind: what is published from now on is read from the logs, in order over all."""
        metrics.DEAF.inc()
        self._is_subscribed = False
        self._recent.clear()
        for connection in self._hub.everyone():
            self._progress.fall_behind(connection)
        for channel in self._hub.channels():
            channel.lose_subscription()
        self._feed.subscription_lost(self._hub.channels())

    def subscribed(self, names: list[str]) -> None:
        """Learn the ends of the logs of channels, which are subscribed to now, and serve waiting connections."""
        self._is_subscribed = self._is_subscribed or NODES in names
        fresh = [name for name in names if (channel := self._hub.get(name)) and not channel.confirmed]
        ends = self._compare_ends(fresh)
        for name in fresh:
            channel = self._hub.get(name)
            if channel is not None:
                # A connection before the floor has lost entries. A log that cannot be read fails when it is read.
                before = channel.last
                channel.confirm(max(ends.get(name, (BEGINNING,))))
                self._feed.subscribed(channel, has_missed=channel.last > before)
                self._clock.observe(channel.last.ms)
                self._progress.serve_all(channel.connections)
        if NODES in names:
            self.heartbeat.beat()  # no connection is served before the first one is received

    def received(self, messages: list[tuple[str, bytes]]) -> None:
        """Fan out messages, grouped by channel, so that each connection gets few writes."""
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
                self._send_all(groups)
                groups.clear()
                self._receive_other(name, message)
                continue
            if entry.kind in (STATE, DISCONNECT):
                # Entries before it are sent under the memberships and mutes of then, and those after it under the new.
                self._send_all(groups)
                groups.clear()
                self._receive_of_user(name, entry)
                continue
            self._clock.observe(ms)
            newest = max(newest, ms)
            if ms > opened + _WINDOW:
                self._send_all(groups)
                groups.clear()
                opened = ms
            groups[name].append(entry)
        self._send_all(groups)
        self._progress.advance(newest)

    def _receive_other(self, name: str, message: bytes) -> None:
        """Take a message that has not the form of an entry: entries of a channel are lost."""
        try:
            kind, found = message.split()
            if kind != LOST:
                raise ValueError
            self._receive_loss(name, cursor.parse(found))
        except ValueError:
            logger.warning("Something that is no entry was published to %s", tenants.visible(name))

    def _receive_loss(self, name: str, found: Cursor) -> None:
        """Notify all connections of a channel of a loss, unless this worker knew of it when it subscribed.

        If it did not, it has also served connections without a report, so it does not matter how far they have come.
        """
        channel = self._hub.get(name)
        if channel is None or not channel.confirmed or found <= channel.last:
            return
        self._recent.forget(name)
        for connection in channel.connections:
            catch_up = self._progress.fall_behind(connection)
            if connection.session.is_welcome:  # otherwise it is served from the log, which decides
                catch_up.lose([name])
            self._progress.serve(connection)
        channel.confirm(found)

    def _receive_of_user(self, name: str, entry: Entry) -> None:
        """Take a message that is no entry: an action has changed a user's inbox, or the user is disconnected."""
        channel = self._hub.get(name)
        if channel is None:
            return
        if entry.kind == STATE:
            if self._feed.changed(channel, entry.body):
                for connection in list(channel.connections):
                    self._progress.hold(connection)
            return
        when, why = entry.body.split()
        inbox = known(channel)
        is_news = inbox.note_disconnect(int(when))
        if why == ERASED:
            self._recent.forget(name)
            channel.restart()
            inbox.invalidate_filters()
        if is_news:
            for connection in in_turns(list(channel.connections)):  # a user may have thousands
                connection.close(Disconnected())

    def _compare_ends(self, names: list[str]) -> dict[str, Ends]:
        """Return the ends of logs that can be read, after the loss of entries that this worker has seen is recorded."""
        ends = self._readable_ends(names)
        seen = {name: channel.last for name in ends if (channel := self._hub.get(name))}
        changed = [
            (name, last)
            for name, last in seen.items()
            if last not in (ends[name].last, ends[name].found) and last > ends[name].floor
        ]
        if not changed:
            return ends
        self._count_losses(self._log.note_regression(changed))
        return ends | self._readable_ends([name for name, _ in changed])

    def _readable_ends(self, names: list[str]) -> dict[str, Ends]:
        ends = zip(names, self._log.log_ends(names), strict=True)
        return {name: end for name, end in ends if not isinstance(end, Problem)}

    def _count_losses(self, lost: int) -> None:
        if lost:
            metrics.REGRESSIONS.inc(lost)
            logger.warning("%d channels have lost their last entries in Redis", lost)

    def _check_server(self) -> None:
        """Find out what another database or server has lost, also if the subscription is kept or cannot come back."""
        self._check_birth()
        if not self._log.may_have_lost_ends:
            return
        try:
            self._count_losses(self._log.note_lost_ends())
        except BrokerUnavailable as error:
            logger.warning("Losses are looked for again with the next heartbeat: %s", error.detail)

    def _check_birth(self) -> None:
        """Learn when the database was first used. If it is another database, every channel has lost entries."""
        before, self.birth = self.birth, self._database.birth()
        if not before.ms or before == self.birth:
            return
        logger.warning("Redis has lost its data: every client is notified")
        for connection in self._hub.everyone():
            self._progress.fall_behind(connection).lose(connection.channels)
            self._progress.serve(connection)
