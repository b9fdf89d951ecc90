"""Witnesses: the callbacks of one client, and when it was connected."""

import time
from typing import Any, NamedTuple

from chaos.cursors import Cursor, cursor_of
from chaos.pasts import Pasts
from chaos.spans import Spans


class Moment(NamedTuple):
    """An event: `at` is in seconds of the monotonic clock, `who` is a client or a fault."""

    at: float
    who: str
    what: str


class Journal:
    """The events of a run, in order."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.start = time.monotonic()

    def note(self, who: str, what: str) -> None:
        """Add an event."""
        self.moments.append(Moment(time.monotonic(), who, what))


class Callback(NamedTuple):
    """One call of the notification callback. `key` identifies the publication, from its data.

    `opened` is when the connection said hello, if that is known.
    """

    at: float
    channel: str
    cursor: Cursor
    id: str
    key: str
    replay: bool
    opened: float = 0.0


class Loss(NamedTuple):
    """One call of the lost callback, after `after` notifications; `since` was the client's cursor."""

    at: float
    channels: list[str]
    after: int
    since: Cursor


class LastState(NamedTuple):
    """The last state that a client received."""

    at: float
    revision: int
    unread: int
    unseen: int


class Witness:
    """The oracle's record of a client. `entitled`: by channel that it has subscribed to, the cursor after which it must
    receive everything.

    `members` has the topics of which the user is a member, `mutes` what the user has muted ("type:..." or "topic:...").
    `pasts` has what its connections requested of the past of topics.
    `granted` are topics that it may be sent although it has not subscribed to them. What it receives may be older than
    itself by `tolerance` ms.
    """

    def __init__(self, name: str, user: str, topics: list[str], journal: Journal) -> None:
        self.name = name
        self.user = user
        self.topics = topics
        self.entitled: dict[str, Cursor] = {}
        self.callbacks: list[Callback] = []
        self.losses: list[Loss] = []
        self.complaints: list[str] = []
        self.members = Spans()
        self.mutes = Spans()
        self.pasts = Pasts()
        self.granted: set[str] = set()
        self.tolerance = 0
        self.opened = 0.0  # when the present connection said hello, if that is known
        self.last_state: LastState | None = None
        self.wanders = False  # it unsubscribes from topics, and later subscribes again with a cursor
        self.is_behind = False  # it was still being replayed when the run ended
        self.is_connected = False
        self.connections = 0
        self.replayed = 0
        self._journal = journal

    @property
    def is_replaying(self) -> bool:
        """Whether a topic is still being replayed: until then, nothing else is sent."""
        return False

    @property
    def channels(self) -> set[str]:
        """The channels that it is subscribed to, always or at times."""
        return {f"user:{self.user}", "all", *(f"topic:{topic}" for topic in (*self.topics, *self.members.names))}

    def note(self, what: str) -> None:
        """Add an event to the journal."""
        self._journal.note(self.name, what)

    def complain(self, what: str) -> None:
        """Record something that must never happen to a client."""
        self.note(f"COMPLAINT {what}")
        self.complaints.append(what)

    def welcomed(self, cursor: str, topics: list[str]) -> None:
        """Record a welcome, or a subscription to topics."""
        self.connections += not self.is_connected
        self.is_connected = True
        for channel in (f"user:{self.user}", "all", *(f"topic:{topic}" for topic in topics)):
            self.entitled.setdefault(channel, cursor_of(cursor))

    def received_state(self, frame: dict[str, Any]) -> None:
        """Record the state in a welcome or a state frame."""
        counts, revision, before = frame["counts"], frame["revision"], self.last_state
        if frame["type"] != "welcome" and before and revision < before.revision:
            self.complain(f"received revision {revision} after {before.revision}")
        self.last_state = LastState(time.monotonic(), revision, counts["unread"], counts["unseen"])
        self.note(f"received {counts['unread']} unread, {counts['unseen']} unseen, revision {revision}")

    def called(self, channel: str, cursor: str, notification: dict[str, Any], replay: bool) -> None:
        """Record a notification."""
        key = (notification.get("data") or {}).get("key", "")
        self.replayed += replay
        at, place, id = time.monotonic(), cursor_of(cursor), notification["id"]
        self.callbacks.append(Callback(at, channel, place, id, key, replay, self.opened))

    def received_lost(self, channels: list[str], since: str | None) -> None:
        """Record a loss."""
        self.note(f"received lost: {', '.join(channels)}")
        self.losses.append(Loss(time.monotonic(), channels, len(self.callbacks), cursor_of(since or "0-0")))
