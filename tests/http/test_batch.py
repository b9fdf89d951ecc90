"""Batches: lines and their numbers, limits, bodies that were cut off, and an outage of Redis."""

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

from notifier.errors import (
    BrokerUnavailable,
    IdempotencyInFlight,
    InvalidApiKey,
    InvalidIdempotencyKey,
    Problem,
    RateLimited,
)
from notifier.http import batch, body
from notifier.http.batch import Batches
from notifier.protocol.api_key import ApiKey
from notifier.protocol.notification import Limits
from notifier.publishing.publisher import Answer, Post
from notifier.settings import PublishingSettings
from tests.kit.cases import every
from tests.kit.requests import BrokenBody, request_of

KEY = ApiKey("backend", "s" * 16)
LONGEST = 256
SETTINGS = PublishingSettings(max_notification_bytes=LONGEST, max_batch_bytes=4096, max_batch_lines=8)
LARGE = PublishingSettings(max_notification_bytes=LONGEST)
PIECES = [*range(1, 12), 60, 255, 256, 257, 258, 259, 520, 65536]
SPACES = [b"", b" ", b"\r", b"\t \r", b" " * 300]


class Publisher:
    """Records batches, and answers them with the title of each notification."""

    def __init__(self, failing: range = range(0)) -> None:
        self.batches: list[list[Post]] = []
        self._failing = failing  # numbers of batches, from 0

    def publish(self, posts: list[Post]) -> list[Answer | Problem]:
        self.batches.append(posts)
        if len(self.batches) - 1 in self._failing:
            raise BrokerUnavailable("gone")
        return [self.answer(post) for post in posts]

    def answer(self, post: Post) -> Answer | Problem:
        return Answer(json.dumps({"title": title(post)}).encode())

    @property
    def titles(self) -> list[str]:
        """The titles of everything that was published."""
        return [title(post) for batch in self.batches for post in batch]


def title(post: Post) -> str:
    return str(json.loads(post.body)["title"])


def line(title: str = "x", size: int = 0, **to: Any) -> bytes:
    """Return a line with a notification, of at least this size."""
    document = {"to": to or {"users": ["alice"]}, "title": title}
    room = size - len(json.dumps(document | {"data": ""}))
    return json.dumps(document | {"data": "d" * room} if room >= 0 else document).encode()


