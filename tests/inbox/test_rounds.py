"""Rounds: which users are served next, and when."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from notifier.inbox import rounds as module
from notifier.inbox.rounds import Round, Rounds
from tests.kit.waiting import DEADLINE

FIRST, SECOND = ({"revision": revision, "action": "mutes"} for revision in (1, 2))


class Clock:
    """The time of the module under test, in Unix ms."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "_now", clock)
    return clock


@pytest.fixture
def rounds(clock: Clock) -> Rounds:
    return Rounds()


def users(served: Round) -> list[str]:
    return list(served.changes)


def test_urgent_before_later(rounds: Rounds) -> None:
    """Urgent users are served first, with their changes in order; their state may have changed."""
    rounds.put_later(["ada", "bob"])
    rounds.check_later("cy")
    rounds.put_urgent("bob", [FIRST])
    rounds.put_urgent("di")
    rounds.put_urgent("bob", [SECOND])
    assert rounds.next() == ({"bob": [FIRST, SECOND], "di": []}, {"bob", "di"}, True)
    assert rounds.next() == ({"ada": [], "cy": []}, {"cy"}, False)
    assert rounds.is_empty


class TestShared:
    def test_last(self) -> None:
        """Users of shared channels are found when nobody else waits: once, however many entries there were."""
        asked: list[tuple[str, bool]] = []

        def users_of(name: str, is_item: bool) -> list[str]:
            asked.append((name, is_item))
            return ["ada", "bob"]

        rounds = Rounds(users_of)
        for is_item in (False, True, False):
            rounds.put_shared("topic:a", is_item)
        rounds.put_shared("all", False)
        rounds.put_urgent("cy")
        rounds.put_later(["di"])
        assert [users(rounds.next()), users(rounds.next()), asked] == [["cy"], ["di"], []]
        assert users(rounds.next()) == ["ada", "bob"]
        assert asked == [("topic:a", True), ("all", False)]
        assert rounds.is_empty

    def test_meanwhile(self) -> None:
        """Entries that come while users are looked for delay nobody; the users are looked for once more after that."""

        def users_of(name: str, is_item: bool) -> Iterator[str]:
            yield "ada"
            rounds.put_shared(name, is_item)
            yield "bob"

        rounds = Rounds(users_of)
        rounds.put_shared("all", True)
        assert [users(rounds.next()) for _ in range(3)] == [["ada", "bob"]] * 3

    def test_an_urgent_user_meanwhile(self) -> None:
        """A user who becomes urgent while one channel is looked at does not wait for the next channel."""

        def users_of(name: str, is_item: bool) -> Iterator[str]:
            rounds.put_urgent("cy")
            yield name

        rounds = Rounds(users_of)
        rounds.put_shared("all", True)
        rounds.put_shared("topic:a", True)
        assert [users(rounds.next()) for _ in range(2)] == [["cy"], ["all"]]

    def test_wakes(self) -> None:
        """A thread that waits is woken, also if the channel concerns nobody at first."""
        found: list[Round] = []
        rounds = Rounds(lambda name, is_item: ["ada"] if is_item else [])
        thread = threading.Thread(target=lambda: found.append(rounds.next()))
        thread.start()
        rounds.put_shared("topic:a", False)
        rounds.put_shared("all", True)
        thread.join(DEADLINE)
        assert [users(each) for each in found] == [["ada"]]


def test_a_state_that_may_have_changed(rounds: Rounds) -> None:
    """A user to be checked is checked, whatever else is queued before the round."""
    rounds.put_later(["ada"])
    rounds.check_later("ada")
    rounds.put_later(["ada"])
    assert rounds.next() == ({"ada": []}, {"ada"}, False)


def test_rounds_are_small(rounds: Rounds) -> None:
    """Many users are served in several rounds, in the order in which they came."""
    names = [f"user-{number}" for number in range(150)]
    rounds.put_later(names)
    served = [users(rounds.next()) for _ in range(3)]
    assert sum(served, []) == names
    assert max(map(len, served)) == 64


def test_put_back(rounds: Rounds) -> None:
    """A round that failed loses no change, and is repeated one by one; others are not held up behind it."""
    rounds.put_urgent("ada", [FIRST])
    rounds.check_later("bob")
    failed = rounds.next()
    rounds.put_urgent("ada", [SECOND])
    rounds.put_urgent("cy")
    rounds.put_back(failed)
    assert rounds.next() == ({"ada": [FIRST, SECOND]}, {"ada"}, True)
    rounds.put_back(Round({"ada": [FIRST, SECOND], "di": []}, set(), False))
    assert [users(rounds.next()) for _ in range(2)] == [["cy"], ["ada"]]
    rounds.put_urgent("ed")
    assert users(rounds.next()) == ["di", "ed"]
    assert rounds.next() == ({"bob": []}, {"bob"}, False)


