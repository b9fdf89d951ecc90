"""The rules of calls: what is asked, how often, and what is made of the answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.client.answer import Channel
from notifier.client.calls import Calls, Exchange, Pause, carry_out
from notifier.client.errors import (
    ConfigurationError,
    NotifierError,
    NotNotifier,
    ProblemError,
    TooNew,
    TooOld,
    Unreachable,
)
from notifier.client.notification import Batch, malformed
from tests.kit.cases import rows
from tests.kit.play import URL, VERSION, Clock, Play, html, problem, refused, reply

PUBLISHED = {"id": "n-1", "created_at": "2026-11-21T07:58:51.855Z", "channels": []}
HELLO = {"to": {"users": ["alice"]}, "title": "Hello"}


def calls(**options: Any) -> Calls:
    """Return calls whose jitter is always the longest."""
    return Calls(URL, **{"api_key": "the-key", "clock": Clock(), "random": lambda: 1.0} | options)


def line(number: int, status: int = 201, **members: object) -> dict[str, Any]:
    """Return a line of the answer to a batch."""
    return {"line": number, "status": status} | (PUBLISHED if status == 201 else {"code": "no"}) | members


def batch(*lines: Any, key: str = "job:0", offset: int = 0) -> Play[Any]:
    """Play the publication of a batch."""
    return Play(calls().publish_batch(Batch(key, list(lines), offset), None))


class TestPublish:
    """One notification."""

    def test_request(self) -> None:
        """It goes as JSON, with the API key and an idempotency key."""
        step = Play(calls().publish(HELLO, None, None)).step
        assert (step.request.method, step.request.path) == ("POST", "/v1/notifications")
        assert json.loads(step.request.body) == HELLO
        assert step.request.headers["Authorization"] == "Bearer the-key"
        assert step.request.headers["Content-Type"] == "application/json"
        assert len(step.request.headers["Idempotency-Key"]) == 32
        assert step.timeout == 10

    @rows("key", ["", "é", "a\nb", "\u2028", "k" * 256, "\ud800"])
    def test_wrong_key(self, key: str) -> None:
        """An invalid idempotency key is rejected before a request is sent."""
        for steps in (
            calls().publish(HELLO, key, None),
            calls().publish_as_user("orders", HELLO, "the-token", key, None),
            calls().publish_batch(Batch(key, [b"{}"]), None),
        ):
            with pytest.raises(ProblemError) as caught:
                next(steps)
            assert (caught.value.status, caught.value.code) == (422, "invalid_idempotency_key")

    @rows(
        ("key", "header"),
        [("a b", "a b"), ('x"', 'x"'), ('"x', '"\\"x"'), ('"x\\"', '"\\"x\\\\\\""'), (" x ", '" x "'), ("\\x", "\\x")],
    )
    def test_key(self, key: str, header: str) -> None:
        """A key that a header would change is sent as a quoted string."""
        assert Play(calls().publish(HELLO, key, None)).step.request.headers["Idempotency-Key"] == header

    def test_answer(self) -> None:
        """The answer becomes an object."""
        play = Play(calls().publish(HELLO, None, None))
        channels = [
            {"channel": "all", "cursor": "1-0", "online": True},
            {"channel": "user:alice", "cursor": "2-0", "online": True, "suppressed": "muted_type"},
        ]
        play.answer(reply(201, PUBLISHED | {"channels": channels}, idempotency_replayed="true"))
        assert play.result.id == "n-1"
        assert play.result.created_at.isoformat() == "2026-11-21T07:58:51.855000+00:00"
        assert play.result.channels == (Channel("all", "1-0", True), Channel("user:alice", "2-0", True, "muted_type"))
        assert play.result.replayed

    def test_own_key(self) -> None:
        """A key of the caller's own is used."""
        step = Play(calls().publish(HELLO, "order-1042", None)).step
        assert step.request.headers["Idempotency-Key"] == "order-1042"

    def test_keys_differ(self) -> None:
        """Two calls have two keys."""
        first, second = (Play(calls().publish(HELLO, None, None)).step for _ in range(2))
        assert first.request.headers["Idempotency-Key"] != second.request.headers["Idempotency-Key"]

    def test_no_api_key(self) -> None:
        """Without an API key nothing is sent."""
        with pytest.raises(ConfigurationError, match="NOTIFIER_API_KEY"):
            Play(calls(api_key=None).publish(HELLO, None, None))

    @rows("data", [object(), float("nan"), {1: {2}}])
    def test_no_json(self, data: object) -> None:
        """A notification that cannot be JSON is rejected as the service would reject it, and not sent."""
        with pytest.raises(ProblemError) as raised:
            Play(calls().publish(HELLO | {"data": data}, None, None))
        assert raised.value.code == "malformed_json"

    def test_refused(self) -> None:
        """A problem has all fields of the service's answer."""
        faults = [{"pointer": "/tilte", "code": "unknown_field", "detail": "The known fields are title."}]
        document = {"status": 422, "code": "invalid_notification", "title": "Not valid.", "errors": faults}
        with pytest.raises(ProblemError) as raised:
            Play(calls().publish(HELLO, None, None)).answer(reply(422, document | {"request_id": "r-7"}))
        assert (raised.value.status, raised.value.code, raised.value.request_id) == (422, "invalid_notification", "r-7")
        assert raised.value.pointers == ["/tilte"]
        assert "/tilte: The known fields are title." in str(raised.value)
        assert not raised.value.is_temporary


