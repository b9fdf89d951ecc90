"""The publisher on a real server: payers of publications, and when they are charged."""

from typing import Any
from uuid import uuid4

from notifier.errors import Problem, QuotaExceeded, RateLimited
from notifier.protocol.cursor import BEGINNING
from notifier.protocol.notification import Limits, Publication, parse
from notifier.publishing.publisher import Answer, Post
from tests.kit.worker import Worker


class Payer:
    """Pays for so many publications, and for so many new topics."""

    def __init__(self, publications: int = 100, topics: int = 100) -> None:
        self.publications, self.topics = publications, topics

    def charge(self, publication: Publication, size: int) -> Problem | None:
        if not self.publications:
            return RateLimited(retry_after=1)
        self.publications -= 1
        return None

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


def test_new_topics(worker: Worker) -> None:
    """Topics count when they are created. At the limit, existing topics can still be published to."""
    one, two, three = (str(uuid4()) for _ in range(3))
    payer = Payer(topics=2)
    assert publish(worker, payer, one, one, two) == [Answer] * 3
    assert payer.topics == 0
    assert publish(worker, payer, one, three, two) == [Answer, QuotaExceeded, Answer]
    assert payer.publications == 95
