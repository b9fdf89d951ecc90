"""Witnesses: what one client's callbacks were given, and when it was connected."""

import time
from typing import Any, NamedTuple

Cursor = tuple[int, int]


def cursor_of(text: str) -> Cursor:
    """Return a cursor as two numbers, which compare as cursors do."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


class Moment(NamedTuple):
    """Something that happened: `at` is in seconds of the monotonic clock, `who` a client or a fault."""

    at: float
    who: str
    what: str


class Journal:
    """What happened to everybody, in order."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.start = time.monotonic()

    def note(self, who: str, what: str) -> None:
        """Write a line."""
        self.moments.append(Moment(time.monotonic(), who, what))


class Callback(NamedTuple):
    """One call of the notification callback. `key` is the publication's own, from its data."""

    at: float
    channel: str
    cursor: Cursor
    id: str
    key: str
    replay: bool


class Loss(NamedTuple):
    """One call of the lost callback: it came when `after` notifications had come; `since` was the client's cursor."""

    at: float
    channels: list[str]
    after: int
    since: Cursor


class Told(NamedTuple):
    """How the inbox stands, as the client was told last."""

    at: float
    revision: int
    unread: int
    unseen: int


class Witness:
    """What the oracle knows of one client. `entitled` has, per channel, the cursor from which on it is owed all.

    `memberships` are the topics that its user is a member of all the time, `joined` those at some time.
    """

    def __init__(self, name: str, user: str, topics: list[str], journal: Journal) -> None:
        self.name = name
        self.user = user
        self.topics = topics
        self.entitled: dict[str, Cursor] = {}
        self.callbacks: list[Callback] = []
        self.losses: list[Loss] = []
        self.complaints: list[str] = []
        self.memberships: list[str] = []
        self.joined: set[str] = set()
        self.told: Told | None = None
        self.wanders = False  # it leaves topics and comes back to them with their past
        self.is_behind = False  # it was still being given what it had missed when the run ended
        self.is_connected = False
        self.connections = 0
        self.replayed = 0
        self._journal = journal

    @property
    def is_owed(self) -> bool:
        """Whether it is still being given the past of a topic: until then it is told of nothing else."""
        return False

    @property
    def channels(self) -> set[str]:
        """The channels that it is subscribed to, now or now and then."""
        return {f"user:{self.user}", "all", *(f"topic:{topic}" for topic in (*self.topics, *self.memberships))}

    def note(self, what: str) -> None:
        """Write a line into the journal."""
        self._journal.note(self.name, what)

    def complain(self, what: str) -> None:
        """Note what must not happen to a client at all."""
        self.note(f"COMPLAINT {what}")
        self.complaints.append(what)

    def welcomed(self, cursor: str, topics: list[str]) -> None:
        """Note a welcome, or that it has been subscribed to topics."""
        self.connections += not self.is_connected
        self.is_connected = True
        for channel in (f"user:{self.user}", "all", *(f"topic:{topic}" for topic in (*topics, *self.memberships))):
            self.entitled.setdefault(channel, cursor_of(cursor))

    def told_state(self, frame: dict[str, Any]) -> None:
        """Note how a welcome or a state frame says that the inbox stands."""
        counts, revision, before = frame["counts"], frame["revision"], self.told
        if frame["type"] != "welcome" and before and revision < before.revision:
            self.complain(f"told of revision {revision} after {before.revision}")
        self.told = Told(time.monotonic(), revision, counts["unread"], counts["unseen"])
        self.note(f"told of {counts['unread']} unread and {counts['unseen']} unseen, at revision {revision}")

    def called(self, channel: str, cursor: str, notification: dict[str, Any], replay: bool) -> None:
        """Note a notification."""
        key = (notification.get("data") or {}).get("key", "")
        self.replayed += replay
        self.callbacks.append(Callback(time.monotonic(), channel, cursor_of(cursor), notification["id"], key, replay))

    def told_lost(self, channels: list[str], since: str | None) -> None:
        """Note that something is gone."""
        self.note(f"told that something is lost: {', '.join(channels)}")
        self.losses.append(Loss(time.monotonic(), channels, len(self.callbacks), cursor_of(since or "0-0")))