class TestAttempts:
    """Which requests are retried, when, and until when."""

    @rows(
        "outcome",
        [
            refused(),
            html(502),
            html(504),
            problem(503, "broker_unavailable"),
            problem(429, "rate_limited"),
            problem(409, "idempotency_in_flight"),
        ],
    )
    def test_again(self, outcome: object) -> None:
        """A failure that may be transient is retried with the very same request."""
        play = Play(calls().publish(HELLO, None, None))
        first = play.step
        assert play.answer(outcome) == Pause(0.25 + 0.0)
        assert play.answer() == first
        play.answer(reply(201, PUBLISHED))
        assert play.result.id == "n-1"

    @rows("status", [400, 401, 403, 404, 409, 413, 415, 422, 500])
    def test_not_again(self, status: int) -> None:
        """A failure that is permanent is an error at once."""
        with pytest.raises(ProblemError):
            Play(calls().publish(HELLO, None, None)).answer(problem(status, "no"))

    def test_pauses(self) -> None:
        """Pauses double up to ten seconds."""
        play = Play(calls(deadline=1000).publish(HELLO, None, None))
        pauses = []
        for _ in range(8):
            pauses.append(play.answer(refused()).seconds)
            play.answer()
        assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]

    def test_jitter(self) -> None:
        """Pauses are random from nothing on."""
        assert Play(calls(random=lambda: 0.5).publish(HELLO, None, None)).answer(refused()) == Pause(0.125)

    def test_retry_after(self) -> None:
        """The next attempt is not before the time that the service requests."""
        play = Play(calls().publish(HELLO, None, None))
        assert play.answer(problem(503, "broker_unavailable", retry_after="7")) == Pause(7.25)

    def test_deadline(self) -> None:
        """The last attempt is not longer than what is left, and its error is the answer."""
        clock = Clock()
        play = Play(calls(clock=clock).publish(HELLO, None, 12.0))
        clock.now += 10
        play.answer(refused())
        assert play.answer().timeout == 2.0
        clock.now += 2
        with pytest.raises(Unreachable, match="Check the URL"):
            play.answer(refused())

    def test_deadline_of_problem(self) -> None:
        """A problem whose retry would come after the deadline is raised unchanged."""
        play = Play(calls().publish(HELLO, None, 5.0))
        with pytest.raises(ProblemError) as raised:
            play.answer(problem(503, "broker_unavailable", retry_after="30"))
        assert raised.value.is_temporary
        assert raised.value.retry_after == 30

    def test_permanent(self) -> None:
        """A permanent failure, such as a wrong certificate, is not retried."""
        with pytest.raises(Unreachable):
            Play(calls().publish(HELLO, None, None)).answer(Unreachable("wrong certificate", is_permanent=True))


