"""The publisher on a real server: payers of publications, and when they are charged."""

import hashlib
import json
from typing import Any
from uuid import uuid4

import pytest

from notifier.errors import BrokerUnavailable, Problem, QuotaExceeded, RateLimited
from notifier.protocol.cursor import BEGINNING
from notifier.protocol.daily_usage import Amounts
from notifier.protocol.entry import REMOVED
from notifier.protocol.notification import Limits, parse
from notifier.publishing.publisher import Answer, Post
from tests.kit.worker import Worker


class Payer:
    """Pays for so many publications, and for so many new topics. `charged` is what was charged, and how often."""

    def __init__(self, publications: int = 100, topics: int = 100) -> None:
        self.publications, self.topics = publications, topics
        self.charged: list[Amounts] = []

    def charge(self, amounts: Amounts) -> Problem | None:
        return None if self.charge_all(amounts) else RateLimited(retry_after=1)

    def charge_all(self, amounts: Amounts) -> bool:
        if self.publications < amounts.publications:
            return False
        self.publications -= amounts.publications
        self.charged.append(amounts)
        return True

    @property
    def may_create_topics(self) -> bool:
        return self.topics > 0

    def refusal_of_topics(self, number: int) -> Problem | None:
        return QuotaExceeded() if number > self.topics else None

    def created_topics(self, number: int) -> None:
        self.topics -= number


def publish(worker: Worker, payer: Payer, *topics: str, key: str = "") -> list[Any]:
    """Publish to each topic in one batch, and return the kinds of the answers."""
    bodies = [b'{"to": {"topics": ["%s"], "users": ["u"]}, "title": "x"}' % topic.encode() for topic in topics]
    posts = [
        Post(parse(body, Limits()), body, f"{key}:{number}" if key else "", payer=payer)
        for number, body in enumerate(bodies)
    ]
    return [type(answer) for answer in worker._publisher.publish(posts)]


def test_retries_cost_nothing(worker: Worker) -> None:
    """A batch that is longer than a burst gets done: retries of what was published cost nothing."""
    payer, key, topic = Payer(2), str(uuid4()), str(uuid4())
    assert publish(worker, payer, *[topic] * 5, key=key) == [Answer, Answer, RateLimited, RateLimited, RateLimited]
    payer.publications = 2
    assert publish(worker, payer, *[topic] * 5, key=key) == [Answer, Answer, Answer, Answer, RateLimited]
    payer.publications = 1
    assert publish(worker, payer, *[topic] * 5, key=key) == [Answer] * 5
    assert payer.publications == 0
    assert publish(worker, payer, *[topic] * 5, key=key) == [Answer] * 5
    assert len(worker.log.read([(f"topic:{topic}", BEGINNING)], 0)[0].entries) == 5  # type: ignore[union-attr]


def test_a_batch_is_charged_at_once(worker: Worker) -> None:
    """A payer is charged once for a batch that it may publish; otherwise, and among other payers, for each line."""
    payer, other, topic = Payer(7), Payer(), str(uuid4())
    assert publish(worker, payer, *[topic] * 5) == [Answer] * 5
    assert [amounts[:3] for amounts in payer.charged] == [(5, 10, 0)]
    assert publish(worker, payer, *[topic] * 3) == [Answer, Answer, RateLimited]
    assert [amounts[:3] for amounts in payer.charged[1:]] == [(1, 2, 0)] * 2
    body = b'{"to": {"all": true}, "title": "x", "retain": "none"}'
    worker._publisher.publish([Post(parse(body, Limits()), body, payer=each) for each in (other, Payer(), None, other)])
    assert other.charged == [Amounts(1, 1, 0, 0)] * 2


def test_new_topics(worker: Worker) -> None:
    """Topics count when they are created. At the limit, existing topics can still be published to."""
    one, two, three = (str(uuid4()) for _ in range(3))
    payer = Payer(topics=2)
    assert publish(worker, payer, one, one, two) == [Answer] * 3
    assert payer.topics == 0
    assert publish(worker, payer, one, three, two) == [Answer, QuotaExceeded, Answer]
    assert payer.publications == 95


@pytest.mark.parametrize("retain", ["inbox", "history", "none"])
@pytest.mark.parametrize("recipients", [1, 50])
@pytest.mark.parametrize("key", ["", "k" * 40])
def test_stored_bytes(worker: Worker, retain: str, recipients: int, key: str) -> None:
    """The stored bytes are charged: those that each channel stores, and about as many as Redis needs for a key."""
    users = [str(uuid4()) for _ in range(recipients)]
    body = json.dumps({"to": {"users": users}, "title": "x", "retain": retain}).encode()
    payer, name = Payer(), key and f"{key}{uuid4()}"
    [answer] = worker._publisher.publish([Post(parse(body, Limits()), body, name, payer=payer)])
    assert isinstance(answer, Answer)
    [(_, charged_recipients, _, size)] = payer.charged
    assert charged_recipients == recipients
    entries = [worker.store.ask("XRANGE", worker.store.of(f"user:{user}", "log"), "-", "+") for user in users]
    of_body = sum(len(fields[1]) for log in entries for _, fields in log)
    assert (of_body == 0) == (retain == "none")
    if not key:
        assert size == of_body
        return
    stored = worker.store.ask("MEMORY", "USAGE", worker.store.key("idempotency", name))
    marks = [worker.store.of(f"user:{user}", f"mark:{json.loads(answer.json)['id']}") for user in users]
    stored += sum(worker.store.ask("MEMORY", "USAGE", mark) for mark in marks)
    assert stored / 2 < size - of_body < 2 * stored


