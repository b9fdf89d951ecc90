"""The queue of publications that arrive on connections: their order, their answers, and its limit."""

import json
from collections.abc import Callable
from typing import Any

from notifier.connections.work_queue import Bounds
from notifier.errors import BrokerUnavailable, IdempotencyMismatch, Problem, TooSlow
from notifier.protocol.notification import Publication
from notifier.protocol.publishing import Publishing
from notifier.publishing.client_queue import ClientQueue
from notifier.publishing.publisher import Answer, Post
from tests.kit.cases import rows
from tests.kit.recorded_connection import RecordedConnection


class Publisher:
    """A publisher that records batches, and answers each publication by a function."""

    def __init__(self, answer: Callable[[Post], Answer | Problem]) -> None:
        self.batches: list[list[Post]] = []
        self._answer = answer

    def new_ids(self, count: int) -> list[str]:
        return [f"id-{number}" for number in range(count)]

    def publish(self, posts: list[Post]) -> list[Answer | Problem]:
        self.batches.append(posts)
        return [self._answer(post) for post in posts]


def published(post: Post) -> Answer:
    """Return the answer to a publication."""
    return Answer(json.dumps({"id": post.id, "channels": [{"cursor": "1-0"}]}).encode())


def failing(error: Exception) -> Callable[[Post], Answer]:
    """Return a function that raises."""

    def fail(post: Post) -> Answer:
        raise error

    return fail


def publishing(ref: str, **others: Any) -> Publishing:
    """Return a publication of a client to the topic `room`."""
    return Publishing(ref, Publication(["topic:room"], b""), b"body", **others)


def queue_of(publisher: Publisher, skip: Callable[..., None] = lambda *_: None) -> Any:
    """Return a queue that charges no quota."""
    return ClientQueue(publisher, skip, lambda _: None, Bounds())  # type: ignore[arg-type]


def run(queue: Any) -> None:
    """Carry out one batch, without a thread."""
    queue._run_batch()


def test_order() -> None:
    """Everything in the queue is published together, in order, and each connection receives its answer."""
    publisher, connection = Publisher(published), RecordedConnection()
    queue = queue_of(publisher)
    for ref in ("a", "b", "c"):
        queue.put(connection, publishing(ref, key=ref))
    run(queue)
    assert [[post.key for post in batch] for batch in publisher.batches] == [["a", "b", "c"]]
    assert [(frame["type"], frame["ref"], frame["id"]) for frame in connection.frames] == [
        ("ok", "a", "id-0"),
        ("ok", "b", "id-1"),
        ("ok", "c", "id-2"),
    ]


def test_no_echo() -> None:
    """A connection that wants no echo is skipped, under the id with which its notification is published."""
    skipped: list[tuple[Any, ...]] = []
    publisher, connection = Publisher(published), RecordedConnection()
    queue = queue_of(publisher, lambda *call: skipped.append(call))
    queue.put(connection, publishing("a"))
    queue.put(connection, publishing("b", echo=False))
    run(queue)
    assert skipped == [("id-1", "topic:room", connection)]
    assert publisher.batches[0][1].id == "id-1"


@rows(
    ("answer", "code"),
    [
        (lambda post: IdempotencyMismatch(), "idempotency_mismatch"),
        (failing(BrokerUnavailable("gone", retry_after=1)), "broker_unavailable"),
        (failing(RuntimeError("a fault")), "internal_error"),
    ],
)
def test_problems(answer: Callable[[Post], Answer], code: str) -> None:
    """A problem, an outage of Redis or a fault is answered with an error frame, and the queue works on."""
    connection = RecordedConnection()
    queue = queue_of(Publisher(answer))
    for ref in ("a", "b"):
        queue.put(connection, publishing(ref))
        run(queue)
    assert [(frame["type"], frame["ref"], frame["problem"]["code"]) for frame in connection.frames] == [
        ("error", "a", code),
        ("error", "b", code),
    ]


def test_closed_connection() -> None:
    """A connection that has closed in the meantime is not answered; its publication is published."""
    publisher, connection = Publisher(published), RecordedConnection(is_open=False)
    queue = queue_of(publisher)
    queue.put(connection, publishing("a"))
    run(queue)
    assert (len(publisher.batches), connection.frames) == (1, [])


def test_a_user_who_was_disconnected() -> None:
    """Publications that were not begun before the user was disconnected are not carried out; others are."""
    publisher, gone, other = Publisher(published), RecordedConnection(), RecordedConnection("bob")
    queue = queue_of(publisher)
    queue.put(gone, publishing("a", key="a"))
    queue.put(other, publishing("b", key="b"))
    gone.is_disconnected = True
    run(queue)
    assert [[post.key for post in batch] for batch in publisher.batches] == [["b"]]
    assert (gone.frames, [frame["ref"] for frame in other.frames]) == ([], ["b"])


def test_slow_connection() -> None:
    """A connection that cannot take its answer is closed; others are answered."""
    slow, other = RecordedConnection(failure=TooSlow()), RecordedConnection()
    queue = queue_of(Publisher(published))
    queue.put(slow, publishing("a"))
    queue.put(other, publishing("b"))
    run(queue)
    assert isinstance(slow.closed, TooSlow)
    assert [frame["ref"] for frame in other.frames] == ["b"]


def test_users_share_a_batch() -> None:
    """A user who publishes much does not fill the batch, and is not read until it is published."""
    publisher, busy, other = Publisher(published), RecordedConnection(), RecordedConnection("bob")
    queue = queue_of(publisher)
    for number in range(40):
        queue.put(busy, publishing(str(number), key="busy"))
    queue.put(other, publishing("b", key="other"))
    assert (busy.is_held, other.is_held) == (True, False)
    run(queue)
    assert [post.key for post in publisher.batches[0]] == ["busy"] * 32 + ["other"]
    run(queue)
    assert len(busy.frames) == 40
    assert not busy.is_held