class TestSender:
    """Only Notifier, in a version that fits, is accepted as the sender of an answer."""

    @rows(
        "answer, words",
        [
            (html(200), "is not Notifier"),
            (html(404), "is not Notifier"),
            (html(426), "forward upgrades"),
            (html(301, location="https://other.example.com/x"), "https://other.example.com/x"),
            (reply(201, PUBLISHED)._replace(body=b'{"id":'), "cut off"),
        ],
    )
    def test_strangers(self, answer: object, words: str) -> None:
        """An answer that is not from Notifier is distinguished from a problem."""
        with pytest.raises(NotNotifier, match=words):
            Play(calls().publish(HELLO, None, None)).answer(answer)

    def test_proxy_without_service(self) -> None:
        """A proxy's 502 that lasts until the deadline is reported as an answer of the proxy."""
        with pytest.raises(NotNotifier, match="running behind this proxy"):
            Play(calls().publish(HELLO, None, 0.1)).answer(html(502))

    @rows("version, error", [("0.0.9", TooOld), ("0", TooOld), ("1.0.0", TooNew), ("12.1", TooNew), ("?", TooOld)])
    def test_versions(self, version: str, error: type[NotifierError]) -> None:
        """A service that does not fit is named, with what to update."""
        answer = reply(201, PUBLISHED)._replace(headers={"notifier-version": version})
        with pytest.raises(error, match="Update the"):
            Play(calls().publish(HELLO, None, None)).answer(answer)

    @rows("version", ["0.1.0", "0.1.7", "0.2.0rc1", "0.99"])
    def test_fits(self, version: str) -> None:
        """A service with the same first number is good."""
        play = Play(calls().publish(HELLO, None, None))
        assert play.answer(reply(201, PUBLISHED)._replace(headers={"notifier-version": version})) is None


