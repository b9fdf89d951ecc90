"""The calls of a client without I/O: their requests, retries and results.

A call is a generator. It yields steps, an `Exchange` or a `Pause`, is sent their outcomes, and returns its result. The
two clients only carry the steps out, one for threads and one for asyncio.
"""

import itertools
import logging
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from notifier.client.answer import JSON, NDJSON, Accepted, Answer, Published, Request
from notifier.client.checks import key_header, key_or_new
from notifier.client.errors import ConfigurationError, NotifierError, NotNotifier, ProblemError, Unreachable
from notifier.client.notification import Batch, encode

logger = logging.getLogger("notifier.client")

T = TypeVar("T")
NOTIFICATIONS = "/v1/notifications"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0  # seconds, before jitter


class Exchange(NamedTuple):
    """Send a request; the outcome is an `Answer`, or `Unreachable` after `timeout` seconds without one."""

    request: Request
    timeout: float


class Pause(NamedTuple):
    """Wait this many seconds."""

    seconds: float


Outcome = Answer | Unreachable | None
Steps = Generator[Exchange | Pause, Outcome, T]


def carry_out(
    steps: Steps[T], exchange: Callable[[Exchange], Answer | Unreachable], pause: Callable[[float], object]
) -> T:
    """Carry out the steps of a call, and return its result. `pause` waits so many seconds."""
    outcome: Outcome = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(step, Exchange):
            outcome = exchange(step)
        else:
            outcome = None
            pause(step.seconds)


