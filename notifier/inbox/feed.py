"""The feed: tells connections how their user's inbox stands, and has what they hear follow from it.

What it knows of a user stands with the user's channel in the hub, and counts as long as this worker hears that. Who
did something is told at once. Where everybody's counts change by one notification, they are told at a pace.
"""

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from notifier.connections.hub import Channel, Hub
from notifier.connections.stream import StreamConnection
from notifier.errors import BrokerUnavailable, Disconnected
from notifier.inbox.digests import Digests
from notifier.inbox.mutes import Mutes
from notifier.inbox.states import InboxStates, known, user_of
from notifier.protocol import channel as channels
from notifier.protocol import frames
from notifier.protocol.cursor import Cursor
from notifier.protocol.entry import EPHEMERAL, NOTIFICATION, REMOVED, Entry
from notifier.protocol.inbox_view import InboxState, InboxView
from notifier.telemetry import metrics

logger = logging.getLogger(__name__)

_ROUND = 64  # users per round: enough to share a write, few enough to keep others waiting for a moment only
_SHARE = 4  # rounds for everybody take one part in so many of the time
_PAUSE = 0.5  # seconds before another round after the broker failed
_AGAIN = 200  # ms
_OUTDATED = 1000  # expiries that count no more, before they are thrown away

_decode: Any = msgspec.json.Decoder().decode


class Enroller(Protocol):
    """Who lets connections hear what their user is a member of."""

    def enroll(self, connection: StreamConnection, topics: dict[str, Cursor]) -> None:
        """Let a connection hear these topics by membership, each from an entry on, and no others."""