class TestManyChanges:
    """One user's changes do not fill the memory of a worker, nor the backlogs of the user's connections."""

    def test_ids(self, rounds: Rounds) -> None:
        """An action on many items is left out; counts and revision are sent, so clients fetch the list."""
        rounds.put_urgent("ada", [{"revision": 1, "action": "read", "ids": ["x"] * 200}])
        rounds.put_urgent("bob", [{"revision": 1, "action": "read", "ids": ["x"] * 199}])
        served = rounds.next()
        assert {user: len(changes) for user, changes in served.changes.items()} == {"ada": 0, "bob": 1}

    def test_all_or_nothing(self, rounds: Rounds) -> None:
        """Changes after too many others are left out, too: the rest alone could look complete."""
        for revision in range(1000):
            rounds.put_urgent("ada", [{"revision": revision, "action": "mutes"}])
        rounds.put_urgent("ada", [{"revision": 1000, "action": "read", "ids": ["x"]}])
        assert rounds.next().changes == {"ada": []}
        rounds.put_urgent("ada", [FIRST])
        assert rounds.next().changes == {"ada": [FIRST]}

    def test_put_back(self, rounds: Rounds) -> None:
        """Changes that are put back count together with those that were added since."""
        rounds.put_back(Round({"ada": [FIRST] * 150}, set(), True))
        rounds.put_back(Round({"ada": [FIRST] * 150}, set(), True))
        assert rounds.next().changes == {"ada": []}


class TestExpiries:
    def due(self, rounds: Rounds) -> list[str]:
        """Return the users to be served now."""
        rounds.put_urgent("somebody")
        rounds.next()
        return [] if rounds.is_empty else users(rounds.next())

    def test_in_time(self, rounds: Rounds, clock: Clock) -> None:
        """A user is checked once an expiry has come, and once only."""
        begin = clock.now
        rounds.expect("ada", begin + 2000)
        rounds.expect("bob", begin + 1000)
        for after, expected in [(999, []), (1000, ["bob"]), (1500, []), (2000, ["ada"]), (9000, [])]:
            clock.now = begin + after
            assert self.due(rounds) == expected, after

    def test_the_last_one_counts(self, rounds: Rounds, clock: Clock) -> None:
        """Another expiry replaces the one before; no expiry takes it back."""
        begin = clock.now
        rounds.expect("ada", begin + 1000)
        rounds.expect("ada", begin + 3000)
        rounds.expect("bob", begin + 1000)
        rounds.expect("bob", 0)
        rounds.expect("cy", 0)
        clock.now = begin + 2000
        assert self.due(rounds) == []
        clock.now = begin + 3000
        assert self.due(rounds) == ["ada"]

    def test_a_redis_that_lags(self, rounds: Rounds, clock: Clock) -> None:
        """An expiry that has not yet come by the clock of Redis is checked again after a pause, and then again."""
        expiry = clock.now + 1000
        rounds.expect("ada", expiry)
        for checked in (expiry, expiry + 200, expiry + 400):
            clock.now = checked - 1
            assert self.due(rounds) == []
            clock.now = checked
            assert self.due(rounds) == ["ada"]
            rounds.expect("ada", expiry)

    def test_memory(self, rounds: Rounds, clock: Clock) -> None:
        """Expiries that no longer count are removed, also if a user has the same one many times."""
        for number in range(5000):
            rounds.expect("ada", clock.now + 10_000 + number)
            rounds.expect("bob", clock.now + 10_000)
            rounds.expect("bob", 0)
        rounds.expect("bob", clock.now + 10_000)
        hidden: Any = rounds
        assert len(hidden._expiries) <= 1010
        clock.now += 100_000
        assert sorted(self.due(rounds)) == ["ada", "bob"]

    def test_not_behind_others(self, rounds: Rounds, clock: Clock) -> None:
        """Expiries are noticed even if other users are always waiting."""
        rounds.expect("ada", clock.now + 1000)
        clock.now += 1000
        rounds.put_later(["bob"])
        assert users(rounds.next()) == ["bob", "ada"]


class TestWaiting:
    def served_by(self, rounds: Rounds) -> tuple[threading.Thread, list[Round]]:
        served: list[Round] = []
        thread = threading.Thread(target=lambda: served.append(rounds.next()), daemon=True)
        thread.start()
        return thread, served

    def test_until_a_user_is_queued(self) -> None:
        """The thread waits for a user, or for an expiry, even one that is added while it waits."""
        rounds = Rounds()
        thread, served = self.served_by(rounds)
        rounds.put_later(["ada"])
        thread.join(DEADLINE)
        assert [users(each) for each in served] == [["ada"]]
        rounds.expect("cy", int(time.time() * 1000) + 3_600_000)
        thread, served = self.served_by(rounds)
        rounds.expect("bob", int(time.time() * 1000))
        thread.join(DEADLINE)
        assert [users(each) for each in served] == [["bob"]]

    def test_rest(self, rounds: Rounds) -> None:
        """After a round that was not urgent the thread rests until a user is urgent."""
        later = Round({}, set(), False)
        begin = time.monotonic()
        rounds.rest(later, 0.01)
        assert time.monotonic() - begin >= 0.03
        rounds.put_urgent("ada")
        begin = time.monotonic()
        rounds.rest(later, 100)
        rounds.next()
        rounds.rest(later._replace(is_urgent=True), 100)
        resting = threading.Thread(target=rounds.rest, args=(later, 100), daemon=True)
        resting.start()
        while resting.is_alive():
            rounds.put_urgent("bob")
            assert time.monotonic() - begin < DEADLINE
