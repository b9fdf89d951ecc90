"""History: what was published after some positions, from memory or from the logs in Redis."""

import time

from notifier.broker.log import Log
from notifier.connections.hub import Hub
from notifier.connections.stream import StreamConnection
from notifier.errors import Problem
from notifier.inbox.states import disconnected_at
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import Page
from notifier.protocol.recent import Recent
from notifier.protocol.shared_reads import share
from notifier.telemetry import metrics

Positions = dict[str, Cursor]  # the last entry sent, by channel
# The entries after the positions, by channel, where there are any. None: a read that was shared ends before the
# position. A problem: the log cannot be read.
Pages = dict[str, Page | Problem | None]


class History:
    """Reads for connections that catch up."""

    def __init__(self, log: Log, hub: Hub[StreamConnection], recent: Recent) -> None:
        self._log = log
        self._hub = hub
        self._recent = recent

    def recall(self, connection: StreamConnection, positions: Positions) -> Pages | None:
        """Return what this worker has received; None: it may lack something, and all logs have to be read.

        A worker that has lost its subscription without detecting it lacks entries of one channel. Entries of other
        channels, if they were sent, would move the client's cursor past the missing ones. The worker also lacks the
        entries that it will leave out for a connection that is ahead of it.
        """
        pages: Pages = {}
        now = int(time.time() * 1000)
        for name, position in positions.items():
            channel = self._hub[name]
            if channel.is_ahead_of(connection, position):
                return None
            if position < channel.last:
                if position.ms <= disconnected_at(channel):
                    return None  # it may have been erased, and the erasure may not have been received yet
                pages[name] = self._recent.page(name, position, channel.seen, now)
                if pages[name] is None:
                    return None
        return pages

    def read(self, wanted: dict[StreamConnection, Positions]) -> dict[StreamConnection, Pages]:
        """Return what the logs have, from one read wherever positions of a channel are close to each other.

        Raises:
            BrokerUnavailable
        """
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


def _after(page: Page | Problem, position: Cursor) -> Page | Problem | None:
    return page.after(position) if isinstance(page, Page) else page
