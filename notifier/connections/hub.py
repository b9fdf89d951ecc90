"""The hub: this worker's connections by channel."""

from typing import Any, Generic, TypeVar

from notifier.protocol.channel import is_everyone, of_topic, topic_of
from notifier.protocol.log_position import LogPosition

Member = TypeVar("Member")


class Channel(LogPosition[Member]):
    """One channel that connections of this worker are subscribed to, and the worker's position in its log.

    `inbox` belongs to `inbox/states.py`: what the worker knows about the inbox of a user's channel.
    """

    __slots__ = ("connections", "idle_since", "inbox", "name")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        # A dict, because it keeps the order, and removes one of many connections in constant time.
        self.connections: dict[Member, None] = {}
        self.idle_since = 0.0
        self.inbox: Any = None


class Hub(Generic[Member]):
    """All channels with connections on this worker, and those whose last connection left a moment ago."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel[Member]] = {}
        self._idle: dict[str, Channel[Member]] = {}
        self._of_everyone: dict[str, Channel[Member]] = {}  # one for each tenant
        self._topics: dict[str, str] = {}  # the strings of topics that several connections have asked for

    def __getitem__(self, name: str) -> Channel[Member]:
        return self._channels[name]

    def get(self, name: str) -> Channel[Member] | None:
        """Return a channel, or None if this worker does not have it."""
        return self._channels.get(name)

    def channels(self) -> list[Channel[Member]]:
        """Return all channels."""
        return list(self._channels.values())

    def members(self, name: str) -> list[Member]:
        """Return the connections of a channel."""
        channel = self._channels.get(name)
        return list(channel.connections) if channel else []

    def everyone(self) -> list[Member]:
        """Return all connections: each is in the channel of all users of its tenant."""
        return [member for channel in self._of_everyone.values() for member in channel.connections]

    def count(self, name: str) -> int:
        """Return how many connections a channel has."""
        channel = self._channels.get(name)
        return len(channel.connections) if channel else 0

    def join(self, name: str, member: Member) -> bool:
        """Add a connection to a channel. Return whether the channel is new on this worker."""
        channel = self._channels.get(name)
        new = channel is None
        if channel is None:
            channel = self._channels[name] = Channel(name)
            if is_everyone(name):
                self._of_everyone[name] = channel
        self._idle.pop(name, None)
        channel.connections[member] = None
        return new

    def leave(self, name: str, member: Member, now: float) -> None:
        """Remove a connection from a channel."""
        channel = self._channels.get(name)
        if channel is None or member not in channel.connections:
            return
        del channel.connections[member]
        channel.forget(member)
        if not channel.connections:
            channel.idle_since = now
            self._idle[name] = channel

    def shared(self, topic: str) -> str:
        """Return a topic as the string that the connections of its channel share.

        Not by `sys.intern`: clients choose the names, and Python 3.12 never frees interned strings.
        """
        return self._topics.setdefault(topic, topic) if of_topic(topic) in self._channels else topic

    def forget_idle(self, left_before: float) -> list[str]:
        """Remove the channels whose last connection left before a time, and return their names.

        A channel that is not confirmed stays: its confirmation would be taken for that of a later subscription.
        """
        names = [name for name, channel in self._idle.items() if channel.idle_since < left_before and channel.confirmed]
        for name in names:
            del self._idle[name], self._channels[name]
            self._of_everyone.pop(name, None)
            self._topics.pop(topic_of(name) or "", None)
        return names
