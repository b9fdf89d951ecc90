"""Subscriptions: which channels a connection is sent, and from where on."""

import time
from collections.abc import Callable, Mapping

from notifier.connections.hub import Hub
from notifier.connections.stream import StreamConnection
from notifier.delivery.progress import Progress
from notifier.protocol import channel as channels
from notifier.protocol import frames
from notifier.protocol.catch_up import CatchUp
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import BEGINNING, Cursor
from notifier.protocol.subscribing import Attach, Join, Leave

_AHEAD = 60_000  # ms that a cursor may be ahead of this worker's clock before it is from another database


class Subscriptions:
    """Carries out what sessions and memberships ask for.

    A client that resumes is sent the last `overlap` ms before its cursor again. `remembers` returns for how many ms a
    channel knows its losses, `birth` when the database was first used, and `subscribe` is called with each channel
    that is new on this worker.
    """

    def __init__(
        self,
        hub: Hub[StreamConnection],
        progress: Progress,
        clock: Clock,
        overlap: int,
        *,
        remembers: Callable[[str], int],
        birth: Callable[[], Cursor],
        subscribe: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._progress = progress
        self._clock = clock
        self._overlap = overlap
        self._remembers = remembers
        self._birth = birth
        self._subscribe = subscribe

    def attach(self, connection: StreamConnection, attach: Attach) -> None:
        """Subscribe a connection that has said hello to its channels, and serve it."""
        names = connection.channels
        catch_up = self._progress.attach(connection, map(frames.error, attach.refused))
        if attach.since:
            self._resume(catch_up, names, attach.since)
        for name in names:
            self._enter(name, connection)
        self._progress.serve(connection)

    def join(self, connection: StreamConnection, join: Join) -> None:
        """Subscribe a connection to a topic, and confirm that when its past has been sent.

        Raises:
            TooSlow: too many subscriptions wait for their confirmation.
        """
        name = channels.of_topic(join.topic)
        catch_up = self._progress.catch_up_of(connection)
        catch_up.confirm_later(join.ref)
        catch_up.add(name)
        if join.since:
            self._resume(catch_up, [name], join.since)
        self._enter(name, connection)
        self._progress.serve(connection)

    def leave(self, connection: StreamConnection, leave: Leave) -> None:
        """Unsubscribe a connection from topics, except for those that its user is a member of, and confirm that."""
        for topic in leave.topics:
            if topic not in (connection.memberships or ()):
                self._leave(connection, topic)
        connection.reply(frames.ok(leave.ref, connection.session.topics))
        if connection.catch_up:
            self._progress.serve(connection)  # it may have waited for a channel that it left

    def enroll(self, connection: StreamConnection, topics: Mapping[str, Cursor]) -> None:
        """Make these the topics of a connection by membership, each with the entry after which it begins.

        A membership with another beginning is another one: the user was removed and added again.
        """
        before = connection.set_memberships(topics)
        subscribed = connection.session.topics
        for topic, joined in before.items():
            if topics.get(topic) != joined and topic not in subscribed:
                self._leave(connection, topic)
        for topic, joined in topics.items():
            if before.get(topic) != joined and topic not in subscribed and connection.is_open:
                self._join_as_member(connection, topic, joined)
        if connection.catch_up:
            self._progress.serve(connection)  # it may have waited for a channel that it left

    def close(self, connection: StreamConnection) -> None:
        """Unsubscribe a connection that is closing from everything."""
        for name in connection.channels:
            self._hub.leave(name, connection, time.time())

    def _enter(self, name: str, connection: StreamConnection) -> None:
        if self._hub.join(name, connection):
            self._subscribe(name)

    def _join_as_member(self, connection: StreamConnection, topic: str, joined: Cursor) -> None:
        name, own = channels.of_topic(topic), connection.channels[0]
        catch_up = self._progress.catch_up_of(connection)
        catch_up.add(name, joined)
        since = catch_up.since(own)
        if connection.session.is_welcome:
            catch_up.resume([name], joined)
        elif since is not None:
            self._resume(catch_up, [name], since, not_before=joined)
        self._enter(name, connection)

    def _leave(self, connection: StreamConnection, topic: str) -> None:
        name = channels.of_topic(topic)
        self._hub.leave(name, connection, time.time())
        if connection.catch_up:
            connection.catch_up.remove(name)

    def _resume(self, catch_up: CatchUp, names: list[str], since: Cursor, not_before: Cursor = BEGINNING) -> None:
        """Replay channels from a cursor on; with a cursor that this database cannot know, all of them have losses."""
        now = self._clock.ms
        if since.ms > now + _AHEAD:
            lost, since = names, BEGINNING
        elif since < self._birth():
            lost = names
        else:
            lost = [name for name in names if since.ms < now - self._remembers(name)]
        catch_up.resume(names, since, self._overlap, not_before=not_before, lost=lost)