@dataclass
class Calls:
    """The calls to one service. `timeout` limits one attempt, `deadline` a call with all its attempts, in seconds."""

    url: str
    api_key: str | None
    timeout: float = 10.0
    deadline: float = 60.0
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def publish(self, notification: Mapping[str, Any], key: str | None, deadline: float | None) -> Steps[Published]:
        """Publish one notification."""
        headers = self.headers(JSON) | {"Idempotency-Key": key_header(key_or_new(key))}
        request = Request("POST", NOTIFICATIONS, headers, encode(notification))
        answer = yield from self._attempts(request, self._end(deadline))
        return answer.checked().published()

    def publish_as_user(
        self, topic: str, notification: Mapping[str, Any], token: str, key: str | None, deadline: float | None
    ) -> Steps[Accepted]:
        """Publish to a topic as the user of a token."""
        frame = {"type": "publish", "topic": topic, "notification": notification, "idempotency_key": key_or_new(key)}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": JSON}
        request = Request("POST", "/v1/stream", headers, encode(frame))
        answer = yield from self._attempts(request, self._end(deadline))
        document = answer.checked().json()
        return Accepted(document["id"], document["cursor"])

    def publish_batch(self, batch: Batch, deadline: float | None) -> Steps[list[Published | ProblemError]]:
        """Publish a batch. The results are in the order of the lines; lines that cannot be sent are problems."""
        results = yield from self._publish_lines(batch, self._end(deadline))
        numbered = enumerate(batch.lines, batch.offset + 1)
        return [line if isinstance(line, ProblemError) else results[number] for number, line in numbered]

    def recall(self, id: str, deadline: float | None) -> Steps[None]:
        """Recall a notification."""
        request = Request("DELETE", f"{NOTIFICATIONS}/{quoted(id)}", self.headers())
        tries = itertools.count()
        answer = yield from self._attempts(request, self._end(deadline), on_try=lambda: next(tries))
        if answer.status == 404 and next(tries) > 1:
            answer.check_sender()  # an earlier attempt has recalled it, and its answer was lost
            return
        answer.checked()

    def find(self, id: str, deadline: float | None) -> Steps[list[str]]:
        """Return the channels that a notification went to."""
        request = Request("GET", f"{NOTIFICATIONS}/{quoted(id)}", self.headers())
        return list((yield from self.ask(request, deadline)).json()["channels"])

    def status(self, deadline: float | None) -> Steps[dict[str, Any]]:
        """Return the configuration of the worker that answers."""
        return dict((yield from self.ask(Request("GET", "/v1/status", self.headers()), deadline)).json())

    def ask(self, request: Request, deadline: float | None, part: str | None = None) -> Steps[Answer]:
        """Send a request that may be repeated, and return the answer if it is a success.

        `part` names the part of the service that the request needs, if older services do not have it.

        Raises:
            TooOld: the service does not have the part.
            NotNotifier, ProblemError, Unreachable
        """
        answer = yield from self.answer(request, deadline)
        answer.check_sender()
        if part and answer.status == 404:
            raise (yield from self.absence(answer, part, deadline))
        return answer.checked()

    def absence(self, answer: Answer, part: str, deadline: float | None) -> Steps[NotifierError]:
        """Return why the answer is that a part is not found: the service is older, or the URL has a wrong path."""
        known = yield from self.answer(Request("GET", NOTIFICATIONS, {}), deadline)
        return answer.checked_problem() if known.status == 404 else answer.too_old(part)

    def answer(self, request: Request, deadline: float | None) -> Steps[Answer]:
        """Send a request that may be repeated, and return the answer, also if it is an error."""
        return (yield from self._attempts(request, self._end(deadline)))

    def headers(self, kind: str | None = None) -> dict[str, str]:
        """Return the headers of a request with the API key; `kind` is the content type of the body, if there is one.

        Raises:
            ConfigurationError: there is no API key.
        """
        if not self.api_key:
            raise ConfigurationError("An API key is needed: give api_key, or set NOTIFIER_API_KEY.", "api_key")
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return headers | {"Content-Type": kind} if kind else headers

    def _publish_lines(self, batch: Batch, end: float) -> Steps[dict[int, Published | ProblemError]]:
        """Publish lines, in several requests if they are too much for one, and return the results by their numbers."""
        if batch.is_empty:
            return {}
        headers = self.headers(NDJSON) | {"Idempotency-Key": key_header(key_or_new(batch.key))}
        request = Request("POST", NOTIFICATIONS, headers, batch.body())
        answer = yield from self._attempts(request, end, wants_again=_is_unfinished)
        if answer.status == 413 and len(batch.lines) > 1:  # also if a proxy answers it
            return (yield from self._publish_parts(batch.parts(len(batch.lines) // 2), end))
        if answer.status == 413:
            return {batch.offset + 1: answer.checked_problem()}
        results = answer.checked().lines()
        taken = _taken(batch, results)
        if taken == len(batch.lines):
            return results
        if len(batch.lines) == 1:
            return {batch.offset + 1: _only(answer, results)}
        looked_at = range(batch.offset + 1, batch.offset + taken + 1)
        done = {number: result for number, result in results.items() if number in looked_at}
        rest = batch.parts(taken or len(batch.lines) // 2)[1 if taken else 0 :]
        return done | (yield from self._publish_parts(rest, end))

    def _publish_parts(self, parts: Sequence[Batch], end: float) -> Steps[dict[int, Published | ProblemError]]:
        results: dict[int, Published | ProblemError] = {}
        for part in parts:
            results |= yield from self._publish_lines(part, end)
        return results

    def _attempts(
        self,
        request: Request,
        end: float,
        wants_again: Callable[[Answer], bool] = lambda answer: False,
        on_try: Callable[[], object] = lambda: None,
    ) -> Steps[Answer]:
        """Send a request until its answer is final, or the deadline has passed.

        `wants_again` returns whether an answer of the service must be retried; `on_try` is called before each attempt.

        Raises:
            Unreachable: the last attempt had no answer.
        """
        for failures in itertools.count():
            on_try()
            outcome = yield Exchange(request, max(min(self.timeout, end - self.clock()), 0.001))
            if isinstance(outcome, Answer) and not (outcome.is_temporary or wants_again(outcome)):
                return outcome
            pause = self._pause(failures, outcome)
            if self.clock() + pause >= end or (isinstance(outcome, Unreachable) and outcome.is_permanent):
                return _or_raise(outcome)
            logger.warning("%s; retrying in %.1f seconds", _why(outcome), pause)
            yield Pause(pause)
        raise AssertionError("unreachable")

    def _pause(self, failures: int, outcome: Outcome) -> float:
        """Return how long to wait, in seconds: with full jitter, and never less than the service asks for."""
        jitter = self.random() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures, 10))
        return _asked(outcome) + jitter

    def _end(self, deadline: float | None) -> float:
        return self.clock() + (self.deadline if deadline is None else deadline)


def quoted(name: str) -> str:
    """Return a name escaped as a part of a path.

    Raises:
        ConfigurationError: it is not valid Unicode, as an argument of a command may be.
    """
    return _quote(lambda: quote(name, safe=""))


def query_of(items: Mapping[str, object]) -> str:
    """Return a query string of these items, without those that are None. A list becomes several parameters.

    Raises:
        ConfigurationError: see `quoted`.
    """
    given = {name: value for name, value in items.items() if value is not None}
    return _quote(lambda: urlencode(given, doseq=True))


def _quote(how: Callable[[], str]) -> str:
    try:
        return how()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{error.object!r} is not valid Unicode.") from error


def _or_raise(outcome: Outcome) -> Answer:
    if isinstance(outcome, Answer):
        return outcome
    assert isinstance(outcome, Unreachable)
    raise outcome.with_advice()


def _asked(outcome: Outcome) -> float:
    """Return how many seconds the service asks to wait. In a batch, some line may succeed after the shortest wait."""
    if not isinstance(outcome, Answer):
        return 0
    if outcome.retry_after is None and _is_unfinished(outcome):
        failed = (result for result in outcome.lines().values() if isinstance(result, ProblemError))
        return min(result.retry_after or 0 for result in failed if result.is_temporary)
    return outcome.retry_after or 0


def _why(outcome: Outcome) -> str:
    return f"{outcome.url} answers {outcome.status}" if isinstance(outcome, Answer) else str(outcome)


def _is_unfinished(answer: Answer) -> bool:
    """Return whether a line of a batch failed temporarily. A retry does not publish the other lines again."""
    if answer.status != 200 or "notifier-version" not in answer.headers:
        return False
    return any(isinstance(result, ProblemError) and result.is_temporary for result in answer.lines().values())


def _taken(batch: Batch, results: Mapping[int, Published | ProblemError]) -> int:
    """Return how many lines the service has read, from the first.

    If it has not read all, its last answer says that there were too many, or that they were too large.
    """
    numbers = [number for number, line in enumerate(batch.lines, batch.offset + 1) if isinstance(line, bytes)]
    if all(number in results for number in numbers):
        return len(batch.lines)
    return max(max(results, default=0) - batch.offset - 1, 0)


def _only(answer: Answer, results: Mapping[int, Published | ProblemError]) -> ProblemError:
    """Return why the service did not read a batch of a single line.

    Raises:
        NotNotifier: the answer gives no reason.
    """
    for result in results.values():
        if isinstance(result, ProblemError):
            return result
    raise NotNotifier(f"The answer of {answer.url} lacks a line.")
