"""The client's side of a stream, without I/O: what is to be done, and what to make of what comes.

`Listener.steps` is a generator. It yields a step, is sent its outcome, and so on for as long as the stream is wanted:
it connects, resumes by its cursor, drops what came twice, refreshes its token, and comes back after every end that is
not for good. The clients carry the steps out. docs/protocol.md describes the wire.
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
from notifier.client.errors import NotNotifier, ProblemError, StreamClosed, Unreachable
from notifier.client.events import Lost, Position, Received, Removed, State
from notifier.client.inbox import ACTIONS, Counts, read_change, read_counts
from notifier.client.progress import Progress
from notifier.client.steps import (
    SILENCE,
    Close,
    Closed,
    Connect,
    Emit,
    FetchToken,
    Opened,
    Receive,
    Send,
    Step,
    Steps,
    Wait,
)

logger = logging.getLogger("notifier.client")

SUBPROTOCOL = "notifier.v1"
TOKEN_REFUSED, OVERLOADED = 4001, 4004
_STAY_AWAY = (1002, 1007, 1009)  # it would happen again
# Times are in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_STABLE_AFTER = 30.0  # else who is accepted and dropped at once would try every second
_ANSWER_WITHIN = 30.0  # the handshake and the welcome, each


@dataclass
class Listener:
    """One stream of one user. `inbox` says whether `State` is to be emitted.

    `deadline` is how long the first connection may take; one that was there once is sought for ever.
    `may_refresh` says whether another `FetchToken` may bring another token. `is_welcome` tells whether there was a
    welcome yet.
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
    _failures: int = field(default=0, init=False)
    _refusals: int = field(default=0, init=False)  # of tokens, in a row
    is_welcome: bool = field(default=False, init=False)
    counts: Counts | None = field(default=None, init=False)  # None before the welcome of a service that has inboxes
    _come_back_in: float | None = field(default=None, init=False)
    _acks: Acks = field(init=False)

    def __post_init__(self) -> None:
        self._acks = Acks(self.clock)
        self._progress = Progress(Position(self.since) if isinstance(self.since, str) else self.since)

    @property
    def position(self) -> Position | None:
        """Where to resume after the last event that was emitted."""
        return self._progress.position

    def steps(self) -> Steps:
        """Listen. Ends by an exception only.

        Raises:
            ProblemError: the service refuses the token or a topic.
            StreamClosed: it wants us to stay away.
            NotNotifier, TooOld, TooNew: something else answers.
            Unreachable: there was no first connection within the deadline.
        """
        end = self.clock() + self.deadline
        while True:
            self._come_back_in = None
            ended = yield from self._attempt()
            yield Close()
            pause = self._pause_after(ended)
            if not self.is_welcome and self.clock() + pause > end:
                raise _unreachable(ended)
            logger.warning("%s; the next try is in %.1f seconds", _why(ended), pause)
            yield Wait(pause)

    def _attempt(self) -> Generator[Step, Any, "Closed | Unreachable | Answer | Exception"]:
        """Connect and stay connected; return how that ended."""
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
            raise NotNotifier(f"What answers accepts WebSockets, but does not speak {SUBPROTOCOL}: check the URL.")
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
            text = yield from self._hear(silence)
            if isinstance(text, Closed):
                if self.clock() - began > _STABLE_AFTER:
                    self._failures = 0
                return text
            frame = _decode(text)
            if frame["type"] == "welcome":
                silence = 2.0 * frame["heartbeat"]
            yield from self._receive(frame)

    def _hear(self, silence: float) -> Generator[Step, Any, str | Closed]:
        """Wait for a message; if an acknowledgement is due before one comes, send it."""
        patience = self._acks.patience
        if patience is not None and patience > 0:
            text: str | Closed = yield Receive(patience)
            if text != SILENCE:
                return text
        if ack := self.take_ack():
            yield Send(ack)
        return (yield Receive(silence))  # type: ignore[no-any-return]

    def take_ack(self) -> str | None:
        """Return the frame that acknowledges what was emitted, if that was not done yet."""
        return self._acks.take(self._progress.cursor)

    def _receive(self, frame: dict[str, Any]) -> Steps:
        match frame["type"]:
            case "welcome":
                self.is_welcome, self._refusals = True, 0
                if self._progress.cursor is None:  # with one of our own the replay is yet to come, and may be cut
                    self._progress.reach(frame["cursor"])
                self._acks.welcome(self._progress.cursor, "counts" in frame)
                yield from _lost(frame["lost"])
                yield from self._stand(frame)
            case "state":
                yield from self._stand(frame)
            case "notification":
                notification, channel, cursor = frame["notification"], frame["channel"], frame["cursor"]
                if self._progress.is_new(notification["id"], cursor):
                    replay = frame.get("replay", False)
                    self._acks.owe()
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
                # The old token is good for a while yet, and its end will ask again.
                logger.warning("The fresh token is refused: %s", ProblemError(frame["problem"]))
            case "error":
                raise ProblemError(frame["problem"])
            case "drain":
                self._come_back_in = frame["retry_after_ms"] / 1000

    def _stand(self, frame: dict[str, Any]) -> Steps:
        """Note how the inbox stands, and give it on where that is wanted."""
        known, self.counts = self.counts, read_counts(frame) if "counts" in frame else None
        if self.inbox and self.counts:  # an older service has no inboxes
            yield Emit(_state(frame, self.counts, known))

    def _refresh_token(self) -> Steps:
        if not self.may_refresh:
            return
        token = yield FetchToken()
        if isinstance(token, Exception):
            logger.warning("No fresh token: %s", token)
            return
        self._token = token
        yield Send(json.dumps({"type": "auth", "ref": "auth", "token": token}))

    def _require_topics(self, granted: list[str]) -> None:
        for topic in self.topics:
            if topic not in granted:
                detail = f"The fresh token does not grant the topic {topic}."
                raise ProblemError({"status": 403, "code": "forbidden", "title": "Forbidden.", "detail": detail})

    def _pause_after(self, ended: Closed | Unreachable | Answer | Exception) -> float:
        """Return how long to wait until the next try.

        Raises:
            ProblemError, StreamClosed, NotNotifier, TooOld, TooNew, Unreachable: there shall be none.
        """
        asked = self._come_back_in
        if isinstance(ended, Closed):
            if ended.code >= 4500 or ended.code in _STAY_AWAY:
                raise StreamClosed(ended.code, ended.reason)
            if ended.code == TOKEN_REFUSED and self.may_refresh:
                self._token = None
            if ended.code == OVERLOADED:
                self._failures = max(self._failures, 3)
        elif isinstance(ended, Answer):
            self._judge(ended)
            asked = ended.retry_after
        elif isinstance(ended, Unreachable) and ended.is_permanent:
            raise ended.with_advice()
        jitter = self.random() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        if isinstance(ended, Answer):
            return (asked or 0) + jitter
        return jitter if asked is None else asked

    def _judge(self, answer: Answer) -> None:
        """Raise what a refused handshake says, unless another try may fare better."""
        if answer.status == 401 and self.may_refresh and not self._refusals:
            self._token, self._refusals = None, 1
            return
        # While the service restarts, its proxy may answer anything.
        if answer.is_temporary or (self.is_welcome and "notifier-version" not in answer.headers):
            return
        answer.checked()
        raise NotNotifier(f"{answer.url} answers {answer.status} to a WebSocket: a proxy drops the upgrade.")