def answers(
    data: Any,
    publisher: Publisher | None = None,
    settings: PublishingSettings = SETTINGS,
    key: ApiKey = KEY,
    check: Callable[[], object] = lambda: None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the answers to a body. `check` raises once the key is revoked."""
    limits = Limits(size=settings.max_notification_bytes)
    batches = Batches(publisher or Publisher(), limits, settings)  # type: ignore[arg-type]
    return [json.loads(answer) for answer in batches.publish(request_of(data, **options), key, str.encode, check)]


@pytest.mark.parametrize(("data", "turns"), [(b"\n" * 1024, 4), ((b"x" * 60_000 + b"\n") * 20, 10), (b"x\n" * 20, 0)])
def test_turns(data: bytes, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn while lines are read of which none is published."""
    taken: list[None] = []
    monkeypatch.setattr(batch, "give_way", lambda: taken.append(None))
    answers(data, settings=PublishingSettings())
    published = 1 if data.strip() else 0
    assert len(taken) - published >= turns and len(taken) <= 2 * turns + published


def outcomes(data: Any, **options: Any) -> list[tuple[int, int]]:
    """Return the numbers of the lines that are answered, and the status of each."""
    return [(answer["line"], answer["status"]) for answer in answers(data, **options)]


def in_pieces(test: Callable[..., None]) -> Callable[..., None]:
    """Call a test with each size of the pieces in which the body is read."""

    @every(size=PIECES)
    @functools.wraps(test)
    def read_in_pieces(*args: Any, size: int, **others: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(body, "_READ", size)
            test(*args, size=size, **others)

    return read_in_pieces


class TestLines:
    @in_pieces
    @every(end=[b"\n", b"\r\n", b" \t\r\n"])
    def test_numbers(self, size: int, end: bytes) -> None:
        """Lines are answered in order with their numbers; blank ones are counted and skipped."""
        publisher = Publisher()
        data = end.join([line("one"), b"", b"  ", line("four"), b"[]", line("six")])
        found = [(answer["line"], answer["status"], answer.get("title")) for answer in answers(data, publisher)]
        malformed = "The body is not a JSON object."
        assert found == [(1, 201, "one"), (4, 201, "four"), (5, 400, malformed), (6, 201, "six")]
        assert publisher.titles == ["one", "four", "six"]

    @in_pieces
    @every(data=[b"", b"\n", b" ", b"\r\n\r\n", b"\n" * 8, b" " * 3000])
    def test_nothing(self, size: int, data: bytes) -> None:
        """A body of blank lines has no answers, and nothing is published."""
        publisher = Publisher()
        assert answers(data, publisher) == []
        assert publisher.batches == []

    def test_body_is_the_line(self) -> None:
        """The body that is published, which a retry must repeat, has no spaces around it."""
        publisher = Publisher()
        answers(b"  " + line("a") + b" \r\n", publisher)
        assert publisher.batches[0][0].body == line("a")

    def test_carriage_returns(self) -> None:
        """Lines that end with CR alone are one malformed line, and the answer says why."""
        publisher = Publisher()
        [answer] = answers(line("one") + b"\r" + line("two") + b"\r", publisher)
        assert (answer["line"], answer["status"], publisher.batches) == (1, 400, [])
        assert answer["detail"].endswith("Lines end with LF, not with CR alone.")

    def test_not_utf8(self) -> None:
        """A line that is not UTF-8 fails alone."""
        assert outcomes(b"\xff\n" + line()) == [(1, 400), (2, 201)]


class TestLongLines:
    @in_pieces
    @every(after=SPACES, before=SPACES)
    def test_limit(self, size: int, before: bytes, after: bytes) -> None:
        """A line may be as long as a notification, without the spaces around it and wherever a piece ends."""
        longest = before + line(size=LONGEST) + after
        too_long = before + line(size=LONGEST + 1) + after
        for end in (b"", b"\n"):
            data = b"\n".join([longest, too_long, longest]) + end
            assert outcomes(data) == [(1, 201), (2, 413), (3, 201)]
            assert outcomes(too_long + b"\n" + longest + b"\n" + too_long + end) == [(1, 413), (2, 201), (3, 413)]

    @in_pieces
    def test_text_after_spaces(self, size: int) -> None:
        """A line is not shortened to its text before many spaces."""
        for spaces in (LONGEST - 10, LONGEST, LONGEST + 1, 600):
            data = line() + b" " * spaces + b"x"
            assert [status for _, status in outcomes(data + b"\n" + line())] in ([413, 201], [400, 201])
            assert outcomes(data + b"\n" + line())[0][1] == (413 if len(data) > LONGEST else 400)

    @in_pieces
    @every(length=[LONGEST + 1, 3 * LONGEST, 3500])
    def test_once(self, size: int, length: int) -> None:
        """A line that is far too long is one line with one answer."""
        publisher = Publisher()
        data = b"\n".join([line("one"), b"x" * length, line("three")])
        found = [(answer["line"], answer["status"]) for answer in answers(data, publisher)]
        assert found == [(1, 201), (2, 413), (3, 201)]
        assert publisher.titles == ["one", "three"]


class TestLimits:
    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n  "])
    def test_most_lines(self, end: bytes) -> None:
        """A body may have as many lines as the limit: the last line break does not begin another one."""
        assert outcomes(b"\n".join([line()] * 8) + end) == [(number, 201) for number in range(1, 9)]

    @pytest.mark.parametrize("more", [line(), b"[]", b"\n" + line(), line() + b"\n" + line()])
    def test_too_many_lines(self, more: bytes) -> None:
        """The first line beyond the limit is answered, and neither it nor a later one is published."""
        publisher = Publisher()
        found = answers(b"\n".join([line()] * 8 + [more]), publisher)
        assert [(answer["line"], answer["status"]) for answer in found] == [
            *((number, 201) for number in range(1, 9)),
            (9, 413),
        ]
        assert len(publisher.titles) == 8

    def test_announced(self) -> None:
        """Of a body that is announced as too long nothing is published."""
        publisher = Publisher()
        assert [answer["code"] for answer in answers(line(), publisher, length=4097)] == ["body_too_large"]
        assert publisher.batches == []

    @in_pieces
    def test_chunked(self, size: int) -> None:
        """Of a chunked body that is too long the lines before the limit are published, half a line is not."""
        publisher = Publisher()
        data = line("first") + b"\n" + b" " * 4096 + line("last")
        found = answers(data, publisher, chunked=True)
        assert found[-1]["code"] == "body_too_large"
        assert publisher.titles == [answer["title"] for answer in found[:-1]]
        assert set(publisher.titles) <= {"first"}
        if size < 4096:
            assert publisher.titles == ["first"]


class TestCutBody:
    @in_pieces
    def test_length(self, size: int) -> None:
        """The last line of a body that is shorter than announced is not published, even if it seems complete."""
        publisher = Publisher()
        data = line("one") + b"\n" + line("two")
        found = answers(data, publisher, length=len(data) + 1)
        assert [(answer["line"], answer["status"]) for answer in found] == [(1, 201), (2, 400)]
        assert found[-1]["code"] == "incomplete_body"
        assert publisher.titles == ["one"]

    @in_pieces
    def test_reset(self, size: int) -> None:
        """If the connection is reset, the complete lines before that are published."""
        publisher = Publisher()
        found = answers(BrokenBody(line("one") + b"\n" + line("two")), publisher, chunked=True)
        assert [(answer["line"], answer.get("code")) for answer in found] == [(1, None), (2, "incomplete_body")]
        assert publisher.titles == ["one"]

    @in_pieces
    def test_in_a_long_line(self, size: int) -> None:
        """A body that ends within a line that is too long was cut off, too."""
        assert {status for _, status in outcomes(BrokenBody(b"x" * 1000), chunked=True)} <= {400, 413}
        assert outcomes(BrokenBody(b"x" * 1000), chunked=True)[-1][1] == 400


class TestGrants:
    def test_lines(self) -> None:
        """Each line needs the scope and the topic; a line that is not granted fails alone."""
        key = ApiKey("orders", "s" * 16, frozenset({"publish"}), ("orders",))
        data = b"\n".join([line(topics=["orders"]), line(topics=["news"]), line(all=True), line(users=["alice"])])
        assert outcomes(data, key=key) == [(1, 201), (2, 403), (3, 403), (4, 201)]


class TestIdempotency:
    def test_keys(self) -> None:
        """Each line has the key of the request with its number; blank lines count."""
        publisher = Publisher()
        answers(b"\n".join([line(), b"", line()]), publisher, idempotency_key='"k"')
        assert [post.key for post in publisher.batches[0]] == ["backend:k:1", "backend:k:3"]

    def test_none(self) -> None:
        """Without a key of the request no line has one."""
        publisher = Publisher()
        answers(line(), publisher)
        assert [post.key for post in publisher.batches[0]] == [""]

    def test_invalid(self) -> None:
        """An invalid key rejects the whole request, before the body is read."""
        publisher = Publisher()
        with pytest.raises(InvalidIdempotencyKey):
            answers(line(), publisher, idempotency_key="")
        assert publisher.batches == []

    def test_answers(self) -> None:
        """A replayed answer is marked as one, and a problem is the answer of its line alone."""

        class Retried(Publisher):
            def answer(self, post: Post) -> Answer | Problem:
                if title(post) == "running":
                    return IdempotencyInFlight(retry_after=30)
                return Answer(b'{"id":"1"}', replayed=title(post) == "again")

        found = answers(b"\n".join(line(title) for title in ("new", "again", "running", "new")), Retried())
        assert found[0] == {"line": 1, "status": 201, "id": "1"}
        assert found[1] == {"line": 2, "status": 201, "replayed": True, "id": "1"}
        assert (found[2]["line"], found[2]["code"], found[2]["retry_after"]) == (3, "idempotency_in_flight", 30)
        assert found[3] == {"line": 4, "status": 201, "id": "1"}


class TestBatches:
    def test_size(self) -> None:
        """Lines are published some hundreds at a time, in order."""
        publisher = Publisher()
        titles = [str(number) for number in range(1000)]
        answers(b"\n".join(map(line, titles)), publisher, LARGE)
        assert publisher.titles == titles
        assert [len(batch) for batch in publisher.batches] == [256, 256, 256, 232]

    def test_channels(self) -> None:
        """Notifications to several users count for each of them."""
        publisher = Publisher()
        answers(b"\n".join([line(users=[f"u{index}" for index in range(20)])] * 30), publisher, LARGE)
        assert [len(batch) for batch in publisher.batches] == [13, 13, 4]

    def test_outage(self) -> None:
        """After an outage no later batch is published, and each of its lines is answered."""
        publisher = Publisher(failing=range(1, 2))
        data = b"\n".join([*[line()] * 599, b"[]", line()])
        found = answers(data, publisher, LARGE)
        assert len(publisher.batches) == 2
        assert [answer["line"] for answer in found] == list(range(1, 602))
        assert {answer["status"] for answer in found[:256]} == {201}
        assert [answer["status"] for answer in found[256:]] == [503] * 343 + [400, 503]

    def test_revoked(self) -> None:
        """If the key is revoked while the batch is published, no later line is."""
        publisher = Publisher()

        def check() -> None:
            if publisher.batches:
                raise InvalidApiKey("revoked")

        found = answers(b"\n".join([line()] * 600), publisher, LARGE, check=check)
        assert len(publisher.batches) == 1
        assert [answer["status"] for answer in found] == [201] * 256 + [401] * 344

    def test_too_many_answers(self) -> None:
        """If the key has too many answers in memory, no later line is published, and each can be sent again."""
        publisher = Publisher()

        def check() -> None:
            if publisher.batches:
                raise RateLimited(retry_after=1, limit="key_response_bytes")

        found = answers(b"\n".join([line()] * 300), publisher, LARGE, check=check)
        assert len(publisher.batches) == 1
        assert [answer["status"] for answer in found] == [201] * 256 + [429] * 44
        assert (found[-1]["limit"], found[-1]["retry_after"]) == ("key_response_bytes", 1)

    def test_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lines count as memory until they are published. Those that are too many are rejected, and no others."""
        monkeypatch.setattr(batch, "_COUNTED", 1000)
        publisher, request, held = Publisher(), request_of(b"\n".join([line(size=250)] * 600)), [0]

        def hold(environ: object, size: int) -> None:
            if size > 0 and not publisher.batches and held[-1] >= 95_000:
                raise RateLimited
            held.append(held[-1] + size)

        request.environ[body.HOLD] = hold
        batches = Batches(publisher, Limits(size=LONGEST), LARGE)  # type: ignore[arg-type]
        found = [json.loads(answer)["status"] for answer in batches.publish(request, KEY, str.encode, lambda: None)]
        assert found[:100] == [201] * 100 and 0 < found.count(429) < 156 and found[256:] == [201] * 344
        assert 95_000 <= max(held) < 235_000 and 0 in held[1:] and held[-1] < 235_000

    def test_memory_of_recipients(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The recipients of a line count as memory until it is published."""
        monkeypatch.setattr(batch, "_COUNTED", 1000)
        held: list[int] = []
        request = request_of(line(users=[f"u{number}" for number in range(30)]))
        request.environ[body.HOLD] = lambda environ, size: held.append(size)
        batches = Batches(Publisher(), Limits(), LARGE)  # type: ignore[arg-type]
        [answer] = batches.publish(request, KEY, str.encode, lambda: None)
        assert b'"status":201' in answer and max(held) >= 30 * batch.RECIPIENT

    def test_audit(self) -> None:
        """Publications to all have an entry in the audit log, and no others."""
        publisher = Publisher()
        answers(b"\n".join([line(), line(all=True), line(topics=["a"])]), publisher)
        assert [post.audit and post.audit("id") for post in publisher.batches[0]] == [None, b"id", None]
