"""Sessions: the protocol of one connection as a state machine. Frames and time go in, actions come out."""

import math
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from notifier.errors import (
    Forbidden,
    HeartbeatLost,
    HelloTimeout,
    InvalidToken,
    IssuerUnavailable,
    Overloaded,
    Problem,
    ProtocolViolation,
    StreamForbidden,
    TokenExpired,
    TokenRefused,
    TooManySubscriptions,
)
from notifier.protocol import frames, subscribing
from notifier.protocol.frames import Ack, Auth, ClientFrame, Hello, InboxFrame, Publish, Subscribe, Unsubscribe
from notifier.protocol.identity import Identity
from notifier.protocol.inbox_frames import Acknowledge, Marking, read_ack, read_marking
from notifier.protocol.notification import Limits
from notifier.protocol.publishing import Publishing
from notifier.protocol.publishing import read as read_publishing
from notifier.protocol.subscribing import Attach, Join, Leave, may_read


class State(Enum):
    """The state of a session. `ATTACHING` lasts from the hello to the welcome."""

    GREETING = "greeting"
    ATTACHING = "attaching"
    READY = "ready"


_LATEST_NOTICE = 10.0  # seconds before a token expires; clients of long polls send a hello more often than that
_MOST_OF_STRANGERS = 8  # frames: a hello, and some pings


class Rules(NamedTuple):
    """The rules that all sessions of a worker share. Times are in seconds.

    `verify` takes a token and a Unix time. If it raises `KeysPending`, so does the session, which has not changed: the
    frame must be repeated. `count_publication` and `count_action` raise `RateLimited` if a user has sent too many.
    `share` returns the string that other sessions have for a topic, so that all of them store it once.
    """

    verify: Callable[[str, float], Identity]
    hello_timeout: float = 10
    attach_timeout: float = 10
    heartbeat: float = 25
    expiry_notice: float = 60
    max_topics: int = 100
    limits: Limits = Limits()
    max_inbox_ids: int = 1000
    count_publication: Callable[[str], None] = lambda user: None
    count_action: Callable[[str], None] = lambda user: None
    share: Callable[[str], str] = lambda topic: topic


class Reply(NamedTuple):
    """Send a frame."""

    frame: bytes


class RefuseToken(NamedTuple):
    """Send a frame that rejects an invalid token, which counts as a failed authentication."""

    frame: bytes


class SendPing(NamedTuple):
    """Send a ping."""


Action = Attach | Join | Leave | Publishing | Marking | Acknowledge | Reply | RefuseToken | SendPing