def _decode(text: str) -> dict[str, Any]:
    try:
        frame = json.loads(text)
    except ValueError as error:
        raise NotNotifier(f"What answers sends no JSON: {error}.") from error
    if not isinstance(frame, dict) or "type" not in frame:
        raise NotNotifier("What answers sends no frames.")
    return frame


def _state(frame: dict[str, Any], counts: Counts, known: Counts | None) -> State:
    changes = tuple(map(read_change, frame.get("changes", ())))
    topics = tuple(frame["memberships"]) if "memberships" in frame else None
    is_told = known is not None and known.revision <= counts.revision <= known.revision + len(changes)
    is_enough = all(change.action in ACTIONS for change in changes)
    return State(counts, changes, topics, reload=not (is_told and is_enough))


def _lost(channels: list[str]) -> Steps:
    if channels:
        yield Emit(Lost(tuple(channels)))


def _why(ended: object) -> str:
    match ended:
        case Closed(code, reason):
            return f"The stream has ended ({code} {reason}".rstrip() + ")"
        case Answer():
            return f"{ended.url} answers {ended.status}"
    return str(ended)


def _unreachable(ended: Closed | Unreachable | Answer | Exception) -> Exception:
    if isinstance(ended, Answer):
        try:
            ended.checked()
        except Exception as error:
            return error
    failure = ended if isinstance(ended, Unreachable) else Unreachable(_why(ended))
    return failure.with_advice()
