"""The client's side of a stream, without I/O.

`Listener.steps` is a generator that yields steps and is sent their outcomes. It connects, resumes from its cursor,
drops duplicates, refreshes its token, and reconnects after every end that is not permanent. The clients carry the
steps out. docs/protocol.md describes the frames.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from notifier.client.acks import Acks
from notifier.client.answer import Answer
from notifier.client.errors import NotifierError, NotNotifier, ProblemError, StreamClosed, Unreachable
from notifier.client.events import Lost, Position, Received, Removed, State
from notifier.client.inbox import ACTIONS, Counts, read_change, read_counts
from notifier.client.outcomes import SILENCE, Closed, Opened
from notifier.client.progress import Progress
from notifier.client.reconnects import Ended, Pauses, error_of, reason
from notifier.client.steps import SUBPROTOCOL, Close, Connect, Emit, FetchToken, Receive, Send, Step, Steps, Wait

logger = logging.getLogger("notifier.client")

TOKEN_REFUSED, OVERLOADED = 4001, (4004, 4005)
_LONGEST_ASKED = 3600.0  # seconds that a service may ask to wait
_PERMANENT = (1002, 1007, 1009)  # close codes that a reconnect would end with again
# Times are in seconds.
_STABLE_AFTER = 30.0  # a shorter connection counts as a failure, so that pauses grow
_ANSWER_WITHIN = 30.0  # the handshake and the welcome, each


@dataclass
class Listener:
    """One stream of one user. `inbox`: it emits `State`.

    The initial connect must succeed within `deadline`; afterwards it reconnects indefinitely. `may_refresh`: another
    `FetchToken` may return another token. `is_welcome`: the stream was connected at least once.
    """

    topics: Sequence[str] = ()
    since: str | Position | None = None
    may_refresh: bool = False
    deadline: float = 60.0
    inbox: bool = False
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    _progress: Progress = field(init=False)
    _token: str | None = field(default=None, init=False)
    _pauses: Pauses = field(init=False)
    _refusals: int = field(default=0, init=False)  # of tokens, in a row
    is_welcome: bool = field(default=False, init=False)
    counts: Counts | None = field(default=None, init=False)  # None before the welcome of a service that has inboxes
    _reconnect_in: float | None = field(default=None, init=False)  # what the service asks for
    _acks: Acks = field(init=False)

    def __post_init__(self) -> None:
        self._acks = Acks(self.clock)
        self._pauses = Pauses(self.random)
        self._progress = Progress(Position(self.since) if isinstance(self.since, str) else self.since)

    @property
    def position(self) -> Position | None:
        """Where to resume after the last emitted event."""
        return self._progress.position

    def steps(self) -> Steps:
        """Yield the steps of the stream. Only an exception ends it.

        Raises:
            ProblemError: the service rejects the token or a topic.
            StreamClosed: the service forbids to reconnect.
            NotNotifier, TooOld, TooNew: the answer is from another server, or an incompatible version.
            Unreachable: the initial connect did not succeed within the deadline.
        """
        end = self.clock() + self.deadline
        while True:
            self._reconnect_in = None
            ended = yield from self._attempt()
            yield Close()
            pause = self._pause_after(ended)
            if not self.is_welcome and self.clock() + pause > end:
                raise error_of(ended)
            logger.warning("%s; retrying in %.1f seconds", reason(ended), pause)
            yield Wait(pause)

    def _attempt(self) -> Generator[Step, Any, Ended]:
        """Connect, and stay connected; return how the connection ended."""
        if self._token is None:
            token = yield FetchToken()
            if isinstance(token, Exception):
                if not self.is_welcome:
                    raise token
                return token
            self._token = token
        opened = yield Connect(self._token, _ANSWER_WITHIN)
        if not isinstance(opened, Opened):
            return opened  # type: ignore[no-any-return]
        if opened.subprotocol != SUBPROTOCOL:
            raise NotNotifier(f"The server accepts WebSockets, but not the subprotocol {SUBPROTOCOL}: check the URL.")
        self._acks.connect()
        yield Send(self._hello())
        return (yield from self._converse())

    def _hello(self) -> str:
        hello: dict[str, Any] = {"type": "hello", "topics": list(self.topics)}
        if self._progress.cursor:
            hello["since"] = str(self._progress.cursor)
        return json.dumps(hello)

    def _converse(self) -> Generator[Step, Any, Closed]:
        silence, began = _ANSWER_WITHIN, self.clock()
        while True:
            text = yield from self._next_message(silence)
            if isinstance(text, Closed):
                if self.clock() - began > _STABLE_AFTER:
                    self._pauses.reset()
                return text
            silence = (yield from self._read(text)) or silence

    def _read(self, text: str) -> Generator[Step, Any, float | None]:
        """Process a message; return how long silence may last from now on, in seconds, if the message says so.

        After the first welcome a message that cannot be read is skipped: another client may have caused it.

        Raises:
            NotNotifier: the message cannot be read, and there was no welcome.
        """
        try:
            frame = _decode(text)
            yield from self._receive(frame)
            return 2.0 * frame["heartbeat"] if frame["type"] == "welcome" else None
        except NotifierError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            if not self.is_welcome:
                raise NotNotifier(f"The server sends messages that are not frames: {error!r}.") from error
            logger.warning("Skipped a message that cannot be read: %r, %.200s", error, text)
            return None

    def _next_message(self, silence: float) -> Generator[Step, Any, str | Closed]:
        """Wait for a message; if an acknowledgement is due before one arrives, send it."""
        patience = self._acks.patience
        if patience is not None and patience > 0:
            text: str | Closed = yield Receive(patience)
            if text != SILENCE:
                return text
        if ack := self.take_ack():
            yield Send(ack)
        return (yield Receive(silence))  # type: ignore[no-any-return]

    def take_ack(self) -> str | None:
        """Return the frame that acknowledges the emitted notifications; None if all are acknowledged."""
        return self._acks.take(self._progress.cursor)

    def _receive(self, frame: dict[str, Any]) -> Steps:
        match frame["type"]:
            case "welcome":
                if self._progress.cursor is None:  # otherwise the replay follows, and may be interrupted
                    self._progress.reach(frame["cursor"])
                self._acks.welcome(self._progress.cursor, "counts" in frame)
                self.is_welcome, self._refusals = True, 0
                yield from _lost(frame["lost"])
                yield from self._update_inbox(frame)
            case "state":
                yield from self._update_inbox(frame)
            case "notification":
                notification, channel, cursor = frame["notification"], frame["channel"], frame["cursor"]
                if self._progress.is_new(notification["id"], cursor):
                    replay = frame.get("replay", False)
                    self._acks.emit()
                    yield Emit(Received(notification["id"], channel, cursor, replay, notification))
            case "removed":
                if self._progress.is_new("-" + frame["id"], frame["cursor"]):
                    yield Emit(Removed(frame["id"], frame["channel"], frame["cursor"]))
            case "lost":
                yield from _lost(frame["channels"])
            case "ping":
                self._progress.reach(frame.get("cursor", ""))
            case "expiring":
                yield from self._refresh_token()
            case "ok" if frame.get("ref") == "auth":
                self._require_topics(frame["topics"])
            case "error" if frame.get("ref") == "auth":
                # The old token is still valid for a while. When it expires, a new one is fetched again.
                logger.warning("The new token was rejected: %s", ProblemError(frame["problem"]))
            case "error":
                raise ProblemError(frame["problem"])
            case "drain":
                self._reconnect_in = frame["retry_after_ms"] / 1000

    def _update_inbox(self, frame: dict[str, Any]) -> Steps:
        """Store the counts of the inbox, and emit the state if the caller wants it."""
        known, self.counts = self.counts, read_counts(frame) if "counts" in frame else None
        if self.inbox and self.counts:  # an older service has no inboxes
            yield Emit(_state(frame, self.counts, known))

    def _refresh_token(self) -> Steps:
        if not self.may_refresh:
            return
        token = yield FetchToken()
        if isinstance(token, Exception):
            logger.warning("Fetching a new token failed: %s", token)
            return
        self._token = token
        yield Send(json.dumps({"type": "auth", "ref": "auth", "token": token}))

    def _require_topics(self, granted: list[str]) -> None:
        for topic in self.topics:
            if topic not in granted:
                detail = f"The new token does not grant the topic {topic}."
                raise ProblemError({"status": 403, "code": "forbidden", "title": "Forbidden.", "detail": detail})

    def _pause_after(self, ended: Ended) -> float:
        """Return how long to wait before the next attempt, in seconds.

        Raises:
            ProblemError, StreamClosed, NotNotifier, TooOld, TooNew, Unreachable: the end is permanent.
        """
        asked = self._reconnect_in
        if isinstance(ended, Closed):
            if ended.code >= 4500 or ended.code in _PERMANENT:
                raise StreamClosed(ended.code, ended.reason)
            if ended.code == TOKEN_REFUSED and self.may_refresh:
                self._token = None
            if ended.code in OVERLOADED:
                self._pauses.lengthen()
        elif isinstance(ended, Answer):
            self._judge(ended)
            asked = ended.retry_after
        elif isinstance(ended, Unreachable) and ended.is_permanent:
            raise ended.with_advice()
        jitter = self._pauses.next()
        if isinstance(ended, Answer):
            return min(asked or 0, _LONGEST_ASKED) + jitter
        return jitter if asked is None else min(asked, _LONGEST_ASKED)

    def _judge(self, answer: Answer) -> None:
        """Raise the error of a rejected handshake, unless a retry may succeed."""
        if answer.status == 401 and self.may_refresh and not self._refusals:
            self._token, self._refusals = None, 1
            return
        # During a restart of the service, its proxy may answer anything.
        if answer.is_temporary or (self.is_welcome and "notifier-version" not in answer.headers):
            return
        answer.checked()
        raise NotNotifier(f"{answer.url} answers {answer.status} to a WebSocket: a proxy does not forward the upgrade.")


def _decode(text: str) -> dict[str, Any]:
    frame = json.loads(text)
    if not isinstance(frame, dict) or "type" not in frame:
        raise ValueError("no object with a type")
    return frame


def _state(frame: dict[str, Any], counts: Counts, known: Counts | None) -> State:
    changes = tuple(map(read_change, frame.get("changes", ())))
    topics = tuple(frame["memberships"]) if "memberships" in frame else None
    # A frame may repeat changes that the welcome included, and leaves out changes if they are too many.
    fresh = 0 if known is None else sum(change.revision > known.revision for change in changes)
    is_complete = known is not None and counts.revision == known.revision + fresh
    is_enough = all(change.action in ACTIONS for change in changes)
    return State(counts, changes, topics, reload=not (is_complete and is_enough))


def _lost(channels: list[str]) -> Steps:
    if channels:
        yield Emit(Lost(tuple(channels)))
