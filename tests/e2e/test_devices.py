"""One user with three devices: two browsers, and a program with the Python client."""

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from notifier.client import Change, NotifierClient, State
from notifier.client import Stream as Listener
from tests.kit.chromium import CHROMIUM, until
from tests.kit.inboxes import Copy, Model, manage
from tests.kit.service import Service
from tests.kit.waiting import DEADLINE, eventually

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

OPERATIONS = 350  # of each browser; the program and the backend do the others of more than 1,000
_START = """async (token) => {
  const { Notifier } = await import("/static/notifier.js");
  window.items = [];
  window.told = [];
  window.notifier = new Notifier({ getToken: async () => token });
  notifier.on("notification", ({ id }, { cursor }) => items.push({ id, cursor }));
  notifier.on("inbox", (inbox) => told.push(inbox));
  notifier.connect();
}"""
# Random requests, in sequence, as a list in a page would send them.
_PLAY = """([seed, count]) => {
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const choose = (list) => list[Math.floor(random() * list.length)];
  const play = async () => {
    const headers = { Authorization: `Bearer ${await notifier.token()}`, "Content-Type": "application/json" };
    for (let done = 0; done < count; done++) {
      const ids = [choose(items), choose(items), choose(items)].map(({ id }) => id);
      const target = random() < 0.2 ? { up_to: choose(items.slice(-20)).cursor } : { ids };
      const action = choose(["seen", "read", "unread", "archive", "unarchive"]);
      const body = JSON.stringify(target);
      const answer = await fetch(`/v1/inbox/${action}`, { method: "POST", headers, body });
      if (!answer.ok) return `${action} is answered ${answer.status}`;
    }
    return "done";
  };
  window.outcome = "";
  play().then((text) => { outcome = text; }, (error) => { outcome = String(error); });
}"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service that takes as many actions of a user as a fast machine can send."""
    with Service(user_action_rate=10_000) as service:
        yield service


@pytest.fixture
def pages(browser: Browser, service: Service, user: str) -> Iterator[list[Page]]:
    """The user's page in two separate browser contexts."""
    with browser.new_context() as home, browser.new_context() as work:
        pages = [context.new_page() for context in (home, work)]
        for page in pages:
            page.goto(f"http://127.0.0.1:{service.port}/docs/errors")
            page.evaluate(_START, service.token(user))
            until(page, "notifier.state === 'connected' && told.length")
        yield pages


class Program:
    """The Python client of the user, which listens and acts."""

    def __init__(self, service: Service, user: str) -> None:
        self._client = NotifierClient(f"http://127.0.0.1:{service.port}", token=service.token(user))
        self.inbox = self._client.inbox()
        self.stream: Listener = self._client.listen(inbox=True)
        self.states: list[State] = []
        self._listening = threading.Thread(target=self._listen)

    def __enter__(self) -> "Program":
        self.stream.__enter__()
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self._listening.join()
        self._client.close()

    def _listen(self) -> None:
        for event in self.stream:
            if isinstance(event, State):
                self.states.append(event)

    def play(self, model: Model, rng: random.Random, count: int) -> None:
        """Do this many random operations."""
        actions = [self.inbox.seen, self.inbox.read, self.inbox.unread, self.inbox.archive, self.inbox.unarchive]
        for _ in range(count):
            ids = rng.sample(list(model.items), 3)
            if rng.random() < 0.2:
                ms, seq = next(iter(model.items[ids[0]].values())).place
                rng.choice(actions)(up_to=f"{ms}-{seq}")
            else:
                rng.choice(actions)(ids=ids)


def publish(service: Service, user: str, model: Model, rng: random.Random, count: int) -> None:
    """Publish to the user and the topic, and recall some notifications."""
    for number in range(count):
        to = rng.choice([{"users": [user]}, {"topics": [user]}, {"users": [user], "topics": [user]}])
        answer = service.publish({"to": to, "title": f"{number}"}).json
        model.items[answer["id"]] = {each["channel"]: Copy(each["cursor"]) for each in answer["channels"]}
        if rng.random() < 0.15:
            id = rng.choice(list(model.items))
            if service.recall(id).status == 204:
                model.recalled.add(id)


def changes_of(states: list[State]) -> list[Change]:
    """Return the changes by actions."""
    return [change for state in states for change in state.changes if change.action in Model.ACTIONS]


def carry_out(model: Model, changes: list[Change], revision: int) -> None:
    """Apply all changes to the model in the order of their revisions, of which none is missing."""
    assert [change.revision for change in changes] == list(range(2, revision + 1))  # revision 1 is the membership
    for change in changes:
        target: dict[str, Any] = {"up_to": change.up_to} if change.up_to else {"ids": change.ids}
        model.carry_out({"action": change.action, **target})


def test_a_thousand_random_operations(service: Service, user: str, pages: list[Page]) -> None:
    """After any operations of the three at once, they have the same counts and the list of the model."""
    model, rng = Model(user), random.Random(2026)
    with Program(service, user) as program:
        assert manage(service, "PUT", f"/v1/topics/{user}/members/{user}").status == 204
        publish(service, user, model, rng, 30)
        for seed, page in enumerate(pages, start=7):
            until(page, "items.length >= 25")  # a notification to both channels arrives once
            page.evaluate(_PLAY, [seed, OPERATIONS])
        backend = threading.Thread(target=publish, args=(service, user, model, random.Random(1), 100))
        backend.start()
        program.play(model, rng, OPERATIONS)
        backend.join()
        for page in pages:
            until(page, "outcome", deadline=3 * DEADLINE)
            assert page.evaluate("outcome") == "done"

        counts = program.inbox.counts()
        told = {"unread": counts.unread, "unseen": counts.unseen}
        for page in pages:
            until(page, f"told.at(-1).revision === {counts.revision}")
            until(page, f"told.at(-1).counts.unread === {counts.unread}")
            assert page.evaluate("told.at(-1).counts") == told
        eventually(lambda: program.states[-1].counts[:3] == counts[:3])
        # A state may come before the changes that it includes; they follow.
        eventually(lambda: len(changes_of(program.states)) >= counts.revision - 1)

        carry_out(model, changes_of(program.states), counts.revision)
        expected = model.inbox()
        items = [*program.inbox.items(status="all"), *program.inbox.items(status="archived")]
        own = {item.id: item for item in items if item.channel != "all"}
        flags = {id: "".join(n[0] for n in ("archived", "read", "seen") if getattr(own[id], n)) for id in own}
        assert flags == expected
        shared = [item for item in items if item.channel == "all"]  # other tests publish to everybody
        assert counts.unread == sum("r" not in each for each in expected.values()) + sum(not s.read for s in shared)
        assert counts.unseen == sum("s" not in each for each in expected.values()) + sum(not s.seen for s in shared)


def test_gone_everywhere(service: Service, user: str, pages: list[Page]) -> None:
    """Marking as read on one device reaches the others, with the counts."""
    with Program(service, user) as program:
        id = service.publish({"to": {"users": [user]}, "title": "Read me"}).json["id"]
        unread = program.inbox.counts().unread
        for page in pages:
            until(page, f"told.at(-1).counts.unread === {unread} && items.length === 1")
        unread = program.inbox.read(ids=[id]).counts.unread
        for page in pages:
            until(page, f"told.at(-1).counts.unread === {unread}")
            assert page.evaluate("told.at(-1).changes.map(({ action, ids }) => [action, ids])") == [["read", [id]]]
