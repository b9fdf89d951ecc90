"""One worker's inboxes, members, users and receipts on a real server, and fixtures that make such workers.

The tests share a server and are kept apart by their prefix, so each test has its own `all`.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from notifier.audience.members import Members
from notifier.audience.users import Users
from notifier.broker.database import Database
from notifier.broker.idempotency import IdempotencyKeys
from notifier.broker.log import Log
from notifier.broker.store import Store
from notifier.errors import Problem
from notifier.inbox.digests import Digests
from notifier.inbox.inbox import Change, Inbox
from notifier.inbox.listing import InboxLists, Listed
from notifier.protocol import notification
from notifier.protocol.clock import Clock
from notifier.protocol.cursor import Cursor
from notifier.protocol.inbox_query import Query
from notifier.protocol.inbox_state import Counts
from notifier.protocol.inbox_target import Target
from notifier.protocol.notification import Limits
from notifier.publishing.explanation import Explanation
from notifier.publishing.publisher import Post, Publisher
from notifier.publishing.receipts import Receipts
from notifier.server.embedded_valkey import EmbeddedValkey
from notifier.settings import Settings
from tests.kit.waiting import DEADLINE, next_millisecond

FUTURE = Cursor(10**15, 0)  # a cursor after everything
NOBODY = "019a0000-0000-7000-8000-000000000000"  # the id of no notification


class Worker:
    """The parts of one worker that know Redis, without connections."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.clock = clock = Clock()
        self.store = store
        self.digests = Digests(store)
        self.counted: list[tuple[str, int]] = []  # users, and the items of their actions
        self.inbox = Inbox(settings.broker, store, self.digests, clock, self._count)
        self.lists = InboxLists(store, self.digests)
        self.members = Members(settings.inbox, store, self.inbox.alter)
        self.users = Users(store, self.inbox, self.lists, self.members)
        self.receipts = Receipts(store)
        self.explanation = Explanation(store, self.inbox, self.members)
        self.log = Log(settings.broker, store, clock)
        Database(settings.broker, store, clock).birth()  # which advances the clock
        self._publisher = Publisher(self.log, IdempotencyKeys(settings.broker, store), clock)

    def _count(self, user: str, items: int) -> None:
        self.counted.append((user, items))

    def publish(self, *to: str, idempotency: str = "", **fields: Any) -> str:
        """Publish to users, topics (`#orders`) or `all`, and return the id. Lists show it before all earlier ones."""
        next_millisecond()
        return str(self.answer(*to, idempotency=idempotency, **fields)["id"])

    def answer(self, *to: str, idempotency: str = "", **fields: Any) -> dict[str, Any]:
        """Publish in the same way, and return the answer."""
        [answer] = self._answers([_post(to, idempotency, fields)])
        return answer

    def publish_each(self, recipients: Iterable[str]) -> list[str]:
        """Publish a notification for each recipient in one batch, and return the ids."""
        return [str(answer["id"]) for answer in self._answers([_post([to], "", {}) for to in recipients])]

    def _answers(self, posts: list[Post]) -> list[dict[str, Any]]:
        answers = []
        for answer in self._publisher.publish(posts):
            assert not isinstance(answer, Problem), answer
            answers.append(json.loads(answer.json))
        return answers

    def recall(self, id: str) -> None:
        """Recall a notification."""
        self.log.recall(id)

    def act(self, user: str, action: str, *ids: str, up_to: Cursor | None = None) -> Change:
        """Carry out an action on items of a user's inbox."""
        return self.inbox.act(user, action, Target(ids, up_to))

    def counts(self, user: str) -> Counts:
        """Return the counts of a user."""
        return self.inbox.view(user).counts

    def items(self, user: str, **query: Any) -> list[Listed]:
        """Return the whole list, read page by page."""
        asked, items = Query(**query), []
        while True:
            page = self.lists.page(user, asked)
            assert len(page.items) == asked.limit or page.next is None
            items += page.items
            if page.next is None:
                return items
            asked = asked._replace(before=page.next)

    def ids(self, user: str, **query: Any) -> list[str]:
        """Return the ids of the whole list."""
        return [notification.id_of(item.body) for item in self.items(user, **query)]

    def flags(self, user: str, id: str) -> str:
        """Return the flags of an item: letters of seen, read, archived, muted."""
        items = self.items(user) + self.items(user, status="archived")
        [flags] = [item.flags for item in items if notification.id_of(item.body) == id]
        return "".join(letter for letter, is_set in zip("sram", flags, strict=True) if is_set)


Make = Callable[..., Worker]


@pytest.fixture
def make(valkey: EmbeddedValkey) -> Iterator[Make]:
    """Makes workers of one service, with settings of their own."""
    usual: dict[str, Any] = {"redis_url": valkey.url, "redis_prefix": f"t{uuid4().hex[:8]}", "redis_timeout": DEADLINE}
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> Worker:
            chosen = Settings.of(**usual | settings)
            return Worker(stack.enter_context(contextlib.closing(Store(chosen.broker))), chosen)

        yield make


@pytest.fixture
def worker(make: Make) -> Worker:
    """A worker with the default settings."""
    return make()


def time_of(client: redis.Redis) -> int:
    """Return the server's time in Unix ms."""
    seconds, microseconds = client.time()
    return int(seconds * 1000 + microseconds // 1000)


def _post(to: Iterable[str], idempotency: str, fields: dict[str, Any]) -> Post:
    to = list(to)
    topics = [name[1:] for name in to if name.startswith("#")]
    users = [name for name in to if name != "all" and not name.startswith("#")]
    address = {"users": users, "topics": topics, "all": "all" in to}
    body = json.dumps({"to": address, "title": "x", **fields}).encode()
    return Post(notification.parse(body, Limits()), body, idempotency)