def test_rejected_keys(worker: Worker) -> None:
    """A publication that may not be published leaves no key; one that was begun before keeps its id."""
    payer, key, topic = Payer(0), str(uuid4()), str(uuid4())
    assert publish(worker, payer, topic, topic, key=key) == [RateLimited] * 2
    names = [worker.store.key("idempotency", f"{key}:{number}") for number in range(2)]
    assert worker.store.ask("EXISTS", *names) == 0
    body = b'{"to": {"topics": ["%s"], "users": ["u"]}, "title": "x"}' % topic.encode()
    worker._publisher._keys.claim([(f"{key}:0", hashlib.sha256(body).hexdigest(), "begun", 1.0)])
    worker._publisher._keys.release([f"{key}:0"])
    assert publish(worker, payer, topic, topic, key=key) == [RateLimited] * 2
    assert [worker.store.ask("EXISTS", name) for name in names] == [1, 0]
    payer.publications = 2
    [answer, _] = worker._publisher.publish(
        [Post(parse(body, Limits()), body, f"{key}:{number}", payer=payer) for number in range(2)]
    )
    assert isinstance(answer, Answer) and json.loads(answer.json)["id"] == "begun"


class TestLongPublications:
    """Publications that are written in slices."""

    USERS, TOPICS = 300, 100

    def post(self, key: str = "", size: int = 30_000, payer: Any = None) -> Post:
        """Return a publication to many users and topics that nobody else has."""
        name = uuid4().hex[:12]
        users = [f"{name}-{number}" for number in range(self.USERS)]
        topics = [f"{name}-{number}" for number in range(self.TOPICS)]
        body = json.dumps({"to": {"users": users, "topics": topics}, "title": "x" * 1000, "data": "x" * size}).encode()
        return Post(parse(body, Limits()), body, key, payer=payer)

    def check(self, worker: Worker, post: Post, answer: Any) -> None:
        """Check that each channel has one entry, with the cursor that was answered."""
        assert isinstance(answer, Answer)
        receipts = json.loads(answer.json)["channels"]
        assert [receipt["channel"] for receipt in receipts] == post.publication.channels
        pages = worker.log.read([(name, BEGINNING) for name in post.publication.channels], 0)
        assert [[entry.id.decode() for entry in page.entries] for page in pages] == [  # type: ignore[union-attr]
            [receipt["cursor"]] for receipt in receipts
        ]

    def test_memory(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        """About a megabyte of a publication is packed at a time, its record first."""
        carry_out, writes = worker.store.carry_out, list[list[bytes]]()

        def note(commands: list[bytes], *rest: Any) -> list[Any]:
            writes.append(commands)
            return carry_out(commands, *rest)

        monkeypatch.setattr(worker.store, "carry_out", note)
        payer = Payer()
        post = self.post(payer=payer)
        [answer] = worker._publisher.publish([post])
        monkeypatch.undo()
        self.check(worker, post, answer)
        assert max(sum(map(len, write)) for write in writes) < 1_200_000
        assert writes[0][0].split(b"\r\n")[2] == b"SET"
        assert 10 < len(writes) < 20 and payer.topics == 0

    @pytest.mark.parametrize("failing", [1, 2, 9])
    def test_retry(self, worker: Worker, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
        """If a slice cannot be written, the publication fails; a retry with its key completes it."""
        carry_out, post, written = worker.store.carry_out, self.post(str(uuid4())), [0]

        def fail(commands: list[bytes], *rest: Any) -> list[Any]:
            if sum(map(len, commands)) > 100_000:
                written[0] += 1
                if written[0] == failing:
                    raise BrokerUnavailable("gone")
            return carry_out(commands, *rest)

        monkeypatch.setattr(worker.store, "carry_out", fail)
        with pytest.raises(BrokerUnavailable):
            worker._publisher.publish([post])
        monkeypatch.undo()
        assert sum(worker.log.count_unknown([name]) == 0 for name in post.publication.channels) < self.USERS
        [answer] = worker._publisher.publish([post])
        self.check(worker, post, answer)
        [again] = worker._publisher.publish([post])
        assert isinstance(again, Answer) and (again.json, again.replayed) == (answer.json, True)

    def test_batch(self, worker: Worker) -> None:
        """Each of several publications has its own results."""
        posts = [self.post(), Post(*self.post(size=10)[:2]), self.post(size=1)]
        for post, answer in zip(posts, worker._publisher.publish(posts), strict=True):
            self.check(worker, post, answer)
        names = posts[0].publication.channels
        id = json.loads(worker._publisher.publish([posts[0]])[0].json)["id"]  # type: ignore[union-attr]
        assert worker.log.recall(id) == names
        pages = worker.log.read([(name, BEGINNING) for name in names], 0)
        assert {entry.kind for page in pages for entry in page.entries[1:]} == {REMOVED}  # type: ignore[union-attr]
