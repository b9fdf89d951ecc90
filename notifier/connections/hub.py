"""The hub: this worker's connections by channel."""

from typing import Any, Generic, TypeVar

from notifier.protocol import cursor
from notifier.protocol.cursor import BEGINNING, Cursor

Member = TypeVar("Member")


class Channel(Generic[Member]):
    """One channel that connections of this worker hear.

    `confirmed` is whether Redis has confirmed this worker's subscription. `seen` is the last entry known of its log;
    `delivered` the last one that every connection that is live has been sent: it lags behind `seen` only while an
    entry is being fanned out. Both are ids as text. `ahead` are connections that were sent more of its log than this
    worker is sure to have heard, and up to where.

    `inbox` is for the room above: what `inbox/states.py` knows about the inbox of a user's channel.
    """

    __slots__ = (
        "ahead",
        "confirmed",
        "connections",
        "delivered",
        "idle_since",
        "inbox",
        "name",
        "seen",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        # A dict keeps the order of arrival, and forgets one of many connections at once.
        self.connections: dict[Member, None] = {}
        self.confirmed = False
        self.ahead: dict[Member, Cursor] | None = None
        self.seen = b"0-0"
        self.delivered = b"0-0"
        self.idle_since = 0.0
        self.inbox: Any = None

    @property
    def last(self) -> Cursor:
        """`seen` as a cursor."""
        return cursor.parse(self.seen)

    def sent_to(self, member: Member) -> Cursor:
        """Return up to where a member that is live has been sent this channel."""
        return max(cursor.parse(self.delivered), (self.ahead or {}).get(member, BEGINNING))

    def run_ahead(self, member: Member, position: Cursor, heard: Cursor) -> None:
        """Note that a member has been sent the log up to a position. `heard` is a time up to which all was fanned out.

        Of that millisecond there may be more; and `seen` may be what the log had, and is yet to be heard.
        """
        if position > self.last or position >= heard:
            self.ahead = self.ahead or {}
            self.ahead[member] = max(position, self.ahead.get(member, BEGINNING))

    def confirm(self, last: Cursor) -> None:
        """Note that the channel is heard from now on, and what its log had last."""
        self.seen = self.delivered = str(max(last, self.last)).encode()
        self.confirmed = True


class Hub(Generic[Member]):
    """All channels that somebody on this worker hears, and those that were left a moment ago."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel[Member]] = {}
        self._idle: dict[str, Channel[Member]] = {}

    def __getitem__(self, name: str) -> Channel[Member]:
        return self._channels[name]

    def get(self, name: str) -> Channel[Member] | None:
        """Return a channel, or None if nobody hears it."""
        return self._channels.get(name)

    def channels(self) -> list[Channel[Member]]:
        """Return all channels."""
        return list(self._channels.values())

    def members(self, name: str) -> list[Member]:
        """Return who hears a channel."""
        channel = self._channels.get(name)
        return list(channel.connections) if channel else []

    def join(self, name: str, member: Member) -> bool:
        """Let a member hear a channel; return whether the channel is new here."""
        channel = self._channels.get(name)
        new = channel is None
        if channel is None:
            channel = self._channels[name] = Channel(name)
        self._idle.pop(name, None)
        channel.connections[member] = None
        return new

    def leave(self, name: str, member: Member, now: float) -> None:
        """Let a member hear a channel no more."""
        channel = self._channels.get(name)
        if channel is None or member not in channel.connections:
            return
        del channel.connections[member]
        if channel.ahead:
            channel.ahead.pop(member, None)
        if not channel.connections:
            channel.idle_since = now
            self._idle[name] = channel

    def forget_idle(self, left_before: float) -> list[str]:
        """Forget the channels that were left before a time, and return their names.

        One that is not confirmed stays: its confirmation would be taken for that of a later subscription.
        """
        names = [name for name, channel in self._idle.items() if channel.idle_since < left_before and channel.confirmed]
        for name in names:
            del self._idle[name], self._channels[name]
        return names
