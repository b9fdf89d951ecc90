"""The feed: sends `state` frames, and updates the topic memberships and mutes of connections.

A state is sent when the inbox of a user with connections here changes. The user's channel in the hub holds the
worker's copy of the inbox's state.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from notifier.connections.hub import Channel, Hub
from notifier.connections.stream import StreamConnection
from notifier.errors import Disconnected
from notifier.inbox.digests import Digests
from notifier.inbox.mutes import Mutes
from notifier.inbox.rounds import Round, Rounds
from notifier.inbox.states import InboxStates, known, user_of
from notifier.loop import Loop, in_turns
from notifier.protocol import channel as channels
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, REMOVED, Entry
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import InboxState
from notifier.telemetry import metrics

_COUNTED = (NOTIFICATION, REMOVED)
_FILTERS = ("topics", "mutes")  # changes after which connections are sent other notifications

_decode: Any = msgspec.json.Decoder().decode


class Enroller(Protocol):
    """Subscribes connections to the topics that their user is a member of."""

    def enroll(self, connection: StreamConnection, topics: Mapping[str, Cursor]) -> None:
        """Make these the topics of a connection by membership, each with the entry after which it begins."""


class InboxFeed:
    """One thread that sends states. All methods may be called from any thread; only the documented ones ask Redis."""

    def __init__(
        self,
        states: InboxStates,
        digests: Digests,
        hub: Hub[StreamConnection],
        mutes: Mutes[StreamConnection],
        enroller: Enroller,
    ) -> None:
        self._states = states
        self._digests = digests
        self._hub = hub
        self._mutes = mutes
        self._enroller = enroller
        self._rounds = Rounds(self._concerned)

    def start(self) -> None:
        """Start sending states, in a thread of its own."""
        Loop("inbox feed", self._step).start()

    # Events that may change inboxes.

    def changed(self, channel: Channel[StreamConnection], change: bytes) -> bool:
        """Note that an action has changed the inbox of a user's channel; `change` is its JSON for the state frame.

        Returns whether it may have changed what connections of the user are sent.
        """
        decoded = _decode(change)
        is_filter = decoded.get("action") in _FILTERS
        known(channel).invalidate_filters() if is_filter else known(channel).invalidate()
        self._rounds.put_urgent(user_of(channel), [decoded])
        return is_filter

    def received(self, channel: Channel[StreamConnection], entries: Iterable[Entry]) -> None:
        """Note that entries of a channel were received; they may change counts."""
        kinds = {entry.kind for entry in entries}
        if kinds <= {EPHEMERAL}:
            return
        is_item = not kinds.isdisjoint(_COUNTED)  # other kinds may still replace an item, or push one out of the log
        if not channels.is_user(channel.name):
            self._rounds.put_shared(channel.name, is_item)
        elif is_item:
            known(channel).invalidate()
            self._rounds.put_urgent(user_of(channel))
        elif known(channel).may_have_unread:
            known(channel).invalidate()
            self._rounds.check_later(user_of(channel))

    def subscription_lost(self, lost: Iterable[Channel[StreamConnection]]) -> None:
        """Note that nothing is received on channels any more: what is known about inboxes may become outdated."""
        self._digests.forget()
        for channel in lost:
            if channel.inbox:
                known(channel).invalidate_filters()

    def subscribed(self, channel: Channel[StreamConnection], *, has_missed: bool) -> None:
        """Note that a channel is subscribed to, perhaps again, and whether its log has entries that were not received.

        The state of a user may have been read before those were published: the user's channel was subscribed to first.
        """
        if channels.is_user(channel.name):
            if channel.inbox:
                # Read while nothing was received, perhaps: changes since then have not been received, either.
                known(channel).invalidate_filters()
            if known(channel).was_sent:
                self._rounds.check_later(user_of(channel))
        elif has_missed and any(connection.session.is_welcome for connection in channel.connections):
            self._rounds.put_shared(channel.name, is_item=True)

    def request_state(self, connection: StreamConnection) -> None:
        """Send a connection the state that could not be sent to it before."""
        channel = self._channel_of(connection)
        if channel:
            known(channel).require_sending()
            self._rounds.put_urgent(user_of(channel))

    def forget(self, connection: StreamConnection) -> None:
        """Forget a connection that is closing."""
        self._mutes.forget(connection)

    def left(self, name: str) -> None:
        """Forget when the inbox of a user's channel changes: the last connection of the user has left this worker."""
        if channels.is_user(name):
            self._rounds.expect(channels.user_of(name), 0)

    # The preparation of connections, before they are welcomed or served from the log.

    def prepare(self, connections: Iterable[StreamConnection]) -> None:
        """Set memberships and mutes of connections for which they are unknown, or may have changed.

        Raises:
            BrokerUnavailable
        """
        found = self._channels_of(connections)
        prepared = {
            connection: channel
            for connection, channel in found.items()
            if connection.memberships is None or not known(channel).has_filters
        }
        states = self._learn(prepared.values())
        for connection, channel in prepared.items():
            if connection.memberships is None and known(channel).has_filters:
                self._apply(connection, states[channel.name])

    def filters(self, connections: Iterable[StreamConnection]) -> dict[StreamConnection, int]:
        """Return the prepared ones of some connections, with a number that changes with their memberships and mutes."""
        return {
            connection: known(channel).filters
            for connection, channel in self._channels_of(connections).items()
            if connection.memberships is not None and known(channel).has_filters
        }

    def outdated(self, connections: Iterable[StreamConnection]) -> set[StreamConnection]:
        """Return the connections whose memberships or mutes are others now in Redis, and set those.

        State read from Redis may be newer than the updates that the worker has received: its subscription may be late,
        or dead without an error. So call this after the logs were read.

        Raises:
            BrokerUnavailable
        """
        found = self._channels_of(connections)
        before = {each: (each.memberships, self._mutes.of(each)) for each in found}
        asked = {channel.name: channel for channel in found.values()}
        revisions = self._states.revisions(map(user_of, asked.values()))
        changed = [
            channel
            for channel, revision in zip(asked.values(), revisions, strict=True)
            if known(channel).revision != revision
        ]
        self._learn(changed, refresh=True)
        return {each for each in found if (each.memberships, self._mutes.of(each)) != before[each]}

    def views(self, connections: Iterable[StreamConnection]) -> dict[StreamConnection, InboxView]:
        """Return the views with which connections are welcomed.

        Raises:
            BrokerUnavailable
        """
        welcomed = self._channels_of(connections)
        states = self._learn(welcomed.values())
        views = self._digests.views(states[channel.name] for channel in welcomed.values())
        for channel, view in zip(welcomed.values(), views, strict=True):
            self._note_welcome(channel, view)
            self._rounds.expect(user_of(channel), view.changes_at)
        return dict(zip(welcomed, views, strict=True))

    def _note_welcome(self, channel: Channel[StreamConnection], view: InboxView) -> None:
        """Note what a welcome will say; if other connections of the user were sent something else, all get a state."""
        inbox = known(channel)
        if inbox.differs(view) and any(each.session.is_welcome for each in channel.connections):
            inbox.require_sending()
            self._rounds.put_later([user_of(channel)])
        else:
            inbox.note_sent(view)

    # The thread.

    def _step(self) -> None:
        served = self._rounds.next()
        begin = time.monotonic()
        try:
            self._serve(served)
        except Exception:
            self._rounds.put_back(served)
            raise
        self._rounds.rest(served, time.monotonic() - begin)

    def _serve(self, served: Round) -> None:
        found = {user: channel for user in served.changes if (channel := self._hub.get(channels.of_user(user)))}
        present = {user: channel for user, channel in found.items() if channel.connections and channel.confirmed}
        for user, channel in present.items():
            if user in served.check:
                known(channel).invalidate()  # a reply that is under way may be older than the change
        states = self._learn(present.values())
        views = self._digests.views(states[channel.name] for channel in present.values())
        for (user, channel), view in in_turns(zip(present.items(), views, strict=True)):
            self._send(channel, view, served.changes[user])

    def _send(self, channel: Channel[StreamConnection], view: InboxView, changes: list[Any]) -> None:
        inbox = known(channel)
        if not channel.connections:
            return  # the last one has left in a turn for others, and so nothing is expected for the user any more
        if inbox.state is not None and inbox.state.revision > view.state.revision:
            self._rounds.put_urgent(user_of(channel), changes)  # a later state was welcomed in such a turn, perhaps
            return
        self._rounds.expect(user_of(channel), view.changes_at)
        if inbox.differs(view) or changes:
            # `changes` lacks what was published while nothing was received; only the revision shows it.
            has_changed = inbox.note_sent(view)
            metrics.STATES.inc()
            frame = frames.state(view, changes, memberships=has_changed)
            for connection in list(channel.connections):
                connection.send_state(frame)

    def _learn(self, users: Iterable[Channel[StreamConnection]], *, refresh: bool = False) -> dict[str, InboxState]:
        learned = self._states.learn(users, refresh=refresh)
        for channel, state in learned.filters:
            for connection in list(channel.connections):
                self._apply(connection, state)
        for channel in learned.outdated:
            self._rounds.check_later(user_of(channel))
        for channel in learned.disconnected:
            _close_welcomed(channel)
        return learned.states

    def _apply(self, connection: StreamConnection, state: InboxState) -> None:
        """Update the memberships and mutes of a connection."""
        if not connection.is_open:
            return
        self._mutes.update(connection, state)
        if connection.memberships != state.topics:
            self._enroller.enroll(connection, state.topics)

    def _concerned(self, name: str, is_item: bool) -> Iterator[str]:
        """Yield the users whose counts entries of a shared channel may change. Others have their turn in between."""
        topic = channels.topic_of(name)
        for connection in in_turns(self._hub.members(name)):
            identity = connection.session.identity
            if identity is None or not (topic is None or topic in (connection.memberships or ())):
                continue
            user = identity.user
            if is_item or ((own := self._hub.get(channels.of_user(user))) and known(own).may_have_unread):
                yield user

    def _channels_of(self, them: Iterable[StreamConnection]) -> dict[StreamConnection, Channel[StreamConnection]]:
        return {connection: channel for connection in them if (channel := self._channel_of(connection))}

    def _channel_of(self, connection: StreamConnection) -> Channel[StreamConnection] | None:
        """Return the channel of a connection's user; None: there is no user yet, or the connection has left."""
        identity = connection.session.identity
        return self._hub.get(channels.of_user(identity.user)) if identity else None


def _close_welcomed(channel: Channel[StreamConnection]) -> None:
    """Close the connections of a user who was disconnected, but not those that have been opened since."""
    for connection in in_turns([each for each in channel.connections if each.session.is_welcome]):
        connection.close(Disconnected())