class TestBatch:
    """Many notifications in one request."""

    def test_request(self) -> None:
        """The lines go as NDJSON under the key of the batch."""
        step = batch(b'{"a":1}', b'{"b":2}').step
        assert step.request.body == b'{"a":1}\n{"b":2}'
        assert step.request.headers["Content-Type"] == "application/x-ndjson"
        assert step.request.headers["Idempotency-Key"] == "job:0"

    def test_results(self) -> None:
        """Each line has its result, in order; a bad one does not fail the others."""
        play = batch(b"1", b"2", b"3")
        play.answer(reply(lines=[line(1), line(2, 422), line(3, replayed=True)]))
        first, second, third = play.result
        assert first.id == "n-1" and not first.replayed
        assert isinstance(second, ProblemError) and second.status == 422
        assert third.replayed

    def test_local_problem(self) -> None:
        """A line that cannot go keeps its place, and its number."""
        broken = malformed("no JSON")
        play = batch(broken, b"2", broken)
        assert play.step.request.body == b"\n2\n"
        play.answer(reply(lines=[line(2)]))
        assert play.result[0] is play.result[2] is broken
        assert play.result[1].id == "n-1"

    def test_nothing_to_send(self) -> None:
        """Without a line that can go nothing goes."""
        steps = calls().publish_batch(Batch("job:0", [malformed("no JSON")]), None)
        with pytest.raises(StopIteration) as stopped:
            next(steps)
        assert len(stopped.value.value) == 1

    def test_offset(self) -> None:
        """Lines in the middle of a block keep their numbers by blank lines before them."""
        play = batch(b"4", b"5", offset=3)
        assert play.step.request.body == b"\n\n\n4\n5"
        play.answer(reply(lines=[line(4), line(5, 422)]))
        assert [type(result).__name__ for result in play.result] == ["Published", "ProblemError"]

    @rows(
        "unfinished", [line(2, 503), line(2, 409, code="idempotency_in_flight"), line(2, 400, code="incomplete_body")]
    )
    def test_again(self, unfinished: dict[str, Any]) -> None:
        """If a line failed for a while, the same batch is sent again; lines that were published are recognized."""
        play = batch(b"1", b"2")
        first = play.step
        assert isinstance(play.answer(reply(lines=[line(1), unfinished])), Pause)
        assert play.answer() == first
        play.answer(reply(lines=[line(1, replayed=True), line(2)]))
        assert [result.replayed for result in play.result] == [True, False]

    def test_again_in_vain(self) -> None:
        """After the deadline each line has its last result."""
        play = Play(calls().publish_batch(Batch("job:0", [b"1", b"2"]), 0.1))
        play.answer(reply(lines=[line(1), line(2, 503)]))
        assert play.result[1].is_temporary

    def test_too_large(self) -> None:
        """A batch that is too large goes in halves; each line keeps the key that it had."""
        play = batch(b"1", b"2", b"3", b"4")
        assert isinstance(play.answer(problem(413, "body_too_large")), Exchange)
        assert play.step.request.body == b"1\n2"
        assert play.answer(reply(lines=[line(1), line(2)])).request.body == b"\n\n3\n4"
        assert play.step.request.headers["Idempotency-Key"] == "job:0"
        assert play.answer(problem(413, "body_too_large")).request.body == b"\n\n3"
        assert play.answer(problem(413, "body_too_large")).request.body == b"\n\n\n4"
        play.answer(reply(lines=[line(4)]))
        assert [getattr(result, "status", 201) for result in play.result] == [201, 201, 413, 201]

    def test_lines_beyond_a_limit(self) -> None:
        """Lines beyond a limit are sent again with the others, after the shortest wait that a line asks for."""
        play = batch(b"1", b"2", b"3")
        limited = [line(2, 429, retry_after=5), line(3, 429, retry_after=9)]
        assert play.answer(reply(lines=[line(1), *limited])) == Pause(5.25)
        assert play.answer(None).request.body == b"1\n2\n3"
        assert play.answer(reply(lines=[line(1), line(2), line(3, 429, retry_after=40_000)])) is None
        assert [getattr(result, "retry_after", None) for result in play.result] == [None, None, 40_000]

    def test_too_many_lines(self) -> None:
        """Lines that the service did not look at are sent again, under the keys that they had."""
        play = batch(b"1", b"2", b"3")
        assert play.answer(reply(lines=[line(1), line(2, 413)])).request.body == b"\n2\n3"
        assert play.answer(reply(lines=[line(2), line(3, 422)])) is None
        assert [getattr(result, "status", 201) for result in play.result] == [201, 201, 422]

    def test_announced_too_large(self) -> None:
        """A body that is too large as announced is answered by one line; nothing of it was published."""
        play = batch(b"1", b"2")
        assert play.answer(reply(lines=[line(1, 413)])).request.body == b"1"
        assert play.answer(reply(lines=[line(1)])).request.body == b"\n2"
        play.answer(reply(lines=[line(1, 413)]))
        assert [getattr(result, "status", 201) for result in play.result] == [201, 413]

    def test_proxy_takes_less(self) -> None:
        """A proxy's limit is met in the same way; where a single line is too much, the proxy is named."""
        play = batch(b"1", b"2")
        assert play.answer(html(413)).request.body == b"1"
        with pytest.raises(NotNotifier, match="413"):
            play.answer(html(413))

    def test_missing_answer(self) -> None:
        """An answer without its line is not taken for one."""
        with pytest.raises(NotNotifier, match="lacks a line"):
            batch(b"1").answer(reply(lines=[line(7)]))

    def test_refused_as_a_whole(self) -> None:
        """A wrong key fails the call."""
        with pytest.raises(ProblemError):
            batch(b"1").answer(problem(401, "invalid_api_key"))


