"""Members of topics on a real server."""

import threading

import pytest

from notifier.protocol import channel
from tests.kit.waiting import DEADLINE
from tests.kit.worker import FUTURE, Make, Worker


def test_from_then_on(worker: Worker) -> None:
    """A member gets what is published afterwards; adding or removing a member brings nothing older back."""
    worker.publish("#t")
    assert worker.members.add("t", ["alice", "bob"]) == (2, [])
    second = worker.publish("#t")
    assert worker.members.add("t", ["alice"]) == (0, [])
    assert worker.ids("alice") == [second]
    assert worker.members.remove("t", ["alice"]) == 1
    assert worker.members.remove("t", ["alice"]) == 0
    worker.publish("#t")
    assert (worker.counts("alice"), worker.counts("bob")) == ((0, 0), (2, 2))
    worker.members.add("t", ["alice"])
    assert worker.counts("alice") == (0, 0)
    worker.publish("#t")
    assert worker.counts("alice") == (1, 1)


def test_after_a_loss(worker: Worker) -> None:
    """A member who is added after a loss was found has lost nothing."""
    worker.publish("#t")
    worker.log.note_regression([("topic:t", FUTURE)])
    [ends] = worker.log.log_ends(["topic:t"])
    worker.members.add("t", ["alice"])
    assert worker.inbox.states(["alice"])[0].topics == {"t": ends.found}
    id = worker.publish("#t")
    assert worker.ids("alice") == [id]


def test_pages(worker: Worker) -> None:
    """Members are listed in the order of their names."""
    names = [f"user-{number:02}" for number in range(25)] + ["é", "Z"]
    worker.members.add("t", names)
    found, after = [], ""
    while page := worker.members.page("t", after, 4):
        found += page
        after = page[-1]
    assert found == sorted(names, key=str.encode)
    assert worker.members.count(["t", "nothing"]) == [27, 0]


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(
    "patterns",
    [("*",), (), ("b", "a-*", "a-1*", "a", "x*", "é*"), tuple(f"b-{number:03}" for number in range(250)), ("Z*", "*")],
)
def test_pages_of_patterns(worker: Worker, patterns: tuple[str, ...], limit: int) -> None:
    """Page after page, exactly the members that patterns grant are listed, each once, and no others are read."""
    names = ["a", "a-", "a-1", "a-2", "a0", "b", "b-100", "b-249", "b-250", "é", "éa", "z", "Z"]
    worker.members.add("t", names)
    found, after = [], ""
    while page := worker.members.page("t", after, limit, patterns):
        assert len(page) <= limit
        found += page
        after = page[-1]
    assert found == sorted((name for name in names if channel.grants(patterns, name)), key=str.encode)


def test_pages_read_no_others(worker: Worker) -> None:
    """A page of a key that grants one of many members takes one request to Redis, which returns one name."""
    worker.members.add("t", [f"user-{number:05}" for number in range(5000)] + ["z"])
    before = served(worker)
    assert worker.members.page("t", "", 1000, ("user-04999", "z")) == ["user-04999", "z"]
    assert worker.members.page("t", "", 1000, ("y*",)) == []
    assert worker.members.page("t", "", 1000, ()) == []
    assert served(worker) - before == 2


def served(worker: Worker) -> int:
    """Return how many scripts Redis has run."""
    stats = worker.store.ask("INFO", "commandstats").decode()
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in stats.splitlines() if "_evalsha:" in line)


def test_too_many(make: Make) -> None:
    """A user with the greatest number of memberships is added to no other topic until one is removed."""
    worker = make(max_memberships=2)
    for topic in ("a", "b"):
        worker.members.add(topic, ["alice"])
    assert worker.members.add("c", ["alice", "bob"]) == (1, ["alice"])
    assert worker.members.page("c", "", 9) == ["bob"]
    assert worker.members.add("a", ["alice"]) == (0, [])
    worker.members.remove("a", ["alice"])
    assert worker.members.add("c", ["alice"]) == (1, [])
    assert sorted(worker.inbox.view("alice").state.topics) == ["b", "c"]


def test_would_change(worker: Worker) -> None:
    """Adding members, and removing others, changes nothing, unless an earlier change was interrupted."""
    members = worker.members
    members.add("t", ["alice", "bob"])
    assert not members.would_change("t", ["alice", "bob"], [])
    assert not members.would_change("t", ["alice"], ["carol"])
    assert members.would_change("t", ["alice", "carol"], [])
    assert members.would_change("t", [], ["carol", "bob"])
    assert members.would_change("t", ["alice"], ["alice"]) and members.would_change("t", ["carol"], ["carol"])
    worker.store.ask("ZREM", members._key("t"), "alice")
    worker.store.ask("ZADD", members._key("t"), 0, "carol")
    assert members.would_change("t", ["alice"], []) and members.would_change("t", [], ["carol"])


def test_nobody(worker: Worker) -> None:
    """Adding or removing no users changes nothing."""
    assert worker.members.add("t", []) == (0, [])
    assert worker.members.remove("t", []) == 0


def test_members_at_once(make: Make) -> None:
    """If a user is added and removed at the same time, the topic's list and the user's topics agree."""
    workers, users = [make(), make()], [f"user-{number}" for number in range(30)]
    for user in users:
        both = [
            threading.Thread(target=act, args=("t", [user]))
            for act in (workers[0].members.add, workers[1].members.remove)
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(DEADLINE)
    states = workers[0].inbox.states(users)
    having = {user for user, state in zip(users, states, strict=True) if "t" in state.topics}
    assert set(workers[0].members.page("t", "", 100)) == having