class InboxFeed:
    """One thread that sends states."""

    def __init__(
        self,
        states: InboxStates,
        digests: Digests,
        hub: Hub[StreamConnection],
        mutes: Mutes[StreamConnection],
        enroller: Enroller,
    ) -> None:
        self._digests = digests
        self._states = states
        self._hub = hub
        self._mutes = mutes
        self._enroller = enroller
        self._urgent: dict[str, list[Any]] = {}  # user -> changes that are to be told
        self._later: dict[str, bool] = {}  # user -> whether Redis has to be asked
        self._expiries: list[tuple[int, str]] = []  # Unix ms, user; a heap
        self._due: dict[str, int] = {}  # user -> the one that counts
        self._filled = threading.Event()  # somebody is to be told
        self._hurried = threading.Event()  # somebody who did something

    def start(self) -> None:
        """Begin to tell, in a thread of its own."""
        threading.Thread(target=self._run, name="feed", daemon=True).start()

    # What others tell it.

    def changed(self, channel: Channel[StreamConnection], change: bytes) -> None:
        """Note that something was done with the inbox of a user's channel."""
        known(channel).invalidate()
        self._put_urgent(channel, _decode(change))

    def received(self, channel: Channel[StreamConnection], entries: Iterable[Entry]) -> None:
        """Note that a channel had entries; they may change the counts of who hears it."""
        kinds = {entry.kind for entry in entries}
        if kinds <= {EPHEMERAL}:
            return
        is_item = not kinds.isdisjoint(_COUNTED)  # else it may still replace one, or push one out
        if not channels.is_user(channel.name):
            self._put_later(channel, is_item)
        elif is_item:
            known(channel).invalidate()
            self._put_urgent(channel)
        elif known(channel).may_have_unread:
            known(channel).invalidate()
            self._check_later(channel)

    def subscription_lost(self, lost: Iterable[Channel[StreamConnection]]) -> None:
        """Note that channels are not heard: what is known of inboxes may be wrong from now on."""
        self._digests.forget()
        for channel in lost:
            if channel.inbox:
                known(channel).invalidate()

    def subscribed(self, channel: Channel[StreamConnection]) -> None:
        """Note that a channel is heard again."""
        if channels.is_user(channel.name) and known(channel).was_sent:
            self._check_later(channel)

    def forget(self, connection: StreamConnection) -> None:
        """Forget a connection."""
        self._mutes.forget(connection)

    # What it does for others.

    def prepare(self, connections: Iterable[StreamConnection]) -> None:
        """Learn how the inboxes stand of connections that are about to be welcomed, and what they hear besides.

        Raises:
            BrokerUnavailable
        """
        strangers = {connection: channel for connection in connections if (channel := self._channel_of(connection))}
        states = self._learn(strangers.values())
        for connection, channel in strangers.items():
            self._take_state(connection, states[channel.name])

    def views(self, connections: Iterable[StreamConnection]) -> dict[StreamConnection, InboxView]:
        """Return the views of connections that it has met.

        Raises:
            BrokerUnavailable
        """
        met = {connection: channel for connection in connections if (channel := self._channel_of(connection))}
        states = self._learn(met.values())
        views = self._digests.views([states[channel.name] for channel in met.values()])
        for channel, view in zip(met.values(), views, strict=True):
            self._note_told(channel, view)
            self._await_change(channel, view)
        return dict(zip(met, views, strict=True))

    def _note_told(self, channel: Channel[StreamConnection], view: InboxView) -> None:
        """Note what newcomers are about to be told; if others of this user know something else, they are told too."""
        inbox = known(channel)
        if inbox.differs(view) and any(each.session.is_welcome for each in channel.connections):
            inbox.require_sending()
            self._later.setdefault(user_of(channel), False)
            self._filled.set()
        else:
            inbox.note_sent(view)

    def request_state(self, connection: StreamConnection) -> None:
        """Tell a connection how its inbox stands: it could not be told before."""
        channel = self._channel_of(connection)
        if channel:
            known(channel).require_sending()
            self._put_urgent(channel)

    def _run(self) -> None:
        while True:
            self._wait()
            begin = time.monotonic()
            try:
                is_urgent = self._round()
            except BrokerUnavailable as error:
                logger.warning("How inboxes stand cannot be told yet: %s", error.detail)
                time.sleep(random.uniform(_PAUSE / 2, _PAUSE))
            except Exception:
                # This loop must survive: without it nobody is told any more.
                logger.exception("A round of telling failed")
                time.sleep(_PAUSE)
            else:
                self._rest(0 if is_urgent else (_SHARE - 1) * (time.monotonic() - begin))

    def _wait(self) -> None:
        """Wait until somebody has to be told, or something expires."""
        while not (self._urgent or self._later):
            self._filled.clear()
            wait = max(self._expiries[0][0] / 1000 - time.time(), 0) + 0.01 if self._expiries else None
            self._filled.wait(wait)
            self._expire(int(time.time() * 1000))

    def _rest(self, seconds: float) -> None:
        """Let others have their turn, but not those wait who did something."""
        self._hurried.clear()
        if seconds and not self._urgent:
            self._hurried.wait(seconds)
        else:
            time.sleep(0)

    def _expire(self, now: int) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            due, user = heapq.heappop(self._expiries)
            if self._due.get(user) != due:
                continue
            del self._due[user]
            channel = self._hub.get(channels.of_user(user))
            if channel:
                known(channel).note_change(0)
                self._later[user] = True

    def _round(self) -> bool:
        """Tell some users; return whether they had done something."""
        is_urgent = bool(self._urgent)
        users = list(itertools.islice(self._urgent or self._later, _ROUND))
        due = {user: self._urgent.pop(user, []) for user in users}
        unsure = {user for user in users if self._later.pop(user, False) or is_urgent}
        try:
            self._tell(due, unsure)
        except Exception:
            for user, changes in due.items():
                self._urgent[user] = changes + self._urgent.get(user, [])
            raise
        return is_urgent

    def _tell(self, due: dict[str, list[Any]], unsure: set[str]) -> None:
        found = {user: channel for user in due if (channel := self._hub.get(channels.of_user(user)))}
        present = {user: channel for user, channel in found.items() if channel.connections and channel.confirmed}
        for user, channel in present.items():
            if user in unsure:
                known(channel).invalidate()  # what was asked for before the change may have come after it
        states = self._learn(present.values())
        views = self._digests.views([states[channel.name] for channel in present.values()])
        for (user, channel), view in zip(present.items(), views, strict=True):
            self._tell_user(channel, view, due[user])

    def _tell_user(self, channel: Channel[StreamConnection], view: InboxView, changes: list[Any]) -> None:
        self._await_change(channel, view)
        inbox = known(channel)
        if inbox.differs(view) or changes:
            # Of a change that was not heard there is nothing in `changes`: the revision betrays it.
            has_changed = inbox.note_sent(view)
            metrics.STATES.inc()
            frame = frames.state(view, changes, memberships=has_changed)
            for connection in list(channel.connections):
                connection.send_state(frame)
        for connection in list(channel.connections):
            self._take_state(connection, view.state)

    def _learn(self, users: Iterable[Channel[StreamConnection]]) -> dict[str, InboxState]:
        learned = self._states.learn(users)
        for channel in learned.outdated:
            self._check_later(channel)
        for channel in learned.disconnected:
            _close_welcomed(channel)
        return learned.states

    def _take_state(self, connection: StreamConnection, state: InboxState) -> None:
        if not connection.is_open:
            return
        self._mutes.update(connection, state)
        if connection.memberships != tuple(state.topics):
            self._enroller.enroll(connection, dict(state.topics))

    def _await_change(self, channel: Channel[StreamConnection], view: InboxView) -> None:
        """Look again when the inbox will have changed by itself."""
        changes = view.changes_at
        if known(channel).note_change(changes):
            # Redis may have an earlier time than this worker: then it is asked again, but not without a pause.
            due = max(changes, int(time.time() * 1000) + _AGAIN)
            self._due[user_of(channel)] = due
            heapq.heappush(self._expiries, (due, user_of(channel)))
            if len(self._expiries) > 2 * len(self._due) + _OUTDATED:
                self._expiries = sorted((due, user) for user, due in self._due.items())
            self._filled.set()

    def _put_urgent(self, channel: Channel[StreamConnection], *changes: Any) -> None:
        self._urgent.setdefault(user_of(channel), []).extend(changes)
        self._filled.set()
        self._hurried.set()

    def _check_later(self, channel: Channel[StreamConnection]) -> None:
        """Ask Redis for the state of a user's channel in a later round."""
        self._later[user_of(channel)] = True
        self._filled.set()

    def _put_later(self, channel: Channel[StreamConnection], is_item: bool) -> None:
        """Note that a shared channel has changed the counts of those who have it in their inbox."""
        topic = channels.topic_of(channel.name)
        for connection in channel.connections:
            identity = connection.session.identity
            if identity is not None and (topic is None or topic in (connection.memberships or ())):
                own = self._hub.get(channels.of_user(identity.user))
                if is_item or (own and known(own).may_have_unread):
                    self._later.setdefault(identity.user, False)
        self._filled.set()

    def _channel_of(self, connection: StreamConnection) -> Channel[StreamConnection] | None:
        identity = connection.session.identity
        return self._hub.get(channels.of_user(identity.user)) if identity else None


_COUNTED = (NOTIFICATION, REMOVED)


def _close_welcomed(channel: Channel[StreamConnection]) -> None:
    """Close the connections of a user who was disconnected, but not those that have been opened since."""
    for connection in list(channel.connections):
        if connection.session.is_welcome:
            connection.close(Disconnected())
