"""The inbox states that this worker knows: Redis is asked only for those that are unknown or may have changed."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from notifier.connections.hub import Channel
from notifier.protocol.inbox_counts import InboxView
from notifier.protocol.inbox_state import InboxState


class KnownInbox:
    """This worker's copy of the state of one user's inbox. The user's channel in the hub holds it.

    `state` is None while it is unknown. `version` changes whenever the state may have changed, `filters` whenever its
    topics or mutes may have. `revision` is that of the topics and mutes which connections have. `disconnected_at` is
    when the user was last disconnected (Unix ms). All of it is valid only while the channel is subscribed to.
    """

    __slots__ = ("_known_filters", "_sent", "disconnected_at", "filters", "revision", "state", "version")

    def __init__(self) -> None:
        self.state: InboxState | None = None
        self.version = 0
        self.filters = 0
        self.revision = 0
        self.disconnected_at = 0
        self._known_filters = -1
        self._sent: tuple[int, ...] | None = None  # unread, unseen, revision, expiry; (): it must be sent again

    def invalidate(self) -> None:
        """Forget the state: it has changed, or may have. A reply that is under way may be outdated."""
        self.state = None
        self.version += 1

    def invalidate_filters(self) -> None:
        """Forget the state, of which the topics or mutes have changed, or may have."""
        self.invalidate()
        self.filters += 1

    @property
    def has_filters(self) -> bool:
        """Whether the topics and mutes are known."""
        return self._known_filters == self.filters

    def learn(self, state: InboxState, version: int) -> bool:
        """Take the reply to a request that was made at a version; return False if it may be outdated."""
        if version != self.version:
            return False
        self.state = state
        return True

    def learn_filters(self, state: InboxState, filters: int) -> bool:
        """Take topics and mutes of a reply; return False if they may be outdated, or later ones are known."""
        if filters != self.filters or (self.has_filters and state.revision < self.revision):
            return False
        self._known_filters, self.revision = filters, state.revision
        return True

    def note_disconnect(self, when: int) -> bool:
        """Note when the user was disconnected (Unix ms); return whether that is news."""
        is_news = when > self.disconnected_at
        self.disconnected_at = max(when, self.disconnected_at)
        return is_news

    def require_sending(self) -> None:
        """Have the next state sent, even if it is the same as the last one."""
        self._sent = ()

    def differs(self, view: InboxView) -> bool:
        """Return whether clients have not been sent what a view says."""
        return _essence(view) != self._sent

    def note_sent(self, view: InboxView) -> bool:
        """Note that clients are sent a view; return whether its revision is not the one they were sent before."""
        before, self._sent = self._sent, _essence(view)
        return not before or before[2] != view.state.revision

    @property
    def was_sent(self) -> bool:
        """Whether any connection has been sent this inbox."""
        return self._sent is not None

    @property
    def may_have_unread(self) -> bool:
        """Whether clients were sent counts above zero, or have to be sent them again."""
        return not self._sent or any(self._sent[:2])


class Learned(NamedTuple):
    """States by channel, and what was found out meanwhile.

    `outdated`: channels whose state may have changed while Redis was asked. `disconnected`: channels of users who
    have been disconnected without this worker having received that. `filters`: channels with states whose topics and
    mutes are to be applied.
    """

    states: dict[str, InboxState]
    outdated: list[Channel[Any]]
    disconnected: list[Channel[Any]]
    filters: list[tuple[Channel[Any], InboxState]]


class InboxStates:
    """The states of all users who have connections on this worker.

    `read` reads states of users from Redis, `revisions` their revisions only.
    """

    def __init__(
        self,
        read: Callable[[Iterable[str]], list[InboxState]],
        revisions: Callable[[Iterable[str]], list[int]],
    ) -> None:
        self._read = read
        self.revisions = revisions

    def learn(self, users: Iterable[Channel[Any]], *, refresh: bool = False) -> Learned:
        """Return the states of users' channels; `refresh`: also ask for those that are known.

        Raises:
            BrokerUnavailable
        """
        asked = {channel.name: channel for channel in users}
        found: dict[str, InboxState] = {}
        unknown = []
        for name, channel in asked.items():
            inbox = known(channel)
            if inbox.state is None or refresh or not inbox.has_filters:
                unknown.append((channel, inbox.version, inbox.filters))
            else:
                found[name] = inbox.state
        replies = self._read(user_of(channel) for channel, *_ in unknown) if unknown else []
        learned = Learned(found, [], [], [])
        for (channel, version, filters), state in zip(unknown, replies, strict=True):
            inbox = known(channel)
            if inbox.learn_filters(state, filters):
                learned.filters.append((channel, state))
            if not inbox.learn(state, version):
                learned.outdated.append(channel)
            found[channel.name] = inbox.state or state  # a later request may have completed first
            if inbox.note_disconnect(state.disconnected_at):
                learned.disconnected.append(channel)
        return learned


def known(channel: Channel[Any]) -> KnownInbox:
    """Return what this worker knows about the inbox of a user's channel."""
    inbox: KnownInbox | None = channel.inbox
    if inbox is None:
        inbox = channel.inbox = KnownInbox()
    return inbox


def disconnected_at(channel: Channel[Any]) -> int:
    """Return when the user of a channel was last disconnected, in Unix ms; 0: never, or the channel is shared."""
    return 0 if channel.inbox is None else channel.inbox.disconnected_at


def user_of(channel: Channel[Any]) -> str:
    """Return the user of a user's channel."""
    return channel.name.partition(":")[2]


def _essence(view: InboxView) -> tuple[int, ...]:
    return (*view.counts, view.state.revision, view.expires)