class Session:
    """The protocol of one connection. `now` is always in Unix seconds."""

    __slots__ = (
        "_due",
        "_is_active",
        "_ping_at",
        "_rules",
        "_strange",
        "_warn_at",
        "identity",
        "state",
        "topics",
    )

    def __init__(
        self, rules: Rules, now: float, identity: Identity | None = None, hello_timeout: float | None = None
    ) -> None:
        self._rules = rules
        self.state = State.GREETING
        self.identity = identity
        self.topics: tuple[str, ...] = ()
        patience = rules.hello_timeout if hello_timeout is None else hello_timeout
        self._due = now + patience  # deadline of the hello, then of the welcome
        self._ping_at = now + rules.heartbeat
        self._is_active = True  # since the last ping
        self._warn_at = math.inf  # some time before the token expires
        self._strange = 0  # frames before the client has authenticated

    def receive(self, text: str, now: float) -> list[Action]:
        """Return the actions that a frame of the client causes.

        Raises:
            Disconnect: the connection must be closed.
        """
        try:
            return self._take(frames.decode(text), now)
        except Problem as problem:
            return self._refuse(problem)

    def take(self, frame: ClientFrame, now: float) -> list[Action]:
        """Return the actions that a frame causes which did not arrive as text.

        Raises:
            Disconnect: the connection must be closed.
        """
        try:
            return self._take(frame, now)
        except Problem as problem:
            return self._refuse(problem)

    def count_stranger(self) -> None:
        """Count a frame of a client that has not authenticated.

        Raises:
            ProtocolViolation: it sends more than a hello and some pings.
        """
        self._strange += 1
        if self._strange > _MOST_OF_STRANGERS:
            raise ProtocolViolation("too many frames before the hello")

    def note_activity(self) -> None:
        """Note that bytes of the client arrived, or that it reads: it needs no answer to the last ping."""
        self._is_active = True

    @property
    def is_welcome(self) -> bool:
        """Whether the welcome has been sent."""
        return self.state is State.READY

    def welcomed(self) -> None:
        """Note that the welcome has been sent."""
        self.state = State.READY
        self._due = math.inf  # unlike the deadline that has passed, it takes no memory of its own

    def tick(self, now: float) -> list[Action]:
        """Return the actions that are due.

        Raises:
            Disconnect: a deadline has passed, and the connection must be closed.
        """
        if self.state is State.GREETING and now >= self._due:
            raise HelloTimeout()
        if self.state is State.ATTACHING and now >= self._due:
            raise Overloaded("broker out of reach")
        return self._expiry(now) + self._ping(now)

    def next_tick(self) -> float:
        """Return when `tick` is due again."""
        due = self._ping_at if self.is_welcome else min(self._ping_at, self._due)
        if self.identity is None:
            return due
        return min(due, self._warn_at, self.identity.expires)

    def _take(self, frame: ClientFrame, now: float) -> list[Action]:
        if isinstance(frame, Hello) is not (self.state is State.GREETING):
            raise ProtocolViolation(f"no {type(frame).__name__.lower()} is allowed now")
        match frame:
            case Hello():
                return [self._hello(frame, now)]
            case Subscribe():
                return [self._subscribe(frame)]
            case Unsubscribe():
                return [self._unsubscribe(frame)]
            case Auth():
                return [self._auth(frame, now)]
            case Publish():
                return [self._publish(frame)]
            case Ack():
                return [read_ack(frame)]
            case _:
                return [self._mark(frame)]

    def _refuse(self, problem: Problem) -> list[Action]:
        if self.state is State.GREETING:
            raise ProtocolViolation(problem.detail[:100]) from problem
        frame = frames.error(problem)
        return [RefuseToken(frame) if isinstance(problem, InvalidToken) else Reply(frame)]

    def _hello(self, frame: Hello, now: float) -> Action:
        since = frames.decode_cursor(frame.since)
        identity = self.identity
        if frame.token is not None:
            try:
                identity = self._rules.verify(frame.token, now)
            except (InvalidToken, TokenExpired) as problem:
                raise TokenRefused(problem.detail[:100]) from problem
            except IssuerUnavailable as problem:
                raise Overloaded("keys of the token's issuer unavailable") from problem
            if self.identity and identity.user != self.identity.user:
                raise StreamForbidden("the token belongs to another user than the request")
        if identity is None:
            raise TokenRefused("no token")
        self._adopt(identity, now)
        asked = tuple(dict.fromkeys(frame.topics))
        if len(asked) > self._rules.max_topics:
            raise ProtocolViolation(f"at most {self._rules.max_topics} topics")
        share = self._rules.share
        granted = {topic: share(identity.scoped(topic)) for topic in asked if may_read(identity, topic)}
        self.topics = tuple(granted.values())
        self.state = State.ATTACHING
        self._due = now + self._rules.attach_timeout
        refused = (subscribing.refusal(topic) for topic in asked if topic not in granted)
        return Attach(since, self.topics, tuple(refused))

    def _subscribe(self, frame: Subscribe) -> Action:
        assert self.identity is not None
        join = subscribing.read(frame, self.identity)
        if join.topic not in self.topics:
            if len(self.topics) >= self._rules.max_topics:
                raise TooManySubscriptions(f"At most {self._rules.max_topics} topics.", ref=join.ref)
            self.topics += (self._rules.share(join.topic),)
        return join

    def _unsubscribe(self, frame: Unsubscribe) -> Action:
        assert self.identity is not None
        left = self.identity.scoped(frame.topic)
        is_subscribed = left in self.topics
        self.topics = tuple(topic for topic in self.topics if topic != left)
        return Leave(frame.ref, (left,) if is_subscribed else ())

    def _auth(self, frame: Auth, now: float) -> Action:
        try:
            identity = self._rules.verify(frame.token, now)
        except (InvalidToken, TokenExpired, IssuerUnavailable) as problem:
            problem.fields["ref"] = frame.ref
            raise
        if self.identity and identity.user != self.identity.user:
            raise Forbidden("The token belongs to another user.", ref=frame.ref)
        self._adopt(identity, now)
        left = tuple(topic for topic in self.topics if not identity.may_read(topic))
        self.topics = tuple(topic for topic in self.topics if topic not in left)
        return Leave(frame.ref, left)

    def _publish(self, frame: Publish) -> Action:
        assert self.identity is not None
        self._count(self._rules.count_publication, frame.ref)  # first: reading costs most, also if it is not valid
        return read_publishing(frame, self.identity, self._rules.limits)

    def _mark(self, frame: InboxFrame) -> Action:
        self._count(self._rules.count_action, frame.ref)
        return read_marking(frame, self._rules.max_inbox_ids)

    def _count(self, count: Callable[[str], None], ref: str | None) -> None:
        assert self.identity is not None
        try:
            count(self.identity.user)
        except Problem as problem:
            problem.fields["ref"] = ref
            raise

    def _adopt(self, identity: Identity, now: float) -> None:
        """Use a new token. If it is short-lived, warn its client half-way: its tokens may all be short-lived."""
        self.identity = identity
        half = (identity.expires - now) / 2
        self._warn_at = identity.expires - min(self._rules.expiry_notice, max(half, _LATEST_NOTICE))

    def _expiry(self, now: float) -> list[Action]:
        if self.identity is None:
            return []
        left = self.identity.expires - now
        if left <= 0:
            raise TokenRefused("token expired")
        if now < self._warn_at or self.state is not State.READY:
            return []
        self._warn_at = math.inf
        return [Reply(frames.expiring(int(left)))]

    def _ping(self, now: float) -> list[Action]:
        if now < self._ping_at:
            return []
        if not self._is_active:
            raise HeartbeatLost()
        self._is_active = False
        self._ping_at = now + self._rules.heartbeat
        return [SendPing()]