class LowService:
    """A service with limits: lines as they are, by key."""

    def __init__(self, most_bytes: int, most_lines: int) -> None:
        self.most_bytes, self.most_lines = most_bytes, most_lines
        self.published: list[tuple[str, int]] = []

    def answer(self, exchange: Exchange) -> Any:
        """Answer a batch as the service does."""
        body, key = exchange.request.body, exchange.request.headers["Idempotency-Key"]
        if len(body) > self.most_bytes:
            return reply(lines=[line(1, 413)])
        lines: list[Any] = []
        for number, text in enumerate(body.split(b"\n"), 1):
            if number > self.most_lines:
                lines.append(line(number, 413))
                break
            if text:
                replayed = (key, number) in self.published
                self.published += [] if replayed else [(key, number)]
                lines.append(line(number, id=text.decode(), replayed=replayed))
        return reply(lines=lines)


@given(
    st.lists(st.text("x", max_size=12), min_size=1, max_size=40),
    st.integers(0, 20),
    st.integers(10, 200),
    st.integers(1, 60),
)
def test_any_limits(texts: list[str], offset: int, most_bytes: int, most_lines: int) -> None:
    """Under any limits of the service, each line is published once or rejected, and each has its own answer."""
    lines = [f"{number}{text}".encode() for number, text in enumerate(texts)]
    low, play = LowService(most_bytes, most_lines), batch(*lines, offset=offset)
    while play.step:
        play.answer(low.answer(play.step))
    fits = [
        number <= most_lines and len(text) + number - 1 <= most_bytes for number, text in enumerate(lines, offset + 1)
    ]
    assert [getattr(result, "id", None) for result in play.result] == [
        text.decode() if fit else None for text, fit in zip(lines, fits, strict=True)
    ]
    assert sorted(low.published) == [("job:0", number) for number, fit in enumerate(fits, offset + 1) if fit]


class TestRecall:
    """Taking back."""

    def test_recall(self) -> None:
        """The id is part of the path, whatever is in it."""
        play = Play(calls().recall("a/b", None))
        assert (play.step.request.method, play.step.request.path) == ("DELETE", "/v1/notifications/a%2Fb")
        assert play.answer(reply(204)._replace(body=b"")) is None

    def test_unknown(self) -> None:
        """A notification that does not exist cannot be recalled."""
        with pytest.raises(ProblemError):
            Play(calls().recall("a", None)).answer(problem(404, "not_found"))

    def test_lost_answer(self) -> None:
        """If an answer was lost, a 404 means that the first attempt has succeeded."""
        play = Play(calls().recall("a", None))
        play.answer(refused())
        play.answer()
        assert play.answer(problem(404, "not_found")) is None

    def test_lost_answer_of_a_stranger(self) -> None:
        """A proxy's 404 does not mean that the first attempt has succeeded."""
        play = Play(calls().recall("a", None))
        play.answer(refused())
        play.answer()
        with pytest.raises(NotNotifier):
            play.answer(html(404))


def test_find_and_status() -> None:
    """The answer of the service is returned."""
    play = Play(calls().find("a", None))
    play.answer(reply(200, {"id": "a", "channels": ["all"]}))
    assert play.result == ["all"]
    status = Play(calls().status(None))
    assert status.step.request.path == "/v1/status"
    status.answer(reply(200, {"version": VERSION["notifier-version"]}))
    assert status.result == {"version": "0.1.0"}


def test_carry_out() -> None:
    """Steps are carried out in order, each gets its outcome, and the result is returned."""
    outcomes, steps = [refused(), reply(200, {"channels": ["all"]})], []

    def exchange(step: Exchange) -> Any:
        steps.append(step.request.path)
        return outcomes.pop(0)

    assert carry_out(calls(random=lambda: 1.0).find("n-1", None), exchange, steps.append) == ["all"]
    assert steps == ["/v1/notifications/n-1", 0.25, "/v1/notifications/n-1"]


def test_carry_out_raises() -> None:
    """An error of a call is raised."""
    with pytest.raises(ProblemError):
        carry_out(calls().find("n-1", None), lambda step: problem(404, "not_found"), lambda seconds: None)
