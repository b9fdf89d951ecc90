"""The fan-out: writes received entries to every connection of their channel."""

import logging
from collections.abc import Callable
from functools import partial

from notifier.connections.hub import Channel, Hub
from notifier.connections.stream import StreamConnection
from notifier.connections.timers import YIELD_EVERY
from notifier.delivery.encoding import Writes
from notifier.delivery.progress import Progress
from notifier.inbox.mutes import Mutes
from notifier.loop import give_way
from notifier.protocol import notification
from notifier.protocol import tenant as tenants
from notifier.protocol.entry import Entry
from notifier.protocol.recent import Recent
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_MOST_SKIPPED = 10_000  # own publications that have not been received yet

Chosen = dict[StreamConnection, list[Entry]]  # what is sent to connections that are not sent everything


class FanOut:
    """Builds the frames of entries once, and gives each live connection as few writes as possible.

    Entries are added to `recent`. `note` is called with each channel's entries after they were sent.
    """

    def __init__(
        self,
        hub: Hub[StreamConnection],
        progress: Progress,
        recent: Recent,
        mutes: Mutes[StreamConnection],
        note: Callable[[Channel[StreamConnection], list[Entry]], None],
    ) -> None:
        self._hub = hub
        self._progress = progress
        self._recent = recent
        self._mutes = mutes
        self._note = note
        self._no_echo: dict[str, StreamConnection] = {}  # by the id of the notification that it publishes

    def skip(self, id: str, name: str, connection: StreamConnection) -> None:
        """Do not send a connection the notification that it publishes itself, when that is received on a channel."""
        channel = self._hub.get(name)
        if channel is None or connection not in channel.connections:
            return  # it would be remembered forever: this worker may not be subscribed to the channel
        self._no_echo[id] = connection
        if len(self._no_echo) > _MOST_SKIPPED:
            del self._no_echo[next(iter(self._no_echo))]  # it was never received

    def send_all(self, groups: dict[str, list[Entry]]) -> None:
        """Send entries by channel, so that each connection gets one write per channel."""
        for name, entries in groups.items():
            channel = self._hub.get(name)
            if channel is not None:
                self._send(channel, entries)

    def _send(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        seen = channel.seen
        self._follow(channel, entries)
        self._recent.receive(channel.name, entries, seen)
        writes, chosen = Writes(channel.name, entries), self._choose(channel, entries)
        chosen_writes = _ChosenWrites(channel.name)
        connections = list(channel.connections)
        members = channel.connections
        metrics.DELIVERIES.inc(len(entries) * len(connections))
        for start in range(0, len(connections), YIELD_EVERY):
            if start:
                channel.pause(partial(_is_among, connections, start))
                give_way()
                channel.leave_out_overtaken(entries, chosen)  # replays may have ended meanwhile
            for connection in connections[start : start + YIELD_EVERY]:
                if start and connection not in members:
                    continue  # it has left meanwhile
                if connection in chosen:
                    self._send_chosen(connection, channel, chosen[connection], chosen_writes)
                elif connection.catch_up is not None:
                    connection.catch_up.receive(channel.name, entries)
                else:
                    self._write(connection, channel, writes[connection.framing])
        channel.fanned_out()
        self._note(channel, entries)

    def _follow(self, channel: Channel[StreamConnection], entries: list[Entry]) -> None:
        """Update the worker's position. If entries were missed, serve all connections of the channel from the log."""
        if channel.follow(entries) and channel.confirmed:
            metrics.GAPS.inc()
            logger.warning("Channel %s had a gap; it is served from the log", tenants.visible(channel.name))
            for connection in channel.connections:
                self._progress.fall_behind(connection)
                self._progress.serve(connection)

    def _choose(self, channel: Channel[StreamConnection], entries: list[Entry]) -> Chosen:
        """Return what is sent to connections that have muted, were sent or have published some of these entries."""
        muted = self._mutes.apply_to_all(channel.connections, channel.name, entries)
        # Mutes of connections that catch up are applied when they are sent: they may be others by then.
        chosen = {connection: sent for connection, sent in muted.items() if connection.catch_up is None}
        channel.leave_out_overtaken(entries, chosen)
        if self._no_echo:
            for entry in entries:
                own = self._no_echo.pop(notification.id_of(entry.body), None)
                if own:
                    chosen[own] = [each for each in chosen.get(own, entries) if each is not entry]
        return chosen

    def _send_chosen(
        self,
        connection: StreamConnection,
        channel: Channel[StreamConnection],
        entries: list[Entry],
        writes: "_ChosenWrites",
    ) -> None:
        if not entries:
            return
        if connection.catch_up is not None:
            connection.catch_up.receive(channel.name, entries)
        else:
            self._write(connection, channel, writes.of(entries)[connection.framing])

    def _write(
        self, connection: StreamConnection, channel: Channel[StreamConnection], writes: list[tuple[bytes, bytes]]
    ) -> None:
        taken = b""
        for data, last in writes:
            if not connection.deliver(data):
                position = channel.sent_to(connection, taken)
                self._progress.fall_behind(connection).advance(channel.name, position)
                return
            taken = last


class _ChosenWrites:
    """The frames of lists of entries that are chosen for some connections. Many connections may have the same list."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._writes: dict[int, tuple[list[Entry], Writes]] = {}  # with the list, so that its identity is no other's

    def of(self, entries: list[Entry]) -> Writes:
        found = self._writes.get(id(entries))
        if found is None:
            found = self._writes[id(entries)] = (entries, Writes(self._channel, entries))
        return found[1]


def _is_among(connections: list[StreamConnection], count: int, connection: StreamConnection) -> bool:
    return connection in connections[:count]
