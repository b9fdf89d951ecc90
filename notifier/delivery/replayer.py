"""The replayer: sends connections what they missed, until they are live.

It works in rounds. Each round takes the connections that can be served, reads what all of them need in one pipeline,
and writes to each what its socket takes.
"""

import logging
import random
import time
from collections.abc import Callable

from notifier.connections.stream import StreamConnection
from notifier.delivery.encoding import FRAME, Encoder, unsent_bytes
from notifier.delivery.history import History, Pages
from notifier.delivery.progress import Progress
from notifier.errors import BrokerUnavailable, Disconnect, Overloaded, UnexpectedFault
from notifier.inbox.feed import InboxFeed
from notifier.inbox.mutes import Mutes
from notifier.loop import Loop, give_way
from notifier.protocol import frames
from notifier.protocol import tenant as tenants
from notifier.protocol.catch_up import CatchUp, Step
from notifier.protocol.clock import Clock
from notifier.protocol.entry import Page
from notifier.protocol.inbox_counts import InboxView
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_ROUND = 64  # connections per round: enough to share reads, few enough to keep others waiting for a moment only
_PAUSE = 0.5  # seconds before connections are served again after Redis failed


class Replayer:
    """One thread that turns connections with a `CatchUp` into live ones.

    A welcome names the worker (`name`) and the interval of its pings (`heartbeat`, in seconds). `count` is called with
    a user and the size of what was sent from the log, or read in vain, and raises a `Disconnect` if it is too much.
    """

    def __init__(
        self,
        progress: Progress,
        history: History,
        feed: InboxFeed,
        mutes: Mutes[StreamConnection],
        clock: Clock,
        name: str,
        heartbeat: float,
        count: Callable[[str, int], None] = lambda user, size: None,
    ) -> None:
        self._progress = progress
        self._history = history
        self._feed = feed
        self._mutes = mutes
        self._clock = clock
        self._name = name
        self._heartbeat = int(heartbeat)
        self._count = count

    def start(self) -> None:
        """Start the thread."""
        Loop("replayer", self._step).start()

    def _step(self) -> None:
        self._take(self._progress.next_batch(_ROUND))

    def _take(self, batch: list[StreamConnection]) -> None:
        """Serve connections. A fault of one of them closes that one only."""
        try:
            # The worker may not be subscribed to their topics yet: then they are served once it is.
            self._feed.prepare(self._servable(batch))
            self._round(self._servable(batch))
        except BrokerUnavailable as error:
            logger.warning("The replay waits for Redis: %s", error.detail)
            self._retry_later(batch)
        except Exception:
            if len(batch) > 1:
                for connection in batch:
                    self._take([connection])
            else:
                _close_for_fault(batch[0])

    def _servable(self, batch: list[StreamConnection]) -> list[StreamConnection]:
        return [connection for connection in batch if self._progress.can_serve(connection)]

    def _retry_later(self, batch: list[StreamConnection]) -> None:
        time.sleep(random.uniform(_PAUSE / 2, _PAUSE))
        for connection in batch:
            self._progress.serve(connection)

    def _round(self, batch: list[StreamConnection]) -> None:
        unwelcomed = [connection for connection in batch if not connection.session.is_welcome]
        views = self._feed.views(unwelcomed) if unwelcomed else {}
        # Meanwhile connections may have joined channels that the worker is not subscribed to.
        filters = self._filters(self._servable(batch))
        pages, outdated = self._read(list(filters))
        encoder = Encoder()
        for connection, found in pages.items():
            # Asked for each of them, since other threads run after each.
            current = self._feed.filters([connection]).get(connection)
            try:
                if connection in outdated or current != filters[connection]:
                    self._read_again(connection, found)  # they were read for other memberships and mutes
                else:
                    self._serve(connection, found, encoder, views.get(connection))
            except Disconnect as disconnect:
                connection.close(disconnect)
            except Exception:
                _close_for_fault(connection)
            if found:
                give_way()  # requests have their turn in between

    def _filters(self, batch: list[StreamConnection]) -> dict[StreamConnection, int]:
        """Return the connections whose memberships and mutes are known, with the version of these."""
        filters = self._feed.filters(batch)
        for connection in batch:
            if connection not in filters:
                self._progress.serve(connection)  # they have changed since they were prepared
        return filters

    def _read(self, batch: list[StreamConnection]) -> tuple[dict[StreamConnection, Pages], set[StreamConnection]]:
        """Return what connections missed, and those for which it was read under outdated memberships or mutes."""
        wanted = {each: each.catch_up.read(self._progress.last) for each in batch if each.catch_up is not None}
        recalled = {each: self._history.recall(each, positions) for each, positions in wanted.items()}
        missing = {each: wanted[each] for each, pages in recalled.items() if pages is None}
        read = self._history.read(missing)
        outdated = self._feed.outdated(missing) if missing else set()
        return {each: read[each] if pages is None else pages for each, pages in recalled.items()}, outdated

    def _serve(self, connection: StreamConnection, pages: Pages, encoder: Encoder, view: InboxView | None) -> None:
        catch_up = connection.catch_up
        if not connection.is_open or catch_up is None:
            return
        if not catch_up.is_reading:
            self._read_again(connection, pages)  # its channels have changed while the logs were read
            return
        if None in pages.values():
            catch_up.retry()  # the page was shared with connections that are further behind
            self._progress.serve(connection)
            return
        step = catch_up.take(_readable(pages))
        self._introduce(connection, catch_up, step, view)
        if not self._send(connection, catch_up, step, encoder):
            catch_up.fall_behind()  # `on_drained` comes back
        elif step.is_last and self._progress.is_subscribed(connection):
            self._progress.go_live(connection)
        else:
            catch_up.pause()
            self._progress.serve(connection)

    def _read_again(self, connection: StreamConnection, pages: Pages) -> None:
        """Serve a connection later, because its pages cannot be used. Mostly its client has caused that: count them."""
        self._progress.serve(connection)
        read = (page.entries for page in pages.values() if isinstance(page, Page))
        self._count_read(connection, sum(FRAME + len(entry.body) for entries in read for entry in entries))

    def _count_read(self, connection: StreamConnection, size: int) -> None:
        assert connection.session.identity is not None
        if size:
            self._count(connection.session.identity.user, size)

    def _introduce(self, connection: StreamConnection, catch_up: CatchUp, step: Step, view: InboxView | None) -> None:
        """Send the welcome and the replies that waited for it. Name the channels that have lost entries in any case."""
        session = connection.session
        if step.lost:
            metrics.LOST.inc()
        if session.is_welcome:
            if step.lost:
                connection.reply(frames.lost(step.lost))
            return
        assert view is not None and session.identity is not None
        id, user, now = f"{self._name}-{connection.number}", session.identity.user, self._clock.cursor
        connection.welcome(frames.welcome(id, user, session.topics, now, self._heartbeat, step.lost, view), now)
        for reply in catch_up.take_deferred():
            connection.reply(reply)

    def _send(self, connection: StreamConnection, catch_up: CatchUp, step: Step, encoder: Encoder) -> bool:
        """Send the entries of a step; return False as soon as the socket blocks."""
        entries = self._mutes.apply(connection, step.entries)
        for data, chunk in encoder.chunks(connection.framing, entries):
            if connection.transport.is_blocked or not connection.deliver(data):
                return False
            metrics.REPLAYED.inc(len(chunk))
            catch_up.sent(chunk)
            self._count_read(connection, len(data) + unsent_bytes(chunk))
        return not connection.transport.is_blocked  # it goes live when there is room for what is sent then


def _readable(pages: Pages) -> dict[str, Page]:
    """Return pages of which each could be read.

    Raises:
        Overloaded
    """
    readable = {name: page for name, page in pages.items() if isinstance(page, Page)}
    if len(readable) < len(pages):
        logger.error("The log of %s cannot be read", ", ".join(map(tenants.visible, pages.keys() - readable.keys())))
        raise Overloaded("a log cannot be read")
    return readable


def _close_for_fault(connection: StreamConnection) -> None:
    logger.exception("A connection cannot be served")
    connection.close(UnexpectedFault())
