"""The recording client has the same inbox as a real service."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from notifier.client import NotifierClient
from notifier.testing.recording import RecordingNotifier
from tests.kit.service import API_KEY, Service
from tests.kit.waiting import DEADLINE, next_millisecond

ACTIONS = ["seen", "read", "unread", "archive", "unarchive"]
FILTERS: list[dict[str, Any]] = [
    {},
    {"status": "unread"},
    {"status": "archived"},
    {"type": "a"},
    {"type": ["a", "b"], "severity": "error"},
    {"topic": "orders"},
]


@pytest.fixture
def own() -> Iterator[Service]:
    """A separate service, because publications to `all` are in every inbox."""
    with Service(workers=1) as service:
        yield service


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_same(own: Service, seed: int) -> None:
    """After random operations both clients return the same lists and counts."""
    dice, recording = random.Random(seed), RecordingNotifier()
    with NotifierClient(f"http://127.0.0.1:{own.port}", api_key=API_KEY, deadline=DEADLINE) as client:
        client.add_member("orders", "alice")
        both = Both(recording, client, own.token("alice"))
        for _ in range(120):
            step = dice.choice([both.publish, both.publish, both.act, both.act, both.act, both.recall])
            step(dice)
            both.compare(dice)


class Both:
    """The two clients. Notifications are identified by number, because the ids differ."""

    def __init__(self, recording: RecordingNotifier, client: NotifierClient, token: str) -> None:
        self.clients = (recording, client)
        self.inboxes = (recording.inbox(token=token), client.inbox(token=token))
        self.ids: list[tuple[str, str]] = []

    def publish(self, dice: random.Random) -> None:
        """Publish to the user, a topic or all."""
        to = dice.choice([{"users": ["alice"]}, {"topics": ["orders"]}, {"all": True}])
        members = {"type": dice.choice("abc"), "severity": dice.choice(["info", "error"])}
        published = [client.publish(members, to=to) for client in self.clients]  # type: ignore[typeddict-item, misc]
        self.ids.append((published[0].id, published[1].id))
        next_millisecond()

    def act(self, dice: random.Random) -> None:
        """Carry out an action on some items, or on all up to one of them."""
        action, numbers = (
            dice.choice(ACTIONS),
            dice.sample(range(len(self.ids)), dice.randint(0, min(len(self.ids), 4))),
        )
        place = dice.random()
        for index, inbox in enumerate(self.inboxes):
            items = inbox.list(limit=100).items if place < 0.3 else []
            act = getattr(inbox, action)
            if items:
                act(up_to=items[int(place / 0.3 * len(items))].cursor)
            else:
                act([self.ids[number][index] for number in numbers])

    def recall(self, dice: random.Random) -> None:
        """Recall a notification."""
        if self.ids and dice.random() < 0.3:
            pair = self.ids.pop(dice.randrange(len(self.ids)))
            for client, id in zip(self.clients, pair, strict=True):
                client.recall(id)

    def compare(self, dice: random.Random) -> None:
        """Check that both clients return the same."""
        ours, theirs = (inbox.counts()[:2] for inbox in self.inboxes)
        assert ours == theirs
        filters = dice.choice(FILTERS)
        ours_listed, theirs_listed = (self.listed(index, filters) for index in range(2))
        assert ours_listed == theirs_listed, filters

    def listed(self, index: int, filters: dict[str, Any]) -> list[tuple[int, bool, bool, bool]]:
        """Return a list with numbers in place of ids."""
        numbers = {pair[index]: number for number, pair in enumerate(self.ids)}
        items = self.inboxes[index].items(**filters)
        return [(numbers[item.id], item.seen, item.read, item.archived) for item in items]
